//! A question to both workers: two answers, and who had to give Myelin's.

use anyhow::Result;
use myelin_rest::routes::{Found, Mounts, Table};
use myelin_testkit::http::{Answer, Client};

use crate::compare::Difference;
use crate::names::Names;
use crate::row::{By, Row};
use crate::stack::Stack;

/// Asks with the ids of `names`.
pub struct Asker<'a> {
    pub stack: &'a Stack,
    pub names: &'a Names,
    pub routes: &'a Table,
}

/// Who has to answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Native,
    PassedOn,
    /// No route of Synapse: the answers must be equal, whoever gives Myelin's.
    Either,
}

impl Asker<'_> {
    /// Python's answer and Myelin's. `path` is the row's, filled in.
    pub fn both(&self, row: &Row, path: &str) -> Result<(Answer, Answer)> {
        if row.myelin_first {
            let myelin = self.one(&self.stack.myelin, row, path)?;
            return Ok((self.one(&self.stack.python, row, path)?, myelin));
        }
        if row.method != "GET" {
            let python = self.one(&self.stack.python, row, path)?;
            return Ok((python, self.one(&self.stack.myelin, row, path)?));
        }
        std::thread::scope(|scope| {
            let python = scope.spawn(|| self.one(&self.stack.python, row, path));
            let myelin = self.one(&self.stack.myelin, row, path);
            Ok((python.join().map_err(|_| anyhow::anyhow!("a request panicked"))??, myelin?))
        })
    }

    fn one(&self, worker: &Client, row: &Row, path: &str) -> Result<Answer> {
        let client = match &row.by {
            By::Nobody | By::Server(_) => worker.clone(),
            By::User(user) => worker.with_token(self.names.get(&format!("token:{user}"))?),
            By::Token(token) => worker.with_token(&self.names.fill(token)?),
        };
        let body = row.body.as_deref().map(|body| match std::str::from_utf8(body) {
            Ok(text) => self.names.fill(text).map(String::into_bytes),
            Err(_) => Ok(body.to_vec()),
        });
        let body = body.transpose()?;
        let headers = row.headers.iter().map(|(name, value)| Ok((name.clone(), self.names.fill(value)?)));
        let mut headers = headers.collect::<Result<Vec<_>>>()?;
        if let By::Server(signing) = &row.by {
            let header = signing.header(self.names, &row.method, path, body.as_deref())?;
            headers.push(("Authorization".to_owned(), header));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.send_bytes(&row.method, path, &headers, body)
    }

    /// Whether the right one answered, by the table of routes.
    pub fn wrong_answerer(&self, row: &Row, path: &str, myelin: &Answer) -> Option<Difference> {
        let native = myelin.is_native();
        let expected = if row.passed_on { Expected::PassedOn } else { self.expects(&row.method, path) };
        let right = expected == Expected::Either || native == (expected == Expected::Native);
        (!right).then(|| Difference {
            path: "answered by".to_owned(),
            python: format!("{expected:?} by the table of routes"),
            myelin: (if native { "native" } else { "passed on" }).to_owned(),
        })
    }

    /// Whether the table of routes has an endpoint of Myelin's own.
    pub fn expects(&self, method: &str, path: &str) -> Expected {
        if method == "OPTIONS" {
            return Expected::Native;
        }
        let mounts = Mounts::new(&["client".to_owned(), "federation".to_owned()]);
        let path = path.split('?').next().unwrap_or(path);
        match self.routes.find(&mounts, method, path) {
            Found::Route(route, _) if route.endpoint(method).is_some() => Expected::Native,
            Found::Route(..) => Expected::PassedOn,
            Found::WrongMethod(_) | Found::Unknown | Found::Outside => Expected::Either,
        }
    }
}
