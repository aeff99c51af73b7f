//! The short notation of the table as anchored regular expressions. Answers to `client_patterns` in
//! `synapse/rest/client/_base.py`.
//!
//! `{A}`, `{R}` … are the version prefixes below, `{name}` is one path segment (`{name+}` a non-empty one,
//! `{name=x|y}` one of these), `[…]` is optional, `(a|b)` a choice.

/// What a client may put in front of a path.
const PREFIXES: [(&str, &str); 8] = [
    ("{A}", "/_matrix/client/(api/v1|r0|v3|unstable)"),
    ("{R}", "/_matrix/client/(r0|v3|unstable)"),
    ("{VU}", "/_matrix/client/(v1|unstable)"),
    ("{V}", "/_matrix/client/v1"),
    ("{U}", "/_matrix/client/unstable"),
    ("{FU}", "/_matrix/federation/unstable"),
    ("{F2}", "/_matrix/federation/v2"),
    ("{F}", "/_matrix/federation/v1"),
];

/// A pattern as an anchored regular expression with one named group per parameter.
pub(super) fn to_regex(pattern: &str) -> String {
    let expanded = expand(pattern);
    let mut out = String::from("^");
    let mut rest = expanded.as_str();
    while let Some(at) = rest.find(['{', '[', ']', '(', '.']) {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        let used = match special.chars().next() {
            Some('[' | '(') => push(&mut out, "(?:", 1),
            Some(']') => push(&mut out, ")?", 1),
            Some('.') => push(&mut out, "\\.", 1),
            _ => {
                let end = special.find('}').unwrap_or(special.len() - 1);
                push(&mut out, &parameter(special.get(1..end).unwrap_or_default()), end + 1)
            }
        };
        rest = special.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out.push('$');
    out
}

/// The pattern with its version prefix written out.
pub(super) fn expand(pattern: &str) -> String {
    PREFIXES.iter().fold(pattern.to_owned(), |text, (short, long)| text.replace(short, long))
}

fn push(out: &mut String, text: &str, used: usize) -> usize {
    out.push_str(text);
    used
}

fn parameter(text: &str) -> String {
    if let Some((name, choice)) = text.split_once('=') {
        return format!("(?P<{name}>{choice})");
    }
    match text.strip_suffix('+') {
        Some(name) => format!("(?P<{name}>[^/]+)"),
        None => format!("(?P<{text}>[^/]*)"),
    }
}
