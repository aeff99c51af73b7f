//! Reads the SQL out of the sources: every string that starts like a statement.

use std::path::Path;

use anyhow::Result;

/// A statement and where it stands.
pub struct Statement {
    pub place: String,
    pub sql: String,
}

/// Statements that are put together at run time have `{}` in them and are left out.
pub fn statements(folder: &Path) -> Result<Vec<Statement>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(statements(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let source = std::fs::read_to_string(&path)?;
            // What unit tests call a statement is none.
            let literals = literals(source.split("#[cfg(test)]").next().unwrap_or_default());
            found.extend(
                literals
                    .into_iter()
                    .filter(|(_, sql)| is_statement(sql))
                    .map(|(line, sql)| Statement { place: format!("{name}:{line}"), sql }),
            );
        }
    }
    Ok(found)
}

fn is_statement(text: &str) -> bool {
    let start = text.trim_start_matches(['(', ' ', '\n']);
    let verb = start.split_whitespace().next().unwrap_or_default();
    let is_verb = matches!(verb, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "WITH");
    is_verb && start.len() > verb.len() && !text.contains('{')
}

/// The string literals of Rust source with their lines; comments and characters are skipped.
fn literals(source: &str) -> Vec<(usize, String)> {
    let bytes: Vec<char> = source.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            ('/', Some('/')) => {
                while at < bytes.len() && bytes[at] != '\n' {
                    at += 1;
                }
                continue;
            }
            ('\'', Some('"')) => at += 2,
            ('"', _) => {
                let (text, end) = literal(&bytes, at + 1);
                let start = line;
                line += bytes[at..end].iter().filter(|c| **c == '\n').count();
                found.push((start, text));
                at = end;
            }
            ('\n', _) => line += 1,
            _ => {}
        }
        at += 1;
    }
    found
}

/// The text of the literal that starts at `at`, and where its closing quote is.
fn literal(source: &[char], mut at: usize) -> (String, usize) {
    let mut text = String::new();
    while at < source.len() && source[at] != '"' {
        if source[at] == '\\' {
            at += 1;
            match source.get(at) {
                // A line continuation swallows the indentation.
                Some('\n') => {
                    while source.get(at + 1).is_some_and(|c| c.is_whitespace()) {
                        at += 1;
                    }
                }
                Some('n') => text.push('\n'),
                Some(other) => text.push(*other),
                None => {}
            }
        } else {
            text.push(source[at]);
        }
        at += 1;
    }
    (text, at)
}
