//! What servers answer at `.well-known`, and for how long it counts.

use std::sync::Arc;

use myelin_config::IpRange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::connector::{Versions, connector, tls};

/// Answers each path as the table says, and counts the requests.
async fn serve(answers: Vec<(&'static str, String)>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().push(path.clone());
            let found = answers.iter().find(|(known, _)| *known == path);
            let answer = found.map_or("HTTP/1.1 404 Not Found\r\n\r\n", |(_, answer)| answer);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn resolver(blocked: Vec<IpRange>) -> WellKnownResolver {
    let client =
        Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector(tls(false), Versions::Http1, None));
    WellKnownResolver::new(client, Proxies::new([None; 3], tls(false)), blocked, "test".to_owned())
}

#[tokio::test]
async fn answers_and_bounds() {
    let good = r#"{"m.server": "there.test:443", "more": 1}"#;
    let large = format!("{{\"m.server\": \"large.test\", \"x\": \"{}\"}}", "x".repeat(MAX_SIZE));
    let (port, _) = serve(vec![
        ("/good", ok(good)),
        ("/empty", ok(r#"{"m.server": ""}"#)),
        ("/odd", ok(r#"{"m.server": 1}"#)),
        ("/letters", ok(r#"{"m.server": "é.test"}"#)),
        ("/list", ok("[]")),
        ("/large", ok(&large)),
        ("/down", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()),
        ("/once", redirect("/good")),
        ("/in/folder", redirect("../good")),
        ("/round", redirect("/round")),
        ("/file", redirect("file:///etc/passwd")),
        ("/nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()),
    ])
    .await;
    let resolver = resolver(Vec::new());
    let expected = Some("there.test:443".to_owned());
    for (path, expected) in [
        ("good", expected.clone()),
        ("once", expected),
        ("empty", None),
        ("odd", None),
        ("letters", None),
        ("list", None),
        ("large", None),
        ("down", None),
        ("missing", None),
        ("round", None),
        ("file", None),
        ("nowhere", None),
    ] {
        assert_eq!(resolver.get_at(path, &format!("http://127.0.0.1:{port}/{path}")).await, expected, "{path}");
    }
}

#[tokio::test]
async fn remembered() {
    let (port, asked) = serve(vec![
        ("/good", ok(r#"{"m.server": "there.test"}"#)),
        ("/down", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()),
    ])
    .await;
    let resolver = resolver(Vec::new());
    let uri = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    let asked = || asked.lock().unwrap().len();
    for _ in 0..3 {
        assert_eq!(resolver.get_at("a.test", &uri("good")).await.as_deref(), Some("there.test"));
        assert_eq!(resolver.get_at("b.test", &uri("missing")).await, None);
    }
    assert_eq!(asked(), 2, "what is known is not asked again");
    // In its last fifth it is asked for again; that it is down then does not matter yet.
    let end = |left: u64| Instant::now() + Duration::from_secs(left);
    let set = |left: u64| {
        let entry = (Some("there.test".to_owned()), end(left), Duration::from_secs(100));
        resolver.found.0.lock().unwrap().insert("a.test".to_owned(), entry);
    };
    set(21);
    assert_eq!(resolver.get_at("a.test", &uri("down")).await.as_deref(), Some("there.test"));
    assert_eq!(asked(), 2);
    set(19);
    assert_eq!(resolver.get_at("a.test", &uri("down")).await.as_deref(), Some("there.test"));
    assert_eq!(asked(), 2 + RETRY_ATTEMPTS, "it was there lately: more than one attempt");
    // What is gone for good, is.
    assert_eq!(resolver.get_at("a.test", &uri("missing")).await, None);
}

#[tokio::test]
async fn blocked_addresses() {
    let (port, asked) = serve(vec![("/good", ok(r#"{"m.server": "there.test"}"#))]).await;
    let resolver = resolver(vec![IpRange::parse("127.0.0.0/8").unwrap()]);
    assert_eq!(resolver.get_at("a.test", &format!("http://127.0.0.1:{port}/good")).await, None);
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn periods() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let period = |headers: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        cache_period(&map, now).map(|period| period.as_secs())
    };
    assert_eq!(period(&[]), None);
    assert_eq!(period(&[("cache-control", "public, Max-Age = 600")]), Some(600));
    assert_eq!(period(&[("cache-control", "max-age=1"), ("cache-control", "no-store")]), Some(0));
    assert_eq!(period(&[("cache-control", "max-age=x")]), None);
    assert_eq!(period(&[("cache-control", "max-age=-5")]), Some(0));
    assert_eq!(period(&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
    assert_eq!(period(&[("expires", "Sun, 06 Nov 1994 08:48:37 GMT")]), Some(0));
    assert_eq!(period(&[("expires", "0")]), Some(0));
}

#[test]
fn where_redirects_lead() {
    let base: Uri = "https://a.test:8/x/y?z".parse().unwrap();
    for (location, expected) in [
        ("/b", Some("https://a.test:8/b")),
        ("b?c#d", Some("https://a.test:8/x/b?c")),
        ("//c.test/d", Some("https://c.test/d")),
        ("http://c.test/d", Some("http://c.test/d")),
        ("ftp://c.test/d", None),
        ("https://", None),
    ] {
        assert_eq!(join(&base, location).map(|uri| uri.to_string()).as_deref(), expected, "{location}");
    }
}
