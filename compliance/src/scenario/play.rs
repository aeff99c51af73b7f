//! Plays a scenario with users and rooms of its own, and stops at the first difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_rest::routes::Table;
use myelin_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use super::step::{Act, Ask, Step};
use super::world::{DEVICES, USERS};
use super::{PASSWORD, poll};
use crate::allowed::Allowed;
use crate::ask::Asker;
use crate::compare::{self, Difference};
use crate::names::{Names, encode};
use crate::run::line;
use crate::seed::Seed;
use crate::stack::{Stack, expect_ok};

/// A worker that has not caught up by then answers with nothing; Synapse waits 10 s.
const PATIENCE: Duration = Duration::from_secs(9);
/// How often a question is asked again while the server itself moves (presence times out, for example).
const ATTEMPTS: usize = 5;
/// Events read again in each room where memberships changed.
const HISTORY: usize = 40;

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
    /// Left out, because a name did not exist.
    pub skipped: usize,
    /// Given up, because the server did not stand still.
    pub moved: usize,
    /// Equal but for what Python's order of rooms decides; see `rooms_disagree` and `is_lazy`.
    pub unordered: usize,
}

impl Theatre {
    pub fn new(stack: Stack, seed: Seed) -> Result<Self> {
        let (plays, marks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { stack, seed, allowed: Allowed::load()?, routes: Table::new()?, plays, marks })
    }

    pub fn play(&self, steps: &[Step], tally: &mut Tally) -> Result<Option<Failure>> {
        let mut play = Play { theatre: self, names: self.cast()?, last: String::new(), number: 0, tally };
        play.settle()?;
        for device in DEVICES {
            play.names.set(&format!("chain:{device}"), play.last.clone());
        }
        for (at, step) in steps.iter().enumerate() {
            let differences = play.step(step)?;
            if !differences.is_empty() {
                return Ok(Some(play.failure(at, None, &differences)));
            }
            for ask in &step.asks {
                let differences = play.ask(ask)?;
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
        for user in USERS {
            let body = json!({"username": format!("{user}_of_{play}"), "password": PASSWORD,
                "auth": {"type": "m.login.dummy"}, "inhibit_login": true});
            let answer = self.stack.main.send("POST", "/_matrix/client/v3/register", Some(&body))?;
            let answer = expect_ok(&answer, "register")?;
            names.set(&format!("@{user}"), answer["user_id"].as_str().context("no user_id")?);
        }
        for device in DEVICES {
            let identifier = json!({"type": "m.id.user", "user": names.get(&format!("@{}", &device[..1]))?});
            let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
            let answer = self.stack.main.send("POST", "/_matrix/client/v3/login", Some(&body))?;
            let answer = expect_ok(&answer, "login")?;
            for (kind, key) in [("token", "access_token"), ("device", "device_id")] {
                names.set(&format!("{kind}:{device}"), answer[key].as_str().with_context(|| format!("no {key}"))?);
            }
        }
        Ok(names)
    }
}

struct Play<'a> {
    theatre: &'a Theatre,
    names: Names,
    /// Position of the server after the last step.
    last: String,
    /// Of the last step.
    number: usize,
    tally: &'a mut Tally,
}

impl Play<'_> {
    fn failure(&self, at: usize, ask: Option<&Ask>, differences: &[Difference]) -> Failure {
        let unfill = |text: &str| self.names.unfill(text);
        let area = ask.map_or("poll", |ask| area(&ask.name));
        let kind = differences.first().map_or(String::new(), |first| shape(&unfill(&first.path)));
        let lines = differences.iter().map(|found| unfill(&line(found))).collect();
        Failure { at, ask: ask.cloned(), kind: format!("{area} {kind}"), lines }
    }

    /// What the long-poll beside it saw differently.
    fn step(&mut self, step: &Step) -> Result<Vec<Difference>> {
        // Tokens of steps that were taken out.
        for number in self.number..step.number {
            self.names.set(&format!("t{number}"), self.last.clone());
        }
        self.number = step.number;
        let differences = if let Some(device) = &step.poll {
            self.act_beside(step, device)?
        } else {
            self.act(step)?;
            Vec::new()
        };
        self.names.set(&format!("t{}", step.number), self.last.clone());
        self.load_history(step)?;
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
        let play = &*self;
        let answers = if step.at_once {
            std::thread::scope(|scope| {
                let acts: Vec<_> = step.acts.iter().map(|act| scope.spawn(|| play.request(act))).collect();
                let answers = acts.into_iter().map(|act| act.join().map_err(|_| anyhow::anyhow!("an act panicked"))?);
                answers.collect::<Result<Vec<_>>>()
            })?
        } else {
            Vec::new()
        };
        for (at, act) in step.acts.iter().enumerate() {
            if step.at_once {
                self.keep(act, answers[at].as_ref());
            } else {
                let answer = self.request(act)?;
                self.keep(act, answer.as_ref());
            }
        }
        self.settle()
    }

    /// `None` if the act refers to what does not exist.
    fn request(&self, act: &Act) -> Result<Option<Answer>> {
        let token = self.names.get(&format!("token:{}", act.by));
        let (path, body) = (self.names.fill_url(&act.path), self.names.fill(&act.body.to_string()));
        let (Ok(token), Ok(path), Ok(body)) = (token, path, body) else { return Ok(None) };
        let client = self.theatre.stack.main.with_token(token);
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
        let mark = json!({"number": marks.fetch_add(1, Ordering::Relaxed)});
        seed.ask("watcher", "PUT", "v3/user/<@watcher>/account_data/my.mark", &mark)?;
        self.last = seed.position(&stack.main)?;
        self.catch_up()
    }

    /// A worker that is asked from a later position waits until it has come there.
    fn catch_up(&self) -> Result<()> {
        let Theatre { stack, seed, .. } = self.theatre;
        let filter = json!({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}});
        let path = format!(
            "/_matrix/client/v3/sync?set_presence=offline&since={}&filter={}",
            encode(&self.last),
            encode(&filter.to_string())
        );
        let token = seed.names.get("token:watcher")?;
        let reach = |name: &str, worker: &Client| -> Result<()> {
            let answer = worker.with_token(token).get(&path)?;
            expect_ok(&answer, name)?;
            ensure!(answer.took < PATIENCE, "{name} does not reach {}", self.last);
            Ok(())
        };
        std::thread::scope(|scope| {
            let python = scope.spawn(|| reach("Python", &stack.python));
            reach("Myelin", &stack.myelin)?;
            python.join().map_err(|_| anyhow::anyhow!("a request panicked"))?
        })
    }

    /// See `Seed::load_history`.
    fn load_history(&self, step: &Step) -> Result<()> {
        const MEMBERSHIP: [&str; 10] =
            ["join/", "/join", "/leave", "/kick", "/ban", "/unban", "/invite", "knock/", "createRoom", "/upgrade"];
        let touched = |act: &&Act| MEMBERSHIP.iter().any(|part| act.path.contains(part));
        let everywhere = step.acts.iter().any(|act| act.path.contains("/profile/"));
        let mut rooms: Vec<_> = step.acts.iter().filter(touched).map(|act| act.path.as_str()).collect();
        rooms.extend(step.acts.iter().flat_map(|act| &act.keep).map(|(name, _)| name.as_str()));
        for (name, id) in self.names.rooms() {
            if !everywhere && !rooms.iter().any(|text| *text == name || text.contains(&format!("<{name}>"))) {
                continue;
            }
            let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={HISTORY}", encode(id));
            for user in USERS {
                // Who was never there may not read it: then another one does.
                let token = self.names.get(&format!("token:{user}1"))?;
                self.theatre.stack.python.with_token(token).get(&path)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, ask: &Ask) -> Result<Vec<Difference>> {
        let row = ask.row();
        let Ok(path) = self.names.fill_url(&row.url()) else {
            self.tally.skipped += 1;
            return Ok(Vec::new());
        };
        self.tally.asked += 1;
        let Theatre { stack, seed, allowed, routes, .. } = self.theatre;
        for _ in 0..ATTEMPTS {
            let asker = Asker { stack, names: &self.names, routes };
            let (python, myelin) = asker.both(&row, &path)?;
            let mut differences = compare::answers(&row.name, allowed, &python, &myelin);
            differences.extend(asker.wrong_answerer(&row, &path, &myelin));
            let is_new = |path: &str| path.starts_with("/device_lists") || path.starts_with("/presence");
            if differences.iter().any(|found| is_new(&found.path)) && rooms_disagree(&python.json()?) {
                differences.retain(|found| !is_new(&found.path));
                self.tally.unordered += 1;
            }
            if is_lazy(ask) {
                let before = differences.len();
                differences.retain(|found| !is_remembered(&found.path));
                self.tally.unordered += usize::from(differences.len() < before);
            }
            if !differences.is_empty() && seed.position(&stack.main)? != self.last {
                self.settle()?;
                continue;
            }
            if let (Some((name, pointer)), Ok(answer)) = (&ask.keep, python.json())
                && let Some(value) = answer.pointer(pointer).and_then(Value::as_str)
            {
                self.names.set(name, value);
            }
            return Ok(differences);
        }
        self.tally.moved += 1;
        Ok(Vec::new())
    }
}

/// The answer to an act; `None` if it was refused.
fn keepable(answer: &Answer) -> Option<Value> {
    (answer.status == 200).then(|| answer.json().unwrap_or_default())
}

/// Whether somebody comes in one room of a sync and goes in another. In the order in which Python finished the rooms,
/// the last one says whether he is new (`_generate_sync_entry_for_rooms`), which decides on device lists and presence;
/// Myelin takes any.
fn rooms_disagree(sync: &Value) -> bool {
    let mut moves: BTreeMap<&str, BTreeSet<(bool, &str)>> = BTreeMap::new();
    let rooms = sync.pointer("/rooms/join").and_then(Value::as_object);
    for (room, entry) in rooms.into_iter().flatten() {
        let lists = ["/state/events", "/timeline/events", "/org.matrix.msc4222.state_after/events"];
        let lists = lists.iter().filter_map(|list| entry.pointer(list).and_then(Value::as_array));
        for event in lists.flatten().filter(|event| event["type"] == "m.room.member") {
            let user = event["state_key"].as_str().unwrap_or_default();
            let moves = moves.entry(user).or_default();
            let membership = event["content"]["membership"].as_str();
            let comes = membership.map(|membership| matches!(membership, "join" | "invite" | "knock"));
            // Either, where `event_fields` left it out.
            let kinds = [true, false].into_iter().filter(|kind| comes.is_none_or(|comes| comes == *kind));
            moves.extend(kinds.map(|kind| (kind, room.as_str())));
        }
    }
    let differ = |moves: &BTreeSet<(bool, &str)>| {
        moves.iter().any(|(comes, room)| *comes && moves.iter().any(|(also, other)| !also && other != room))
    };
    moves.values().any(differ)
}

/// Whether a worker leaves out members whom it remembers to have sent. Of a member of several rooms it remembers one
/// event, that of the room that it finished last, whatever rooms the filter names: so who comes again is not compared.
fn is_lazy(ask: &Ask) -> bool {
    let filter = ask.query.iter().find(|(name, _)| name == "filter").map_or("", |(_, filter)| filter.as_str());
    filter.contains("lazy_load_members") && !filter.contains("include_redundant_members")
}

/// Members in `state`, and all of `state_after`, which is compared by position.
fn is_remembered(path: &str) -> bool {
    let mut parts = path.split('/').skip(4);
    match (parts.next(), parts.next(), parts.next()) {
        (Some("state"), Some("events"), Some(key)) => key.starts_with("\"m.room.member\"") || key == "length",
        (Some("org.matrix.msc4222.state_after"), Some("events"), _) => true,
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_members() {
        assert!(is_remembered("/rooms/join/!r/state/events/\"m.room.member\" \"@a\""));
        assert!(!is_remembered("/rooms/join/!r/state/events/\"m.room.name\" \"\""));
        assert!(!is_remembered("/rooms/join/!r/timeline/events/0"));
    }

    #[test]
    fn the_order_of_rooms_matters_to_those_who_come_and_go() {
        let event = |user: &str, membership: &str| json!({"type": "m.room.member", "state_key": user, "content": {"membership": membership}});
        let sync = |a: Value, b: Value| json!({"rooms": {"join": {"!a": {"state": {"events": [a]}}, "!b": {"timeline": {"events": [b]}}}}});
        assert!(rooms_disagree(&sync(event("@a", "join"), event("@a", "ban"))));
        assert!(!rooms_disagree(&sync(event("@a", "join"), event("@b", "ban"))));
        assert!(!rooms_disagree(&sync(event("@a", "join"), event("@a", "invite"))));
    }
}
