//! One row of the table: a request, who asks, and what Synapse is known to answer.

use serde_json::Value;

use crate::names::encode;
use crate::sign::Signing;

#[derive(Clone, Debug)]
pub enum By {
    Nobody,
    User(String),
    /// Whatever the row's own headers and query say.
    Token(String),
    /// Another server, or our own, which signs the request.
    Server(Signing),
}

/// Names in `<…>` are filled in everywhere; see `Names`.
#[derive(Clone, Debug)]
pub struct Row {
    /// `area/what it shows`
    pub name: String,
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub by: By,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// Guards the row itself: a request that fails by mistake would show nothing. 0: one of many, it may fail.
    pub status: u16,
    /// JSON pointers that Python's answer must have, for the same reason.
    pub has: Vec<String>,
    /// Stores a string of the answer under a name: `(name, JSON pointer)`.
    pub keep: Option<(String, String)>,
    /// Myelin is asked before Python: for requests that change something.
    pub myelin_first: bool,
    /// Not answered by Myelin itself, though the route is.
    pub passed_on: bool,
}

impl Row {
    fn new(method: &str, name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            by: By::Nobody,
            headers: Vec::new(),
            body: None,
            status: 200,
            has: Vec::new(),
            keep: None,
            myelin_first: false,
            passed_on: false,
        }
    }

    pub fn by(self, user: &str) -> Self {
        Self { by: By::User(user.to_owned()), ..self }
    }

    pub fn token(self, token: &str) -> Self {
        Self { by: By::Token(token.to_owned()), ..self }
    }

    /// Signed by a server whose key is known: `myelin.test`, `other.test`, `third.test`.
    pub fn signed(self, server: &str) -> Self {
        self.signed_as(Signing::by(server))
    }

    /// The same with a lie in it.
    pub fn signed_as(self, signing: Signing) -> Self {
        Self { by: By::Server(signing), ..self }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().as_bytes())
    }

    pub fn body(self, body: &[u8]) -> Self {
        Self { body: Some(body.to_vec()), ..self }
    }

    pub fn at(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn has(mut self, pointer: &str) -> Self {
        self.has.push(pointer.to_owned());
        self
    }

    pub fn keep(self, name: &str, pointer: &str) -> Self {
        Self { keep: Some((name.to_owned(), pointer.to_owned())), ..self }
    }

    pub fn myelin_first(self) -> Self {
        Self { myelin_first: true, ..self }
    }

    pub fn passed_on(self) -> Self {
        Self { passed_on: true, ..self }
    }

    /// Path and query, with the names still in them.
    pub fn url(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={}", encode_text(value))).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }
}

/// Encodes a value but for the names in it.
fn encode_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let (name, after) = after.split_once('>').unwrap_or((after, ""));
        out.push_str(&encode(before));
        out.extend(["<", name, ">"]);
        rest = after;
    }
    out + &encode(rest)
}

pub fn get(name: &str, path: &str) -> Row {
    Row::new("GET", name, path)
}

pub fn post(name: &str, path: &str) -> Row {
    Row::new("POST", name, path)
}

pub fn send(method: &str, name: &str, path: &str) -> Row {
    Row::new(method, name, path)
}
