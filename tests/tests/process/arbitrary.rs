//! Arbitrary bytes at every native route: no answer is a 500, and none is missing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::Client;
use myelin_testkit::process::free_port;
use myelin_testkit::program::program;
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use myelin_tests::{Case, start_on};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

pub const CASES: [Case; 1] = [("arbitrary bytes", arbitrary_bytes)];

/// Requests for each method of each row; `MYELIN_ARBITRARY` sets another number.
const REQUESTS: u32 = 24;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names of parameters and of fields: what is odd about the rest is not seen otherwise.
const NAMES: [&str; 42] = [
    "access_token",
    "algorithm",
    "at",
    "auth_data",
    "device_id",
    "device_keys",
    "dir",
    "event_context",
    "event_fields",
    "fields",
    "filter",
    "format",
    "from",
    "full_state",
    "generic_search_term",
    "keys",
    "limit",
    "master_key",
    "max_depth",
    "membership",
    "minimum_valid_until_ts",
    "not_membership",
    "one_time_keys",
    "only",
    "order_by",
    "recurse",
    "room",
    "room_events",
    "room_types",
    "rooms",
    "search_categories",
    "search_term",
    "self_signing_key",
    "server_keys",
    "signatures",
    "since",
    "to",
    "ts",
    "types",
    "usage",
    "user_id",
    "user_signing_key",
];
const VALUES: [&str; 24] = [
    "",
    "0",
    "-1",
    "1",
    "99999999999999999999",
    "-9223372036854775809",
    "1.5",
    "1e400",
    "NaN",
    "true",
    "null",
    "{}",
    "[]",
    "\"",
    "s",
    "s1",
    "t1-1",
    "s1_1_1_1_1_1_1_1_1_1_1",
    "m1~2.3",
    "%00",
    "b",
    "f",
    "{\"room\":{\"timeline\":{\"limit\":-1}}}",
    "{\"types\":[1]}",
];

struct Request {
    method: String,
    target: Vec<u8>,
    authorization: String,
    body: Vec<u8>,
}

/// Without a fallback, so that no answer is anybody else's.
fn arbitrary_bytes(synapse: &Synapse) -> Result<()> {
    let port = free_port()?;
    let listener = format!(
        "worker_listeners:\n  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], \
         resources: [{{names: [client, federation, keys, openid]}}]}}\n"
    );
    let (port, service) = start_on(synapse, "arbitrary", port, &listener)?;
    let (token, ids) = somebody(synapse)?;
    let requests = std::env::var("MYELIN_ARBITRARY").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS);
    let routes = native_routes()?;
    ensure!(routes.len() > 40, "{} routes were understood", routes.len());
    let seen = RefCell::new(BTreeMap::<u16, usize>::new());
    for (methods, regex) in routes {
        for method in methods.split(' ') {
            let mut runner =
                TestRunner::new(Config { cases: requests, failure_persistence: None, ..Config::default() });
            let requests = request(method, &regex, &token, &ids)?;
            let checked = runner.run(&requests, |request| {
                let status = check(port, &request).map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
                *seen.borrow_mut().entry(status).or_default() += 1;
                Ok(())
            });
            checked.map_err(|error| anyhow::anyhow!("{method} {regex}: {error}"))?;
        }
    }
    println!("{seen:?}");
    // Or else nothing came as far as an answer.
    ensure!(seen.borrow().get(&200).is_some_and(|count| *count > 50), "{seen:?}");
    ensure!(!service.log().contains("panicked"), "{}", service.log());
    Ok(())
}

/// A token, and ids that mean something to its user.
fn somebody(synapse: &Synapse) -> Result<(String, Vec<String>)> {
    let main = Client::new(synapse.port);
    let body = json!({"username": "arbitrary", "password": "pw-for-tests", "auth": {"type": "m.login.dummy"}});
    let user = main.send("POST", "/_matrix/client/v3/register", Some(&body))?.ok()?;
    let text =
        |value: &Value, key: &str| value[key].as_str().map(ToOwned::to_owned).with_context(|| format!("no {key}"));
    let token = text(&user, "access_token")?;
    let main = main.with_token(&token);
    let body = json!({"preset": "public_chat", "room_alias_name": "arbitrary", "name": "Arbitrary"});
    let room = text(&main.send("POST", "/_matrix/client/v3/createRoom", Some(&body))?.ok()?, "room_id")?;
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
    let event =
        text(&main.send("PUT", &path, Some(&json!({"msgtype": "m.text", "body": "hello"})))?.ok()?, "event_id")?;
    let ids = [room, event, text(&user, "user_id")?, text(&user, "device_id")?, format!("#arbitrary:{SERVER_NAME}")];
    Ok((token, ids.to_vec()))
}

/// Methods and regular expression of each row, as `myelin routes` tells haproxy.
fn native_routes() -> Result<Vec<(String, String)>> {
    let printed = Command::new(program()?).args(["routes", "--format", "haproxy"]).output()?;
    let lines = String::from_utf8(printed.stdout)?;
    let route = |line: &str| {
        let (regex, rest) = line.strip_prefix("acl myelin_path path_reg ^")?.split_once("$  # ")?;
        let methods: Vec<&str> = rest.split(' ').filter(|word| word.chars().all(|c| c.is_ascii_uppercase())).collect();
        Some((methods.join(" "), regex.to_owned()))
    };
    Ok(lines.lines().filter_map(route).collect())
}

fn request(method: &str, regex: &str, token: &str, ids: &[String]) -> Result<impl Strategy<Value = Request>> {
    // A segment is mostly something that exists.
    let known: Vec<String> = ids.iter().map(|id| regex::escape(id)).collect();
    let segment = format!("({}|[^/]{{0,12}})", known.join("|"));
    let path = string_regex(&regex.replace("[^/]*", &segment).replace("[^/]+", &segment))?;
    let value = prop_oneof![select(&VALUES[..]).prop_map(ToOwned::to_owned), select(ids.to_vec()), any_text()];
    let name = prop_oneof![4 => select(&NAMES[..]).prop_map(ToOwned::to_owned), 1 => any_text()];
    let query = prop::collection::vec((name, value), 0..4);
    let signed = prop_oneof![
        Just(String::new()),
        "X-Matrix [ -~]{0,60}",
        "X-Matrix origin=\"[a-z.:]{1,9}\",key=\"ed25519:[a-z]\",sig=\"[A-Za-z]{0,9}\""
    ];
    let bearer = format!("Bearer {token}");
    let authorization = prop_oneof![6 => Just(bearer), 1 => "Bearer [ -~]{0,20}", 2 => signed];
    let body = prop_oneof![
        3 => json(ids.to_vec()).prop_map(|body| body.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    let body = if method == "GET" { Just(Vec::new()).boxed() } else { body.boxed() };
    let (method, raw) = (method.to_owned(), prop::bool::weighted(0.15));
    let parts = (path, query, authorization, body, raw);
    Ok(parts.prop_map(move |(path, query, authorization, body, raw)| {
        // Nobody waits for news.
        let mut pairs = vec!["timeout=0".to_owned()];
        pairs.extend(query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))));
        let target = if raw { raw_target(&path, &pairs) } else { target(&path, &pairs) };
        Request { method: method.clone(), target, authorization, body }
    }))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect())
    ]
}

fn json(ids: Vec<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(ids).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    let key = prop_oneof![5 => select(&NAMES[..]).prop_map(ToOwned::to_owned), 1 => any_text()];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn encode(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(text.as_bytes(), KEPT).to_string()
}

fn target(path: &str, query: &[String]) -> Vec<u8> {
    let path: Vec<String> = path.split('/').map(encode).collect();
    format!("{}?{}", path.join("/"), query.join("&")).into_bytes()
}

/// As it is, but for what ends a request line.
fn raw_target(path: &str, query: &[String]) -> Vec<u8> {
    let ends = |byte: &u8| !matches!(byte, b' ' | b'\r' | b'\n');
    path.bytes().chain(*b"?").chain(query.join("&").into_bytes()).filter(ends).collect()
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, target, authorization, body } = self;
        write!(
            f,
            "{method} {:?}, {authorization:?}, {:?}",
            String::from_utf8_lossy(target),
            String::from_utf8_lossy(body)
        )
    }
}

/// Its status. On a connection of its own: after what is no HTTP the server may close it, once it has answered.
fn check(port: u16, request: &Request) -> Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let Request { method, target, authorization, body } = request;
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend(target);
    bytes.extend(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    bytes.extend(format!("Authorization: {authorization}\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    stream.write_all(&bytes)?;
    let mut answer = Vec::new();
    // It may be reset after the answer, when the rest of the request is not read.
    let end = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status =
        head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse::<u16>().ok());
    let status = status.with_context(|| format!("no answer: {head:?}, {end:?}"))?;
    ensure!(status < 500, "{}", head.lines().next().unwrap_or_default());
    Ok(status)
}
