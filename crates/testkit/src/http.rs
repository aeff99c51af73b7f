//! A blocking HTTP client for tests and the demo.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether Myelin answered by itself.
    pub fn is_native(&self) -> bool {
        self.header("x-myelin") == Some("native")
    }

    /// The JSON of a 200.
    pub fn ok(&self) -> Result<Value> {
        ensure!(self.status == 200, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// One server, spoken to as one user.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    pub fn new(port: u16) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_mins(2)));
        let config = config.allow_non_standard_methods(true);
        Self { agent: config.build().into(), base: format!("http://127.0.0.1:{port}"), token: None }
    }

    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, None)
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(|body| body.to_string().into_bytes());
        let headers: &[_] = if body.is_some() { &[("Content-Type", "application/json")] } else { &[] };
        self.send_bytes(method, path, headers, body)
    }

    /// Any headers and any body.
    pub fn send_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let start = Instant::now();
        let response = match body {
            Some(body) => self.agent.run(request.body(body)?),
            None => self.agent.run(request.body(())?),
        };
        let mut response = response.with_context(|| format!("{method} {path}"))?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(k, v)| (k.as_str().to_owned(), v.to_str().unwrap_or_default().to_owned())).collect();
        let body = response.body_mut().with_config().limit(100 << 20).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers, body, took: start.elapsed() })
    }
}

pub fn is_healthy(port: u16) -> bool {
    Client::new(port).get("/health").is_ok_and(|answer| answer.status == 200)
}

/// The sum over all labels of a metric of the Myelin or Synapse that listens there, whose listener has `metrics` too.
pub fn metric(port: u16, name: &str) -> Result<u64> {
    let answer = Client::new(port).get("/_synapse/metrics")?;
    let text = String::from_utf8(answer.body)?;
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let numbers = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and bytes")]
    Ok(numbers.filter_map(|number| number.parse::<f64>().ok()).sum::<f64>() as u64)
}
