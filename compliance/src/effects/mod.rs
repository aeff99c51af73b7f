//! Writes, compared by their effect: the same is done by one user through Python and by another through Myelin. Equal
//! must be what they are answered, the rows in the database, the lines of replication, and what both workers then say.

mod cases;
mod claims;
mod lines;
mod servers;
mod signatures;
mod signing;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::compare::Difference;
use crate::row::By;
use crate::run::Outcome;
use crate::seed::Seed;
use crate::stack::Stack;

pub use cases::cases;
pub use lines::Lines;

type Check = fn(&Stack, &mut Seed) -> Result<Outcome>;

/// What is compared in a way of its own, by name.
pub const CHECKS: [(&str, Check); 4] = [
    ("effects/claims at once", claims::claims),
    ("effects/a server returns", servers::returns),
    ("effects/openid/userinfo", servers::user_info),
    ("effects/too much of a server", servers::too_much),
];

/// One write. `<@me>`, `<device:me>` stand for the user of the worker in question.
pub struct Case {
    pub name: String,
    /// The user `me`, one of the seed, or another server.
    pub by: By,
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    pub status: u16,
    /// What the worker that wrote must know at once, and the other soon.
    pub reads: Vec<&'static str>,
    /// Table, and its column with the user's id.
    pub tables: Vec<(&'static str, &'static str)>,
    /// The user's other device waits for it; JSON pointer in its answer.
    pub wakes: Option<&'static str>,
    /// In lines that Python sends though nothing changed.
    pub needless: Option<&'static str>,
}

/// What somebody saw of a write, with ids replaced.
#[derive(Debug, Default, PartialEq)]
struct Effect {
    answer: String,
    at_once: Vec<String>,
    elsewhere: Vec<String>,
    rows: Vec<String>,
    lines: BTreeSet<String>,
}

const PATIENCE: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(50);
const HEAD_START: Duration = Duration::from_millis(400);
const PAIR: [&str; 2] = ["viapython", "viamyelin"];

/// Two users with the same history, and keys of their own.
pub fn pair(seed: &mut Seed) -> Result<()> {
    for user in PAIR {
        seed.newcomer(user)?;
    }
    signing::prepare(seed)
}

pub fn run(case: &Case, stack: &Stack, seed: &mut Seed, lines: &mut Lines) -> Result<Outcome> {
    let (python, _) = effect(case, stack, seed, lines, false).context("through Python")?;
    let (myelin, native) = effect(case, stack, seed, lines, true).context("through Myelin")?;
    let mut differences = Vec::new();
    let mut compare = |what: &str, python: String, myelin: String| {
        if python != myelin {
            differences.push(Difference { path: what.to_owned(), python, myelin });
        }
    };
    compare("the answer", python.answer, myelin.answer);
    compare("what its worker says at once", python.at_once.join("\n"), myelin.at_once.join("\n"));
    compare("what the other worker says", python.elsewhere.join("\n"), myelin.elsewhere.join("\n"));
    compare("rows", python.rows.join("\n"), myelin.rows.join("\n"));
    let text = |lines: BTreeSet<String>| lines.into_iter().collect::<Vec<_>>().join("\n");
    compare("replication", text(python.lines), text(myelin.lines));
    if !native {
        differences.push(Difference {
            path: "answered by".to_owned(),
            python: "Myelin itself, by this table".to_owned(),
            myelin: "passed on".to_owned(),
        });
    }
    Ok(Outcome { differences, native })
}

fn effect(case: &Case, stack: &Stack, seed: &mut Seed, lines: &mut Lines, native: bool) -> Result<(Effect, bool)> {
    let user = PAIR[usize::from(native)];
    for kind in ["@", "token:", "device:", "room:"] {
        let value = seed.names.get(&format!("{kind}{user}"))?.to_owned();
        seed.names.set(&format!("{kind}me"), value);
    }
    for event in ["first", "second"] {
        let value = seed.names.get(&format!("room:{user}:{event}"))?.to_owned();
        seed.names.set(&format!("room:me:{event}"), value);
    }
    for key in signing::KEYS {
        let value = seed.names.get(&format!("key:{key}:{user}"))?.to_owned();
        seed.names.set(&format!("key:{key}"), value);
    }
    stack.wait_caught_up(seed)?;
    let (here, there) = if native { (&stack.myelin, &stack.python) } else { (&stack.python, &stack.myelin) };
    let mut body = case.body.clone();
    signing::number(&mut body, &mut 0);
    let mut body: Value = serde_json::from_str(&seed.names.fill(&body.to_string())?)?;
    signing::sign(&mut body, user, &case.name, seed)?;
    let path = seed.names.fill_url(&case.path)?;
    let since = seed.position(here)?;
    lines.forget();
    let send = || write(here, seed, case, &path, &body);
    let answer = match case.wakes {
        None => send()?,
        Some(pointer) => woken(there, seed, user, &since, pointer, send)?,
    };
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(
        answer.status == case.status,
        "{}: the case expects {}, not {} {text}",
        case.name,
        case.status,
        answer.status
    );
    let answered = answer.json().map_or(text, |json| format!("{} {json}", answer.status));
    let mut found = Effect { answer: answered, ..Effect::default() };
    found.at_once = read(case, here, seed)?;
    stack.wait_caught_up(seed)?;
    // No token tells of caches: the other hears of them when it hears.
    let start = Instant::now();
    loop {
        found.elsewhere = read(case, there, seed)?;
        if found.elsewhere == found.at_once || start.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(GLANCE);
    }
    found.rows = rows(case, stack, seed)?;
    found.lines = lines.of(seed.names.get("@me")?, if native { "myelin1" } else { "python1" });
    found.lines.retain(|line| case.needless.is_none_or(|needless| !line.contains(needless)));
    let is_native = answer.is_native();
    Ok((hide(found, seed, user)?, !native || is_native))
}

/// As the user or the server of the case.
fn write(worker: &Client, seed: &Seed, case: &Case, path: &str, body: &Value) -> Result<Answer> {
    match &case.by {
        By::Nobody => worker.send(case.method, path, Some(body)),
        By::User(user) => {
            worker.with_token(seed.names.get(&format!("token:{user}"))?).send(case.method, path, Some(body))
        }
        By::Token(token) => worker.with_token(&seed.names.fill(token)?).send(case.method, path, Some(body)),
        By::Server(signing) => {
            let body = body.to_string().into_bytes();
            let header = signing.header(&seed.names, case.method, path, Some(&body))?;
            worker.send_bytes(case.method, path, &[("Authorization", &header)], Some(body))
        }
    }
}

/// Writes while the user's other device waits at the other worker.
fn woken(
    there: &Client,
    seed: &Seed,
    user: &str,
    since: &str,
    pointer: &str,
    send: impl FnOnce() -> Result<Answer>,
) -> Result<Answer> {
    let token = seed.names.get(&format!("token:{user}2"))?;
    let path = format!("/_matrix/client/v3/sync?set_presence=offline&timeout={}", PATIENCE.as_millis());
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| -> Result<Value> {
            let (mut since, pointer) = (since.to_owned(), seed.names.fill(pointer)?);
            loop {
                let answer = there.with_token(token).get(&format!("{path}&since={since}"))?.ok()?;
                if answer.pointer(&pointer).is_some() {
                    return Ok(answer);
                }
                ensure!(start.elapsed() < PATIENCE, "the other device was not woken with {pointer}: {answer}");
                answer["next_batch"].as_str().context("no next_batch")?.clone_into(&mut since);
            }
        });
        std::thread::sleep(HEAD_START);
        let answer = send();
        waiting.join().map_err(|_| anyhow::anyhow!("a request panicked"))??;
        answer
    })
}

fn read(case: &Case, worker: &Client, seed: &Seed) -> Result<Vec<String>> {
    let token = seed.names.get("token:me")?;
    let ask = |path: &&str| {
        let path = seed.names.fill_url(path)?;
        let answer = match path.split_once(" with ") {
            None => worker.with_token(token).get(&path)?,
            Some((path, body)) => {
                let body: Value = serde_json::from_str(&percent_encoding::percent_decode_str(body).decode_utf8()?)?;
                worker.with_token(token).send("POST", path, Some(&body))?
            }
        };
        Ok(lines::without_numbers(&format!("{} {}", answer.status, answer.json().unwrap_or(json!(null)))))
    };
    case.reads.iter().map(ask).collect()
}

/// As JSON, without what is different each time.
fn rows(case: &Case, stack: &Stack, seed: &Seed) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (table, column) in &case.tables {
        let sql = format!(
            "SELECT (to_jsonb(t) - '{{stream_id,ts_added_ms,last_seen,ip,user_agent,token,last_renewed_ts}}'::text[])
             FROM {table} AS t WHERE {column} = '{}' ORDER BY 1",
            seed.names.get("@me")?
        );
        let text = stack.query(&sql)?;
        let anonymous = |row: &str| row.replace("python1", "<worker>").replace("myelin1", "<worker>");
        found.extend(text.lines().map(|row| format!("{table}: {}", anonymous(row))));
    }
    Ok(found)
}

/// The user's ids become the same for both.
fn hide(effect: Effect, seed: &Seed, user: &str) -> Result<Effect> {
    let prefix = format!("signature:{user}:");
    let signatures = seed.names.with_prefix(&prefix);
    let mut ids: Vec<_> =
        signatures.map(|(name, signature)| (signature.to_owned(), format!("<signature {name}>"))).collect();
    for key in signing::KEYS {
        ids.push((seed.names.get(&format!("key:{key}"))?.to_owned(), format!("<key:{key}>")));
    }
    for name in ["@me", "device:me", "room:me", "room:me:first", "room:me:second"] {
        ids.push((seed.names.get(name)?.to_owned(), format!("<{name}>")));
    }
    ids.push((seed.names.get(&format!("device:{user}2"))?.to_owned(), "<device:other>".to_owned()));
    ids.push((user.to_owned(), "<user>".to_owned()));
    let hide = |text: String| ids.iter().fold(text, |text, (id, name)| text.replace(id.as_str(), name));
    // In the order of the names that stand for ids.
    let ordered = |text: String| match text.split_once(' ') {
        Some((status, body)) => {
            serde_json::from_str::<Value>(body).map_or(text.clone(), |body| format!("{status} {body}"))
        }
        None => text,
    };
    let all = |texts: Vec<String>| texts.into_iter().map(|text| ordered(hide(text))).collect();
    let mut rows: Vec<String> = all(effect.rows);
    rows.sort_unstable();
    Ok(Effect {
        answer: ordered(hide(effect.answer)),
        at_once: all(effect.at_once),
        elsewhere: all(effect.elsewhere),
        rows,
        lines: effect.lines.into_iter().map(&hide).collect(),
    })
}
