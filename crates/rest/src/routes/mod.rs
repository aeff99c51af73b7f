//! The one table of routes. From it come the router, the metric label, `myelin routes` and docs/routes.md.
//! Answers to `synapse/http/server.py` (`JsonResource`) and `synapse/app/generic_worker.py` (`_listen_http`).
//!
//! A row without an endpoint is registered by a Synapse worker and passed on by this one.

mod client;
mod federation;
mod media;
mod pages;
mod pattern;
pub mod print;

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use regex::{Regex, RegexSet};

use crate::call::Endpoint;
use crate::federation::SignedEndpoint;

/// What a listener must have been configured with for a route to exist on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// On every http listener.
    Always,
    Client,
    ClientMedia,
    Federation,
    FederationMedia,
    OpenId,
    Keys,
    Media,
}

/// One row: methods, pattern, the Python class that is the metric's label, and our endpoints, if any.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub methods: &'static str,
    pub pattern: &'static str,
    pub servlet: &'static str,
    pub resource: Resource,
    /// Answers of these may be changed by Python modules.
    pub modular: bool,
    get: Option<Served>,
    post: Option<Served>,
    put: Option<Served>,
    delete: Option<Served>,
}

/// Who answers a method of a route here.
#[derive(Clone, Copy, Debug)]
pub enum Served {
    /// The endpoint itself looks at who asks.
    Open(Endpoint),
    /// Other servers ask, and prove who they are before the endpoint is called.
    Signed(SignedEndpoint),
}

impl Route {
    const fn of(resource: Resource, methods: &'static str, pattern: &'static str, servlet: &'static str) -> Self {
        Self { methods, pattern, servlet, resource, modular: true, get: None, post: None, put: None, delete: None }
    }

    const fn get(mut self, endpoint: Endpoint) -> Self {
        self.get = Some(Served::Open(endpoint));
        self
    }

    const fn post(mut self, endpoint: Endpoint) -> Self {
        self.post = Some(Served::Open(endpoint));
        self
    }

    const fn get_signed(mut self, endpoint: SignedEndpoint) -> Self {
        self.get = Some(Served::Signed(endpoint));
        self
    }

    const fn post_signed(mut self, endpoint: SignedEndpoint) -> Self {
        self.post = Some(Served::Signed(endpoint));
        self
    }

    const fn put(mut self, endpoint: Endpoint) -> Self {
        self.put = Some(Served::Open(endpoint));
        self
    }

    const fn delete(mut self, endpoint: Endpoint) -> Self {
        self.delete = Some(Served::Open(endpoint));
        self
    }

    /// No callback of a module has a say in this answer.
    const fn not_modular(mut self) -> Self {
        self.modular = false;
        self
    }

    pub fn takes(&self, method: &str) -> bool {
        self.methods.split(' ').any(|known| known == as_get(method))
    }

    /// Our own answer to a method of this row.
    pub fn endpoint(&self, method: &str) -> Option<Served> {
        match as_get(method) {
            "GET" => self.get,
            "POST" => self.post,
            "PUT" => self.put,
            "DELETE" => self.delete,
            _ => None,
        }
    }

    /// Methods that are served here, and those that are passed on.
    pub fn split_methods(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        self.methods.split(' ').partition(|method| self.endpoint(method).is_some())
    }
}

/// HEAD is GET without the body.
fn as_get(method: &str) -> &str {
    if method == "HEAD" { "GET" } else { method }
}

pub fn all() -> impl Iterator<Item = &'static Route> {
    client::ROUTES.iter().chain(&federation::ROUTES).chain(&media::ROUTES).chain(&pages::ROUTES)
}

/// What one listener offers: the `resources` of its configuration.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    names: Vec<String>,
}

impl Mounts {
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec() }
    }

    fn any(&self, wanted: &[&str]) -> bool {
        self.names.iter().any(|name| wanted.contains(&name.as_str()))
    }

    pub fn has(&self, resource: Resource) -> bool {
        match resource {
            Resource::Always => true,
            Resource::Client => self.any(&["client"]),
            Resource::ClientMedia => self.any(&["client", "media"]),
            Resource::Federation => self.any(&["federation"]),
            Resource::FederationMedia => self.any(&["federation", "media"]),
            Resource::OpenId => self.any(&["federation", "openid"]),
            Resource::Keys => self.any(&["federation", "keys"]),
            Resource::Media => self.any(&["media"]),
        }
    }

    pub fn metrics(&self) -> bool {
        self.any(&["metrics"])
    }

    /// A listener for health checks or metrics alone passes nothing on.
    pub fn passes_on(&self) -> bool {
        self.any(&["client", "consent", "federation", "keys", "media", "openid", "static"])
    }

    /// Whether an unknown path is Synapse's JSON 404; elsewhere it is Twisted's page.
    fn is_json(&self, path: &str) -> bool {
        // `/_synapse/admin` is on every listener, so that all of `/_synapse` answers in JSON.
        is_below(path, "/_synapse")
            || (is_below(path, "/_matrix") && self.any(&["client", "federation", "keys", "media", "openid"]))
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request's method and raw path stand for.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Route(&'static Route, usize),
    /// The path is known with another method.
    WrongMethod(&'static Route),
    /// Below a mounted prefix.
    Unknown,
    Outside,
}

impl Found {
    /// The metric's label.
    pub fn servlet(&self) -> &'static str {
        match self {
            Self::Route(route, _) => route.servlet,
            // Synapse: the resource's own name stands in until a servlet was found.
            Self::WrongMethod(_) | Self::Unknown => "JsonResource",
            Self::Outside => "_NotFound",
        }
    }
}

/// The compiled table.
pub struct Table {
    set: RegexSet,
    rows: Vec<Row>,
}

struct Row {
    route: &'static Route,
    /// For the parameters, where somebody here asks for them: each takes tens of kilobytes.
    regex: Option<Regex>,
}

impl Row {
    fn new(route: &'static Route, text: &str) -> Result<Self, regex::Error> {
        let native = [route.get, route.post, route.put, route.delete].iter().any(Option::is_some);
        let asked_for = native && text.contains("(?P<");
        Ok(Self { route, regex: asked_for.then(|| Regex::new(text)).transpose()? })
    }
}

impl Table {
    pub fn new() -> Result<Self, regex::Error> {
        let texts: Vec<_> = all().map(|route| pattern::to_regex(route.pattern)).collect();
        let set = RegexSet::new(&texts)?;
        let rows = all().zip(&texts).map(|(route, text)| Row::new(route, text));
        Ok(Self { set, rows: rows.collect::<Result<_, _>>()? })
    }

    /// Matches the path as it was sent, before percent-decoding. The first pattern that matches decides,
    /// even when a later one has the method.
    pub fn find(&self, mounts: &Mounts, method: &str, path: &str) -> Found {
        let matches = self.set.matches(path);
        let rows = matches.iter().filter_map(|index| Some((self.rows.get(index)?.route, index)));
        let mut rows = rows.filter(|(route, _)| mounts.has(route.resource)).peekable();
        let Some((first, _)) = rows.peek().copied() else {
            return if mounts.is_json(path) { Found::Unknown } else { Found::Outside };
        };
        // Rows of one pattern are one entry to Synapse.
        match rows.find(|(route, _)| route.pattern == first.pattern && route.takes(method)) {
            Some((route, index)) => Found::Route(route, index),
            None => Found::WrongMethod(first),
        }
    }

    /// The percent-decoded parameters of a path that `find` matched with the row `index`; none if it has no endpoint.
    pub fn parameters(&self, index: usize, path: &str) -> Parameters {
        let mut parameters = BTreeMap::new();
        if let Some(Row { route, regex: Some(regex) }) = self.rows.get(index)
            && let Some(captures) = regex.captures(path)
        {
            for name in regex.capture_names().flatten() {
                if let (Some(name), Some(value)) = (parameter_name(route, name), captures.name(name)) {
                    parameters.insert(name, percent_decode_str(value.as_str()).decode_utf8_lossy().into_owned());
                }
            }
        }
        Parameters(parameters)
    }
}

/// The name as it stands in the table, which lives as long as the program.
fn parameter_name(route: &'static Route, name: &str) -> Option<&'static str> {
    let at = route.pattern.find(&format!("{{{name}"))? + 1;
    route.pattern.get(at..at + name.len())
}

/// The parameters of a path, decoded; an optional one that is missing is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// A parameter that the pattern demands.
    pub fn get(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
