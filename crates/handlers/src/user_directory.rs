//! Users by their names. Answers to `search_users` in `synapse/handlers/user_directory.py`, and to the words of a query
//! in `synapse/storage/databases/main/user_directory.py`.

use myelin_model::{MatrixError, Requester};
use myelin_storage::user_directory::UserSearch;
use serde_json::json;

use crate::{Handlers, Result};

/// Words that count.
const MAX_WORDS: usize = 10;
/// Users in one answer.
const MAX_LIMIT: i64 = 50;

impl Handlers {
    /// `search_users`, as JSON. `term`: in ASCII, as what is a word elsewhere takes more than is known here.
    pub async fn search_users(&self, requester: &Requester, term: &str, limit: i64) -> Result<Vec<u8>> {
        let directory = &self.config.directory;
        let words = quoted_words(term);
        let all = |form: fn(&String) -> String| words.iter().map(form).collect::<Vec<_>>().join(" & ");
        let limit = limit.clamp(0, MAX_LIMIT);
        let search = UserSearch {
            user_id: &requester.user_id,
            full: &all(|word| format!("({word}:* | {word})")),
            exact: &all(String::clone),
            prefix: &all(|word| format!("{word}:*")),
            search_all_users: directory.search_all_users,
            show_locked_users: directory.show_locked_users,
            exclude_remote_users: directory.exclude_remote_users,
            preferred_server: directory.prefer_local_users.then_some(self.config.server.server_name.as_str()),
            limit: limit + 1,
        };
        let mut users = self.storage.search_user_dir(&search).await?;
        let limit = usize::try_from(limit).unwrap_or_default();
        let limited = users.len() > limit;
        users.truncate(limit);
        let user = |user: myelin_storage::user_directory::FoundUser| json!({"user_id": user.user_id, "display_name": user.display_name, "avatar_url": user.avatar_url});
        let results: Vec<_> = users.into_iter().map(user).collect();
        serde_json::to_vec(&json!({"limited": limited, "results": results})).map_err(MatrixError::internal)
    }
}

/// `_parse_query_postgres`, of ASCII: words in quotes.
fn quoted_words(term: &str) -> Vec<String> {
    let words = words(&term.to_ascii_lowercase());
    let quote = |word: &String| format!("'{}'", word.replace('\'', "''").replace('\\', "\\\\"));
    words.iter().take(MAX_WORDS).map(quote).collect()
}

/// `_parse_words_with_icu`: ids with `-`, `.` or `_` in them stay in one piece.
fn words(term: &str) -> Vec<String> {
    let parts: Vec<&str> =
        segments(term).into_iter().flat_map(|part| part.split(['@', ':'])).map(str::trim_ascii).collect();
    let is_word = |part: &&&str| part.as_bytes().first().is_some_and(|byte| is_word_byte(*byte));
    let mut words: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        let before = at.checked_sub(1).and_then(|before| parts.get(before));
        at += 1;
        if matches!(*part, "-" | "." | "_") {
            let Some(next) = parts.get(at).filter(is_word) else { continue };
            at += 1;
            let prefix = before.filter(is_word).and_then(|_| words.pop()).unwrap_or_default();
            words.push(format!("{prefix}{part}{next}"));
        } else if is_word(&part) {
            words.push((*part).to_owned());
        }
    }
    words
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Boundaries of words in ASCII as Unicode has them (UAX #29).
fn segments(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let joins = |at: usize| -> bool {
        let around = (bytes.get(at.wrapping_sub(1)), bytes.get(at), bytes.get(at + 1));
        let (Some(before), Some(byte), Some(after)) = around else { return false };
        let letters = before.is_ascii_alphabetic() && after.is_ascii_alphabetic();
        let digits = before.is_ascii_digit() && after.is_ascii_digit();
        match byte {
            b'.' | b'\'' => letters || digits,
            b':' => letters,
            b',' | b';' => digits,
            _ => false,
        }
    };
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        while at < bytes.len() && (is_word_byte(bytes[at]) || (at > start && joins(at))) {
            at += 1;
        }
        if at == start {
            at += 1;
        }
        found.extend(text.get(start..at));
        start = at;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_icus() {
        // What Python's `_parse_words_with_icu` says of each.
        for (term, wanted) in [
            ("alice", vec!["alice"]),
            ("Bob the builder", vec!["Bob", "the", "builder"]),
            ("@alice:myelin.test", vec!["alice", "myelin.test"]),
            ("user-71", vec!["user-71"]),
            ("a.1_b-c", vec!["a.1_b-c"]),
            ("--a b- c--d", vec!["-a", "b", "c", "-d"]),
            ("it's 1,000.5; a,b", vec!["it's", "1,000.5", "a", "b"]),
            ("_ __ _x x_ .x", vec!["__", "_x", "x_", ".x"]),
            ("! ? *", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(words(term), wanted, "{term}");
        }
        assert_eq!(quoted_words("It's \\"), ["'it''s'"]);
    }
}
