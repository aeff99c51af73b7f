//! The Matrix Authentication Service says what tokens are: a small one of our own, asked by Myelin.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::synapse::Synapse;
use serde_json::{Value, json};

use super::{WHOAMI, expect, myelin};

const API: &str = "urn:matrix:client:api:*";
const SECRET: &str = "only between us";

/// What is asked of the service, which counts.
struct Service {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Service {
    /// Answers until the test's process ends.
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let service = Self { port: listener.local_addr()?.port(), asked: Arc::default() };
        let asked = Arc::clone(&service.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that ends or is not understood is dropped.
                let _ = answer(stream, &asked);
            }
        });
        Ok(service)
    }
}

fn answer(stream: TcpStream, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or_default();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line.to_ascii_lowercase());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.fetch_add(1, Ordering::SeqCst);
    let body = String::from_utf8_lossy(&body);
    if head.starts_with("get /auth/.well-known/openid-configuration http/1.1") {
        return send(reader.get_mut(), "200 OK", &metadata().to_string());
    }
    let is_proper = head.starts_with("post /auth/oauth2/introspect http/1.1")
        && head.contains(&format!("authorization: bearer {SECRET}"))
        && head.contains("content-type: application/x-www-form-urlencoded")
        && head.contains("x-mas-supports-device-id: 1");
    let token = body.strip_prefix("token=").and_then(|rest| rest.strip_suffix("&token_type_hint=access_token"));
    let (status, text) = match token.filter(|_| is_proper) {
        None => ("400 Bad Request", "{}".to_owned()),
        Some("broken") => ("500 Internal Server Error", "{}".to_owned()),
        Some("no%2Bjson") => ("200 OK", "{".to_owned()),
        Some(token) => ("200 OK", introspection(token).to_string()),
    };
    send(reader.get_mut(), status, &text)
}

fn send(stream: &mut TcpStream, status: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    let head = "Content-Type: application/json\r\nConnection: close";
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{head}\r\n\r\n{text}")
}

fn metadata() -> Value {
    json!({"issuer": "https://auth.test/", "account_management_uri": "https://auth.test/account", "more": [1.5]})
}

/// What a Python worker with the same settings answers, Myelin answers.
fn as_python(python: &Client, myelin: &Client) -> Result<()> {
    const AVAILABLE: &str = "/_synapse/mas/is_localpart_available";
    const QUERY: &str = "/_synapse/mas/query_user";
    let long = format!("{AVAILABLE}?localpart={}", "x".repeat(300));
    let paths = [
        "/_matrix/client/v1/auth_metadata",
        "/_matrix/client/unstable/auth_metadata",
        "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
        "/_matrix/client/v3/register/available?username=x",
        "/_matrix/client/v1/register/m.login.registration_token/validity?token=x",
        &format!("{QUERY}?localpart=plain"),
        &format!("{QUERY}?localpart=locked"),
        &format!("{QUERY}?localpart=nobody"),
        &format!("{QUERY}?localpart=%C3%A4"),
        QUERY,
        &format!("{AVAILABLE}?localpart=somebody"),
        &format!("{AVAILABLE}?localpart=plain"),
        &format!("{AVAILABLE}?localpart=12"),
        &format!("{AVAILABLE}?localpart=_x"),
        &format!("{AVAILABLE}?localpart=A"),
        &format!("{AVAILABLE}?localpart="),
        AVAILABLE,
        &long,
    ];
    for token in [Some(SECRET), Some("plain"), None] {
        let with = |client: &Client| token.map_or_else(|| client.clone(), |token| client.with_token(token));
        for path in paths {
            let (python, myelin) = (with(python).get(path)?, with(myelin).get(path)?);
            let shown = |answer: &Answer| (answer.status, answer.header("cache-control").map(str::to_owned));
            ensure!(shown(&python) == shown(&myelin), "{path}: {:?}, {:?}", shown(&python), shown(&myelin));
            ensure!(python.json()? == myelin.json()?, "{path}: {} {}", python.json()?, myelin.json()?);
            ensure!(myelin.is_native(), "{path} is passed on");
        }
    }
    Ok(())
}

fn introspection(token: &str) -> Value {
    let device = |id: &str| format!("openid {API} urn:matrix:client:device:{id}");
    match token {
        "inscope" => json!({"active": true, "scope": device("PLAIN"), "username": "plain", "expires_in": 300}),
        "explicit" => json!({"active": true, "scope": API, "username": "plain", "device_id": "PLAIN", "sub": "x"}),
        "nodevice" => json!({"active": true, "scope": API, "username": "locked", "expires_in": null}),
        "unstable" => json!({"active": true, "username": "plain", "scope":
            "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:PLAIN"}),
        "gone" => json!({"active": true, "scope": device("GONE"), "username": "plain"}),
        "hidden" => json!({"active": true, "scope": device("HIDDEN"), "username": "plain"}),
        "two" => json!({"active": true, "scope": device("A") + " urn:matrix:client:device:B", "username": "plain"}),
        "scopeless" => json!({"active": true, "scope": "openid", "username": "plain"}),
        "nameless" => json!({"active": true, "scope": API}),
        "unknown" => json!({"active": true, "scope": API, "username": "nobody"}),
        "endless" => json!({"active": true, "scope": API, "username": "plain", "device_id": "x".repeat(256)}),
        "over" => json!({"active": true, "scope": API, "username": "plain", "expires_in": 0}),
        "wrong" => json!({"active": "yes", "scope": API, "username": "plain"}),
        _ => json!({"active": false}),
    }
}

pub fn delegated_to_a_service(synapse: &Synapse) -> Result<()> {
    let service = Service::start()?;
    let port = service.port;
    let extra = format!(
        "enable_registration: false\nmatrix_authentication_service: {{enabled: true, endpoint: \
         'http://127.0.0.1:{port}/auth/', secret: {SECRET}}}\n"
    );
    let (client, _service) = myelin(synapse, "delegated", &extra)?;
    let (python, _python) = python_worker(synapse, &extra)?;
    as_python(&python, &client)?;
    let plain = json!({ "user_id": "@plain:myelin.test", "is_guest": false, "device_id": "PLAIN" });
    for token in ["inscope", "explicit", "unstable"] {
        expect(&client.with_token(token).get(WHOAMI)?, 200, &plain)?;
    }
    // Synapse: the service knows who is locked.
    let locked = json!({ "user_id": "@locked:myelin.test", "is_guest": false });
    expect(&client.with_token("nodevice").get(WHOAMI)?, 200, &locked)?;
    refusals(&client)?;
    new_cross_signing_keys(synapse, &client.with_token("inscope"))?;

    // Answers are kept, of tokens that are good and of those that are not; failures and dead devices are not.
    for (token, times) in [("inscope", 0), ("nonsense", 0), ("gone", 2), ("broken", 2)] {
        let before = service.asked.load(Ordering::SeqCst);
        client.with_token(token).get(WHOAMI)?;
        client.with_token(token).get(WHOAMI)?;
        let asked = service.asked.load(Ordering::SeqCst) - before;
        ensure!(asked == times, "{token}: asked {asked} times instead of {times}");
    }
    Ok(())
}

/// There is no password to ask for: the service says, in the database, that a key may be replaced.
fn new_cross_signing_keys(synapse: &Synapse, client: &Client) -> Result<()> {
    const PATH: &str = "/_matrix/client/v3/keys/device_signing/upload";
    let upload = |letter: &str| {
        let key = letter.repeat(43);
        let master =
            json!({"user_id": "@plain:myelin.test", "usage": ["master"], "keys": {format!("ed25519:{key}"): key}});
        client.send("POST", PATH, Some(&json!({ "master_key": master })))
    };
    let stored = |letter: &str| -> Result<()> {
        let answer = upload(letter)?;
        ensure!(answer.is_native(), "{letter} is passed on");
        expect(&answer, 200, &json!({}))
    };
    let passed_on = |letter: &str| -> Result<()> {
        // There is nobody here to pass it on to.
        expect(&upload(letter)?, 404, &json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}))
    };
    let until = |time: i64| {
        let script = synapse.folder.join("replaceable.sql");
        std::fs::write(
            &script,
            format!("UPDATE e2e_cross_signing_keys SET updatable_without_uia_before_ms = {time};"),
        )?;
        synapse.postgres.run_script("synapse", &script, &[])
    };
    stored("A")?;
    stored("A")?;
    passed_on("B")?;
    until(1)?;
    passed_on("B")?;
    until(4_102_444_800_000)?;
    stored("B")?;
    passed_on("C")
}

fn python_worker(synapse: &Synapse, extra: &str) -> Result<(Client, myelin_testkit::process::Service)> {
    let port = myelin_testkit::process::free_port()?;
    let worker = synapse.worker_config("delegated_python", port, extra)?;
    let mut command = myelin_testkit::python::synapse("synapse.app.generic_worker")?;
    command.arg("-c").arg(synapse.config()).arg("-c").arg(worker);
    let (port, service) = synapse.start_worker("delegated_python", port, command)?;
    Ok((Client::new(port), service))
}

fn refusals(client: &Client) -> Result<()> {
    let unknown = |error: &str| json!({"errcode": "M_UNKNOWN_TOKEN", "error": error, "soft_logout": false});
    let forbidden = |error: &str| json!({"errcode": "M_FORBIDDEN", "error": error});
    let unable = json!({"errcode": "M_UNKNOWN", "error": "Unable to introspect the access token"});
    for (token, status, body) in [
        ("nonsense", 401, unknown("Token is not active")),
        // A token of the database is none of the service's.
        ("plain", 401, unknown("Token is not active")),
        ("over", 401, unknown("Token is not active")),
        ("gone", 401, unknown("Token is not active")),
        ("hidden", 401, unknown("Token is not active")),
        ("scopeless", 401, unknown("Token doesn't grant access to the Matrix C-S API")),
        ("two", 500, forbidden("Multiple device IDs in scope")),
        ("nameless", 500, forbidden("Invalid username claim in the introspection result")),
        ("unknown", 500, forbidden("User not found")),
        ("endless", 500, forbidden("Invalid device ID in introspection result")),
        ("broken", 503, unable.clone()),
        ("no+json", 503, unable.clone()),
        ("wrong", 503, unable),
    ] {
        let answer = client.with_token(token).get(WHOAMI)?;
        expect(&answer, status, &body).map_err(|error| error.context(token))?;
    }
    Ok(())
}
