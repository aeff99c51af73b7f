//! Users by their names. Answers to `search_users` in `synapse/handlers/user_directory.py`, and to the words of a query
//! in `synapse/storage/databases/main/user_directory.py`.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use myelin_model::{MatrixError, Requester};
use myelin_storage::user_directory::UserSearch;
use serde_json::json;

use crate::{Handlers, Result};

/// Words that count.
const MAX_WORDS: usize = 10;
/// Users in one answer.
const MAX_LIMIT: i64 = 50;

impl Handlers {
    /// `search_users`, as JSON.
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

/// `_parse_query_postgres`: words in quotes.
fn quoted_words(term: &str) -> Vec<String> {
    // `_filter_text_for_index`
    let term = ComposingNormalizerBorrowed::new_nfkc().normalize(&term.to_lowercase()).into_owned();
    let quote = |word: &String| format!("'{}'", word.replace('\'', "''").replace('\\', "\\\\"));
    words(&term).iter().take(MAX_WORDS).map(quote).collect()
}

/// `_parse_words_with_icu`: ids with `-`, `.` or `_` in them stay in one piece.
fn words(term: &str) -> Vec<String> {
    let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
    let ends: Vec<usize> = segmenter.segment_str(term).collect();
    let segments = ends.windows(2).filter_map(|ends| term.get(ends[0]..ends[1]));
    let parts: Vec<&str> = segments.flat_map(|part| part.split(['@', ':'])).map(str::trim).collect();
    let is_word = |part: &&&str| part.starts_with(is_word_char);
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

/// `\w`, to which marks are none, though to Unicode some are alphabetic.
fn is_word_char(c: char) -> bool {
    let is_mark = || GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c));
    c == '_' || (c.is_alphanumeric() && !is_mark())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_icus() {
        // What Python's `_parse_query_postgres` makes of each.
        for (term, wanted) in [
            ("alice", vec!["alice"]),
            ("Bob the builder", vec!["bob", "the", "builder"]),
            ("@alice:myelin.test", vec!["alice", "myelin.test"]),
            ("user-71", vec!["user-71"]),
            ("a.1_b-c", vec!["a.1_b-c"]),
            ("--a b- c--d", vec!["-a", "b", "c", "-d"]),
            ("it's 1,000.5; a,b", vec!["it''s", "1,000.5", "a", "b"]),
            ("_ __ _x x_ .x", vec!["__", "_x", "x_", ".x"]),
            ("! ? *", vec![]),
            ("", vec![]),
            ("\u{5c71}\u{7530}\u{592a}\u{90ce}", vec!["\u{5c71}\u{7530}", "\u{592a}\u{90ce}"]),
            ("たなか さくら", vec!["た", "なか", "さくら"]),
            ("ฉันชื่อสมชาย", vec!["ฉัน", "ชื่อสมชาย"]),
            ("ภาษาไทย-x", vec!["ภาษา", "ไทย-x"]),
            ("É\u{e7}a E\u{301}", vec!["éça", "é"]),
            ("a😀b smile", vec!["a", "b", "smile"]),
            ("l’été “quoted” «x»", vec!["l’été", "quoted", "x"]),
            ("Straße ΣΊΣΥΦΟΣ", vec!["straße", "σίσυφος"]),
            ("ﬁne ① Ⅷ ½ x²", vec!["fine", "1", "viii", "1⁄2", "x2"]),
            ("김철수", vec!["김철수"]),
            ("မြန်မာ", vec!["မြန်မာ"]),
            ("د.محمد", vec!["د.محمد"]),
            ("नमस्ते दुनिया", vec!["नमस्ते", "दुनिया"]),
            ("__日本_語", vec!["__", "日本_語"]),
            ("日本語-テスト.会社", vec!["日本語-テスト.会社"]),
            ("\u{a0}x a\0b", vec!["x", "a", "b"]),
            // A mark alone is no word.
            ("\u{e31}x", vec!["x"]),
        ] {
            let wanted: Vec<String> = wanted.iter().map(|word| format!("'{word}'")).collect();
            assert_eq!(quoted_words(term), wanted, "{term}");
        }
    }
}
