//! Plays a scenario with users and rooms of its own, and stops at the first difference.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use myelin_rest::routes::Table;
use myelin_testkit::http::Answer;
use myelin_testkit::synapse::SERVER_NAME;
use serde_json::{Value, json};

use super::step::{Act, Ask, Step};
use super::world::{ADMIN, DEVICES, SERVERS, USERS, is_server};
use super::{PASSWORD, poll};
use crate::afar::Afar;
use crate::allowed::Allowed;
use crate::ask::Asker;
use crate::chance::Asked;
use crate::compare::{self, Difference};
use crate::names::{Names, encode};
use crate::run::line;
use crate::seed::Seed;
use crate::stack::{Stack, expect_ok};

/// How often a question is asked again while the server itself moves (presence times out, for example).
const ATTEMPTS: usize = 5;
/// Events read again in each room where memberships or the visibility of history changed.
const HISTORY: usize = 40;
/// What the main process does afterwards is done within this.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(50);

pub struct Theatre {
    pub stack: Stack,
    pub seed: Seed,
    pub allowed: Allowed,
    pub routes: Table,
    plays: AtomicUsize,
    marks: AtomicUsize,
}

/// What went wrong: at which step, with which question, and how that looks.
#[derive(Debug)]
pub struct Failure {
    /// Index of the step.
    pub at: usize,
    pub ask: Option<Ask>,
    /// The same for the same fault in another run.
    pub kind: String,
    pub lines: Vec<String>,
}

/// What was done, for the one who wants to know whether a run meant anything.
#[derive(Default)]
pub struct Tally {
    pub acts: usize,
    pub refused: usize,
    /// By method and last fixed part of the path.
    pub refusals: BTreeMap<String, usize>,
    pub asked: usize,
    /// Of these, with something else than an error.
    pub answered: usize,
    /// Left out, because a name did not exist.
    pub skipped: usize,
    /// Given up, because the server did not stand still.
    pub moved: usize,
    /// Where the time went, by part.
    pub times: BTreeMap<&'static str, Duration>,
}

impl Tally {
    fn took(&mut self, part: &'static str, since: Instant) {
        *self.times.entry(part).or_default() += since.elapsed();
    }
}

impl Theatre {
    pub fn new(stack: Stack, seed: Seed) -> Result<Self> {
        let (plays, marks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { stack, seed, allowed: Allowed::load()?, routes: Table::new()?, plays, marks })
    }

    pub fn play(&self, steps: &[Step], tally: &mut Tally) -> Result<Option<Failure>> {
        let start = Instant::now();
        let mut play = Play {
            theatre: self,
            names: self.cast()?,
            taken: BTreeMap::new(),
            forked: Vec::new(),
            last: String::new(),
            number: 0,
            differed: String::new(),
            tally,
        };
        play.tally.took("cast", start);
        play.settle()?;
        for device in DEVICES {
            play.keep_token(&format!("chain:{device}"), &play.last.clone());
        }
        for (at, step) in steps.iter().enumerate() {
            let differences = play.step(step)?;
            if !differences.is_empty() {
                return Ok(Some(play.failure(at, None, &differences)));
            }
            for ask in &step.asks {
                let start = Instant::now();
                let differences = play.ask(ask)?;
                play.tally.took("questions", start);
                if !differences.is_empty() {
                    return Ok(Some(play.failure(at, Some(ask), &differences)));
                }
            }
        }
        Ok(None)
    }

    /// Users whom no other play knows.
    fn cast(&self) -> Result<Names> {
        let play = self.plays.fetch_add(1, Ordering::Relaxed);
        let mut names = Names::default();
        names.set("play", play.to_string());
        let (admin, _) = ADMIN.split_at(1);
        for user in USERS.into_iter().chain([admin]) {
            let body = json!({"username": format!("{user}_of_{play}"), "password": PASSWORD,
                "auth": {"type": "m.login.dummy"}, "inhibit_login": true});
            let answer = self.stack.main.send("POST", "/_matrix/client/v3/register", Some(&body))?;
            let answer = expect_ok(&answer, "register")?;
            names.set(&format!("@{user}"), answer["user_id"].as_str().context("no user_id")?);
        }
        // Made in the database before anybody has asked who it is.
        self.stack.query(&format!("UPDATE users SET admin = 1 WHERE name = '{}'", names.get(&format!("@{admin}"))?))?;
        for device in DEVICES.into_iter().chain([ADMIN]) {
            let identifier = json!({"type": "m.id.user", "user": names.get(&format!("@{}", &device[..1]))?});
            let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
            let answer = self.stack.main.send("POST", "/_matrix/client/v3/login", Some(&body))?;
            let answer = expect_ok(&answer, "login")?;
            for (kind, key) in [("token", "access_token"), ("device", "device_id")] {
                names.set(&format!("{kind}:{device}"), answer[key].as_str().with_context(|| format!("no {key}"))?);
            }
        }
        for server in SERVERS {
            names.set(&format!("@{server}"), format!("@u_of_{play}:{server}"));
            names.set(&format!("@v:{server}"), format!("@v_of_{play}:{server}"));
        }
        for server in SERVERS.iter().chain(&[SERVER_NAME]) {
            let key = format!("key:{server}");
            names.set(&key, self.seed.names.get(&key)?);
        }
        Ok(names)
    }
}

struct Play<'a> {
    theatre: &'a Theatre,
    names: Names,
    /// When the tokens were taken, by name, in milliseconds since 1970.
    taken: BTreeMap<String, i64>,
    /// When things were done at once, in the same unit.
    forked: Vec<(i64, i64)>,
    /// Position of the server after the last step.
    last: String,
    /// Of the last step.
    number: usize,
    /// The last question whose answers differed, with both of them.
    differed: String,
    tally: &'a mut Tally,
}

impl Play<'_> {
    fn failure(&self, at: usize, ask: Option<&Ask>, differences: &[Difference]) -> Failure {
        let unfill = |text: &str| self.names.unfill(text);
        let area = ask.map_or("poll", |ask| area(&ask.name));
        let kind = differences.first().map_or(String::new(), |first| shape(&unfill(&first.path)));
        let mut lines: Vec<_> = differences.iter().map(|found| unfill(&line(found))).collect();
        lines.extend(ask.map(|_| unfill(&self.differed)));
        Failure { at, ask: ask.cloned(), kind: format!("{area} {kind}"), lines }
    }

    /// A position of the present.
    fn keep_token(&mut self, name: &str, token: &str) {
        let now = now();
        self.taken.insert(name.to_owned(), now);
        self.names.set(&format!("time:{name}"), now.to_string());
        self.names.set(name, token);
    }

    /// What the long-poll beside it saw differently.
    fn step(&mut self, step: &Step) -> Result<Vec<Difference>> {
        // Tokens of steps that were taken out.
        for number in self.number..step.number {
            self.keep_token(&format!("t{number}"), &self.last.clone());
        }
        self.number = step.number;
        let start = Instant::now();
        let differences = if let Some(device) = &step.poll {
            self.act_beside(step, device)?
        } else {
            self.act(step)?;
            Vec::new()
        };
        self.tally.took(if step.poll.is_some() { "acts beside polls" } else { "acts" }, start);
        self.keep_token(&format!("t{}", step.number), &self.last.clone());
        let start = Instant::now();
        self.load_history(step)?;
        self.tally.took("history", start);
        Ok(differences)
    }

    fn act_beside(&mut self, step: &Step, device: &str) -> Result<Vec<Difference>> {
        let Theatre { stack, seed, allowed, marks, .. } = self.theatre;
        let (token, since) = (self.names.get(&format!("token:{device}"))?.to_owned(), self.last.clone());
        let user = encode(self.names.get(&format!("@{}", &device[..1]))?);
        // Each worker has begun with the poll once it has answered what came after it.
        let arrived = || seed.position(&stack.python).and_then(|_| seed.position(&stack.myelin)).map(drop);
        let end = || {
            let path = format!("/_matrix/client/v3/user/{user}/account_data/{}", poll::END);
            let number = json!({"number": marks.fetch_add(1, Ordering::Relaxed)});
            expect_ok(&stack.main.with_token(&token).send("PUT", &path, Some(&number))?, "the end").map(drop)
        };
        let (polled, ()) = poll::beside(stack, &token, &since, arrived, || self.act(step), end)?;
        self.settle()?;
        polled.compare(stack, &token, allowed)
    }

    fn act(&mut self, step: &Step) -> Result<()> {
        let (play, start) = (&*self, now());
        let answers = if step.at_once {
            std::thread::scope(|scope| {
                let acts: Vec<_> = step.acts.iter().map(|act| scope.spawn(|| play.request(act))).collect();
                let answers = acts.into_iter().map(|act| act.join().map_err(|_| anyhow::anyhow!("an act panicked"))?);
                answers.collect::<Result<Vec<_>>>()
            })?
        } else {
            Vec::new()
        };
        if step.at_once {
            self.forked.push((start, now()));
        }
        for (at, act) in step.acts.iter().enumerate() {
            if step.at_once {
                self.keep(act, answers[at].as_ref());
            } else {
                let answer = self.request(act)?;
                self.keep(act, answer.as_ref());
            }
        }
        if step.acts.iter().any(|act| act.path.ends_with("/deactivate")) {
            self.wait_parted()?;
        }
        self.settle()
    }

    /// Who deactivates himself leaves his rooms afterwards.
    fn wait_parted(&self) -> Result<()> {
        let start = Instant::now();
        while self.theatre.stack.query("SELECT count(*) FROM users_pending_deactivation")? != "0" {
            ensure!(start.elapsed() < PATIENCE, "somebody does not leave his rooms");
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// `None` if the act refers to what does not exist.
    fn request(&self, act: &Act) -> Result<Option<Answer>> {
        if is_server(&act.by) {
            return self.afar(act);
        }
        let token = self.names.get(&format!("token:{}", act.by));
        let (path, body) = (self.names.fill_url(&act.path), self.names.fill(&act.body.to_string()));
        let (Ok(token), Ok(path), Ok(body)) = (token, path, body) else { return Ok(None) };
        let stack = &self.theatre.stack;
        let client = if act.at_myelin { &stack.myelin } else { &stack.main }.with_token(token);
        let answer =
            client.send(&act.method, &format!("/_matrix/client/{path}"), Some(&serde_json::from_str(&body)?))?;
        ensure!(
            answer.status < 500,
            "{} {}: {} {}",
            act.method,
            act.path,
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(Some(answer))
    }

    /// What somebody of another server does.
    fn afar(&self, act: &Act) -> Result<Option<Answer>> {
        let (room, body) = (self.names.fill(&act.path), self.names.fill(&act.body.to_string()));
        let (Ok(room), Ok(body)) = (room, body) else { return Ok(None) };
        let afar = Afar { names: &self.names, synapse: &self.theatre.stack.synapse, server: &act.by };
        let answer = if act.method == "JOIN" {
            afar.join(self.names.get(&format!("@{}", act.by))?, &room)?
        } else {
            let mut event: Value = serde_json::from_str(&body)?;
            let after = event.as_object_mut().and_then(|event| event.remove("after"));
            afar.send(&room, after.as_ref().and_then(Value::as_str), event)?
        };
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status < 500, "{} {}: {} {body}", act.by, act.method, answer.status);
        Ok(Some(answer))
    }

    fn keep(&mut self, act: &Act, answer: Option<&Answer>) {
        self.tally.acts += 1;
        let Some(answer) = answer else {
            self.tally.skipped += 1;
            return;
        };
        let Some(body) = keepable(answer) else {
            self.tally.refused += 1;
            *self.tally.refusals.entry(shape(&format!("{} {}", act.method, act.path))).or_default() += 1;
            return;
        };
        for (name, pointer) in &act.keep {
            if let Some(id) = body.pointer(pointer).and_then(Value::as_str) {
                self.names.set(name, id);
            }
        }
    }

    /// Both workers have what the main process has written, and `last` says how far that is.
    fn settle(&mut self) -> Result<()> {
        let Theatre { stack, seed, marks, .. } = self.theatre;
        // Synapse sends account data after the cache invalidations that no token tells of.
        let start = Instant::now();
        let mark = json!({"number": marks.fetch_add(1, Ordering::Relaxed)});
        seed.ask("watcher", "PUT", "v3/user/<@watcher>/account_data/my.mark", &mark)?;
        self.last = stack.wait_caught_up(seed)?;
        self.tally.took("of these, settling", start);
        Ok(())
    }

    /// See `Seed::load_history`.
    fn load_history(&self, step: &Step) -> Result<()> {
        // Where `prev_content` says who may see the event.
        const CHANGES: [&str; 11] = [
            "join/",
            "/join",
            "/leave",
            "/kick",
            "/ban",
            "/unban",
            "/invite",
            "knock/",
            "createRoom",
            "/upgrade",
            "/state/m.room.history_visibility",
        ];
        let touched = |act: &&Act| CHANGES.iter().any(|part| act.path.contains(part));
        let everywhere = step.acts.iter().any(|act| act.path.contains("/profile/"));
        let mut rooms: Vec<_> = step.acts.iter().filter(touched).map(|act| act.path.as_str()).collect();
        rooms.extend(step.acts.iter().flat_map(|act| &act.keep).map(|(name, _)| name.as_str()));
        for (name, id) in self.names.rooms() {
            if !everywhere && !rooms.iter().any(|text| *text == name || text.contains(&format!("<{name}>"))) {
                continue;
            }
            let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={HISTORY}", encode(id));
            for user in USERS {
                // Only who is there reads all of it.
                let worker = self.theatre.stack.python.with_token(self.names.get(&format!("token:{user}1"))?);
                if worker.get(&format!("/_matrix/client/v3/rooms/{}/joined_members", encode(id)))?.status == 200 {
                    expect_ok(&worker.get(&path)?, "the history")?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, ask: &Ask) -> Result<Vec<Difference>> {
        let row = ask.row();
        let body = row
            .body
            .as_deref()
            .map_or_else(|| Ok(String::new()), |body| self.names.fill(&String::from_utf8_lossy(body)));
        let (Ok(path), Ok(_)) = (self.names.fill_url(&row.url()), body) else {
            self.tally.skipped += 1;
            return Ok(Vec::new());
        };
        self.tally.asked += 1;
        let Theatre { stack, seed, allowed, routes, .. } = self.theatre;
        let since = ask.query.iter().find(|(name, _)| name == "since");
        let since = since.and_then(|(_, name)| self.taken.get(name.trim_matches(['<', '>']))).copied();
        let user =
            if is_server(&ask.by) { String::new() } else { self.names.get(&format!("@{}", &ask.by[..1]))?.to_owned() };
        let forked = self.forked.clone();
        for attempt in 0..ATTEMPTS {
            // Who asks again may have been sent the news already.
            let since = since.filter(|_| attempt == 0);
            let asked = Asked { row: &ask.name, user_id: Some(&user), since, forked: &forked };
            let asker = Asker { stack, names: &self.names, routes };
            let (python, myelin) = asker.both(&row, &path)?;
            let mut differences = compare::answers(asked, allowed, &python, &myelin);
            if !ask.odd {
                differences.extend(asker.wrong_answerer(&row, &path, &myelin));
            }
            if !differences.is_empty() && seed.position(&stack.python)? != self.last {
                self.settle()?;
                continue;
            }
            if !differences.is_empty() {
                let [python, myelin] = [&python, &myelin].map(|answer| String::from_utf8_lossy(&answer.body));
                self.differed = format!("  {path}, attempt {attempt}\n    python: {python}\n    myelin: {myelin}");
            }
            self.tally.answered += usize::from(python.status == 200);
            if let (Some((name, pointer)), Ok(answer)) = (&ask.keep, python.json())
                && let Some(value) = answer.pointer(pointer).and_then(Value::as_str)
            {
                self.keep_token(name, value);
            }
            return Ok(differences);
        }
        self.tally.moved += 1;
        Ok(Vec::new())
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// The answer to an act; `None` if it was refused.
fn keepable(answer: &Answer) -> Option<Value> {
    (answer.status == 200).then(|| answer.json().unwrap_or_default())
}

fn area(name: &str) -> &str {
    name.split([',', '/']).next().unwrap_or(name)
}

/// Without names, numbers and ids.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let names = segment.contains(['<', '$', '!', '@', '"']);
        if names || segment.chars().all(|it| it.is_ascii_digit()) { "*" } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}
