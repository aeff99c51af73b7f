//! The lines of replication, as Redis has them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// Everything published since somebody last forgot it.
pub struct Lines(Arc<Mutex<Vec<String>>>);

/// Of commands that tell what changed.
const TOLD: [&str; 3] = ["RDATA ", "LOCK_RELEASED ", "REMOTE_SERVER_UP "];

/// What may come when the write was answered long ago: presence, and the memberships that carry a profile.
const LATER: [&str; 6] = [
    "\"joined_room\"",
    "RDATA presence ",
    "RDATA events ",
    "cs_cache_fake",
    "update_join_states_lock",
    "get_rooms_for_user",
];

impl Lines {
    pub fn listen(port: u16, channel: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).context("Redis")?;
        stream.write_all(format!("SUBSCRIBE {channel}\r\n").as_bytes())?;
        let mut reader = BufReader::new(stream);
        // The confirmation: three parts, two of which have a line before them.
        let mut line = String::new();
        for _ in 0..6 {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let found = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&found);
        // Ends with Redis.
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if TOLD.iter().any(|command| line.starts_with(command)) {
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        });
        Ok(Self(found))
    }

    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Those that name `user_id`, without numbers that differ each time. `worker`: who may have written them.
    pub fn of(&self, user_id: &str, worker: &str) -> BTreeSet<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.iter().filter(|line| line.contains(user_id) && !LATER.iter().any(|what| line.contains(what)));
        lines.map(|line| without_numbers(&line.replace(worker, "<worker>"))).collect()
    }
}

/// Positions, times and ids of events.
pub fn without_numbers(line: &str) -> String {
    let mut words: Vec<String> = line.splitn(5, ' ').map(str::to_owned).collect();
    if words.first().is_some_and(|command| command == "RDATA")
        && let Some(token) = words.get_mut(3)
    {
        "<position>".clone_into(token);
    }
    let mut out = String::new();
    let mut rest = words.join(" ");
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit() || c == '$') {
        let tail = rest.split_off(at);
        let (event, length) = match tail.strip_prefix('$') {
            Some(id) => (true, 1 + id.find('"').unwrap_or(id.len())),
            None => (false, tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len())),
        };
        out.push_str(&rest);
        let (found, after) = tail.split_at(length);
        out.push_str(match (event, length) {
            (true, _) => "<event>",
            (false, 10..) => "<time>",
            (false, _) => found,
        });
        after.clone_into(&mut rest);
    }
    out + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hidden() {
        let line = r#"RDATA caches w 17 ["f",["@a:t","D1"],1795217404388]"#;
        assert_eq!(without_numbers(line), r#"RDATA caches w <position> ["f",["@a:t","D1"],<time>]"#);
        assert_eq!(
            without_numbers(r#"RDATA events m 9 ["ev",["$x-1","!r"]]"#),
            r#"RDATA events m <position> ["ev",["<event>","!r"]]"#
        );
    }
}
