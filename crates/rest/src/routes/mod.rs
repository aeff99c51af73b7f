//! The one table of routes. From it come the router, the metric label, `myelin routes` and docs/routes.md.
//! Answers to `synapse/http/server.py` (`JsonResource`).
//!
//! Patterns: `{A}`, `{R}` … are the version prefixes below, `{name}` is one path segment (`{name+}` a
//! non-empty one, `{name=x|y}` one of these), `[…]` is optional, `(a|b)` a choice.

mod client;
mod federation;
mod media;

use regex::{Regex, RegexSet};

/// What a client may put in front of a path.
const PREFIXES: [(&str, &str); 8] = [
    ("{A}", "/_matrix/client/(?:api/v1|r0|v3|unstable)"),
    ("{R}", "/_matrix/client/(?:r0|v3|unstable)"),
    ("{VU}", "/_matrix/client/(?:v1|unstable)"),
    ("{V}", "/_matrix/client/v1"),
    ("{U}", "/_matrix/client/unstable"),
    ("{FU}", "/_matrix/federation/unstable"),
    ("{F2}", "/_matrix/federation/v2"),
    ("{F}", "/_matrix/federation/v1"),
];

/// Prefixes below which an unknown path is Synapse's JSON 404; elsewhere it is Twisted's page.
const MOUNTED: [&str; 6] =
    ["/_matrix/client", "/_matrix/federation", "/_matrix/key", "/_matrix/media", "/_synapse/admin", "/_synapse/client"];

/// One row: methods, pattern, and the Python class that is the metric's label.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub methods: &'static str,
    pub pattern: &'static str,
    pub servlet: &'static str,
}

const fn route(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route { methods, pattern, servlet }
}

impl Route {
    fn takes(&self, method: &str) -> bool {
        // HEAD is GET without the body.
        let method = if method == "HEAD" { "GET" } else { method };
        self.methods.split(' ').any(|known| known == method)
    }
}

pub fn all() -> impl Iterator<Item = &'static Route> {
    client::ROUTES.iter().chain(&federation::ROUTES).chain(&media::ROUTES)
}

/// What a request's method and raw path stand for.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Route(&'static Route),
    /// The path is known with another method.
    WrongMethod(&'static Route),
    /// Below a mounted prefix.
    Unknown,
    Outside,
}

/// The compiled table.
pub struct Table {
    set: RegexSet,
    routes: Vec<&'static Route>,
}

impl Table {
    pub fn new() -> Result<Self, regex::Error> {
        let routes: Vec<_> = all().collect();
        let set = RegexSet::new(routes.iter().map(|route| to_regex(route.pattern)))?;
        Ok(Self { set, routes })
    }

    /// Matches the path as it was sent, before percent-decoding.
    pub fn find(&self, method: &str, path: &str) -> Found {
        let matches: Vec<_> = self.set.matches(path).into_iter().filter_map(|index| self.routes.get(index)).collect();
        if let Some(route) = matches.iter().find(|route| route.takes(method)) {
            return Found::Route(route);
        }
        match matches.first() {
            Some(route) => Found::WrongMethod(route),
            None if MOUNTED.iter().any(|prefix| is_below(path, prefix)) => Found::Unknown,
            None => Found::Outside,
        }
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A pattern as an anchored regular expression with one group per parameter.
fn to_regex(pattern: &str) -> String {
    let expanded = PREFIXES.iter().fold(pattern.to_owned(), |text, (short, long)| text.replace(short, long));
    let mut out = String::from("^");
    let mut rest = expanded.as_str();
    while let Some(at) = rest.find(['{', '[', ']', '.']) {
        out.push_str(&rest[..at]);
        let special = &rest[at..];
        let used = match special.as_bytes()[0] {
            b'[' => push(&mut out, "(?:", 1),
            b']' => push(&mut out, ")?", 1),
            b'.' => push(&mut out, "\\.", 1),
            _ => {
                let end = special.find('}').unwrap_or(special.len() - 1);
                push(&mut out, &parameter(&special[1..end]), end + 1)
            }
        };
        rest = &special[used..];
    }
    out.push_str(rest);
    out.push('$');
    out
}

fn push(out: &mut String, text: &str, used: usize) -> usize {
    out.push_str(text);
    used
}

fn parameter(text: &str) -> String {
    match (text.split_once('='), text.strip_suffix('+')) {
        (Some((_, choice)), _) => format!("({choice})"),
        (None, Some(_)) => "([^/]+)".to_owned(),
        (None, None) => "([^/]*)".to_owned(),
    }
}

/// The parameters of a path that matched `route`, raw; an optional one that is missing is empty.
pub fn parameters<'a>(route: &Route, path: &'a str) -> Vec<&'a str> {
    let Ok(regex) = Regex::new(&to_regex(route.pattern)) else { return Vec::new() };
    let Some(captures) = regex.captures(path) else { return Vec::new() };
    captures.iter().skip(1).map(|group| group.map_or("", |group| group.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, path: &str) -> String {
        match Table::new().unwrap().find(method, path) {
            Found::Route(route) => route.servlet.to_owned(),
            Found::WrongMethod(_) => "405".to_owned(),
            Found::Unknown => "404".to_owned(),
            Found::Outside => "page".to_owned(),
        }
    }

    #[test]
    fn paths_of_each_kind() {
        for (method, path, expected) in [
            ("GET", "/_matrix/client/v3/sync", "SyncRestServlet"),
            ("HEAD", "/_matrix/client/r0/sync", "SyncRestServlet"),
            ("GET", "/_matrix/client/v9/sync", "404"),
            ("GET", "/_matrix/client/v3/sync/x", "404"),
            ("PUT", "/_matrix/client/v3/sync", "405"),
            ("GET", "/foo", "page"),
            ("GET", "/_matrix/clientx", "page"),
            ("GET", "/_matrix/client/v3/rooms/%21a%2Fb:c/state/m.room.name/", "RoomStateEventRestServlet"),
            ("GET", "/_matrix/client/v3/rooms/!a/state/m.room.name", "RoomStateEventRestServlet"),
            ("POST", "/_matrix/client/v3/rooms/!a/kick", "RoomMembershipRestServlet"),
            ("POST", "/_matrix/client/v3/rooms/!a/shout", "404"),
            ("GET", "/_matrix/client/v3/pushrules/global/", "PushRuleRestServlet"),
            ("GET", "/_matrix/client/v1/rooms/!a/relations/$b/m.thread", "RelationPaginationServlet"),
            ("GET", "/_matrix/federation/v1/event/$x/", "FederationEventServlet"),
            ("GET", "/_matrix/key/v2/server", "LocalKey"),
            ("POST", "/_matrix/client/v3/keys/upload/FOO", "404"),
            ("GET", "/_matrix/client/unstable/orgXmatrix.msc2432/rooms/!a/aliases", "404"),
        ] {
            assert_eq!(find(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn parameters_are_raw_and_in_order() {
        let Found::Route(route) = Table::new().unwrap().find("GET", "/_matrix/client/v3/rooms/%21a/state/x/y") else {
            panic!("not found")
        };
        assert_eq!(parameters(route, "/_matrix/client/v3/rooms/%21a/state/x/y"), ["%21a", "x", "y"]);
    }
}
