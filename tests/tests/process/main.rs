//! Start, serve, pass on, stop: the worker as systemd and nginx see it.

mod arbitrary;
mod startup;

use anyhow::{Context, Result};
use myelin_testkit::http::{Answer, Client};
use myelin_testkit::process::free_port;
use myelin_testkit::program::program;
use myelin_testkit::synapse::Synapse;
use myelin_tests::{Case, start};
use rustix::process::Signal;
use serde_json::json;

const CASES: [Case; 3] = [
    ("in front of a real Synapse", in_front_of_a_real_synapse),
    ("an unreachable fallback is a 502", an_unreachable_fallback_is_a_502),
    ("unknown and unserved are told apart", without_a_fallback_unknown_and_unserved_are_told_apart),
];

#[test]
fn with_a_real_synapse() -> Result<()> {
    myelin_tests::run("", &[&CASES[..], &startup::CASES, &arbitrary::CASES].concat())
}

fn same(a: &Answer, b: &Answer) {
    assert_eq!(a.status, b.status);
    for header in ["content-type", "cache-control", "access-control-allow-origin", "server"] {
        assert_eq!(a.header(header), b.header(header), "{header}");
    }
    // The order of keys means nothing.
    match (a.json(), b.json()) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        _ => assert_eq!(a.body, b.body),
    }
}

fn in_front_of_a_real_synapse(synapse: &Synapse) -> Result<()> {
    let (port, mut service) = synapse.start_myelin(&program()?, "myelin1")?;
    let (myelin, main) = (Client::new(port), Client::new(synapse.port));

    // Health and preflight are Myelin's own; they look like Synapse's.
    let health = myelin.get("/health")?;
    same(&health, &main.get("/health")?);
    assert!(health.is_native());
    let preflight = myelin.send("OPTIONS", "/_matrix/client/v3/sync", None)?;
    same(&preflight, &main.send("OPTIONS", "/_matrix/client/v3/sync", None)?);
    assert_eq!(preflight.status, 204);

    // Everything else is passed on, with bodies and odd paths intact.
    let body = json!({"username": "al=ice", "password": "pw-for-tests", "auth": {"type": "m.login.dummy"}});
    let registered = myelin.send("POST", "/_matrix/client/v3/register", Some(&body))?;
    assert_eq!((registered.status, registered.header("x-myelin")), (200, Some("fallback")));
    let token = registered.json()?["access_token"].as_str().context("no token")?.to_owned();
    let (myelin, main) = (myelin.with_token(&token), main.with_token(&token));
    for path in [
        "/_matrix/client/v3/account/whoami",
        "/_matrix/client/v3/rooms/%21a%2Fb%3Amyelin.test/initialSync?x=%2F%3F",
        "/_matrix/client/v3/no/such/path",
        "/_matrix/client/v3/rooms/%21a%2Fb/state/m.room.name/",
    ] {
        same(&myelin.get(path)?, &main.get(path)?);
    }

    assert_eq!(service.end()?, Some(0));
    assert!(!service.log().contains(&token), "a token reached the log");
    Ok(())
}

fn an_unreachable_fallback_is_a_502(synapse: &Synapse) -> Result<()> {
    let dead = free_port()?;
    let (port, service) = start(synapse, "lonely", &format!("myelin: {{fallback: 'http://127.0.0.1:{dead}'}}\n"))?;
    let answer = Client::new(port).get("/_matrix/client/v3/login/sso/redirect")?;
    assert_eq!((answer.status, answer.json()?["errcode"].as_str()), (502, Some("M_UNKNOWN")));
    drop(service);
    Ok(())
}

fn without_a_fallback_unknown_and_unserved_are_told_apart(synapse: &Synapse) -> Result<()> {
    let (port, service) = start(synapse, "alone", "")?;
    let client = Client::new(port);
    for (method, path, status) in [
        ("GET", "/_matrix/client/v3/login/sso/redirect", 404),
        ("GET", "/_matrix/client/v9/sync", 404),
        ("PUT", "/_matrix/client/v3/sync", 405),
    ] {
        let answer = client.send(method, path, None)?;
        assert_eq!((answer.status, answer.json()?["errcode"].as_str()), (status, Some("M_UNRECOGNIZED")), "{path}");
    }
    let page = client.get("/foo")?;
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    service.signal(Signal::HUP)?;
    assert_eq!(client.get("/health")?.status, 200);
    Ok(())
}
