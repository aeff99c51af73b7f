//! What is answered here, what is passed on, and that what is passed on arrives untouched.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use myelin_handlers::Handlers;
use myelin_model::InitialPositions;
use myelin_replication::Client;
use myelin_rest::{App, router};
use myelin_storage::Storage;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A worker with these lines added to its yaml.
fn worker(lines: &str) -> Router {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.yaml");
    let common = "server_name: test.example\nreport_stats: false\npublic_baseurl: https://test.example\n\
                  worker_app: synapse.app.generic_worker\nworker_name: w1\nredis: {enabled: true}\n\
                  database: {name: psycopg2, args: {dbname: x}}\nmax_upload_size: 1K\n\
                  instance_map: {main: {host: localhost, port: 9093}}\n\
                  worker_listeners: [{type: http, port: 8008, resources: [{names: [client, federation]}]}]\n";
    std::fs::write(&file, format!("{common}{lines}")).unwrap();
    let config = Arc::new(myelin_config::load(&[file]).unwrap());
    let (_, live) = myelin_live::new(InitialPositions::default());
    // Nobody answers there; what is sent is dropped.
    let (_, commands) = myelin_replication::connect(&config, CancellationToken::new()).unwrap();
    let http = Client::new(&config);
    let handlers = Handlers::new(Arc::clone(&config), Storage::open(&config).unwrap(), live, http, commands);
    router(Arc::new(App::new(&config, Arc::new(handlers)).unwrap()), &config.worker.listeners[0])
}

/// A server that runs `answer` for every request, and its address.
async fn upstream<F>(answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> String
where
    F: Future<Output = Response> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("myelin: {{fallback: 'http://{address}'}}\n")
}

/// Sends back what it got: request line, headers, body.
async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{} {}\n{:?}\n{}", head.method, head.uri, head.headers, String::from_utf8_lossy(&body));
    Response::builder()
        .status(418)
        .header("server", "Synapse/fallback")
        .header("x-custom", "1")
        .header("x-custom", "2")
        .body(text.into())
        .unwrap()
}

async fn send(worker: &Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (head, body) = worker.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, uri: &str) -> Request {
    Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn what_is_not_native_is_passed_on_untouched() {
    let worker = worker(&upstream(echo).await);
    let request = Request::builder()
        .method("PUT")
        .uri("/_matrix/client/v3/rooms/%21a%2Fb/send/m.x/1?access_token=t&x=%20;")
        .header("host", "matrix.example")
        .header("x-forwarded-for", "192.0.2.1, 10.0.0.1")
        .header("connection", "x-hop")
        .header("x-hop", "drop me")
        .body(Body::from("{\"a\": 1}"))
        .unwrap();
    let (status, headers, body) = send(&worker, request).await;
    assert_eq!(status, 418);
    assert!(body.starts_with("PUT /_matrix/client/v3/rooms/%21a%2Fb/send/m.x/1?access_token=t&x=%20;\n"), "{body}");
    assert!(body.ends_with("\n{\"a\": 1}"), "{body}");
    assert!(body.contains("\"x-forwarded-for\": \"192.0.2.1, 10.0.0.1\""), "{body}");
    assert!(body.contains("\"host\": \"matrix.example\"") && !body.contains("drop me"), "{body}");
    assert_eq!(headers["x-myelin"], "fallback");
    assert_eq!(headers["server"], "Synapse/fallback");
    assert_eq!(headers.get_all("x-custom").iter().count(), 2);
}

/// What other servers write is not for a worker like this one: their signatures must still hold where it arrives.
#[tokio::test]
async fn writes_of_other_servers_are_passed_on_byte_for_byte() {
    let worker = worker(&upstream(echo).await);
    let signature = "X-Matrix origin=\"a.b\" ,  key=ed25519:1,sig=\"x/+=\",destination=\"test.example\"";
    let body = "{ \"b\":1.0e3 ,\n \"b\": \"\u{e4}\\u00e4\", \"a\":[ ] }\r\n";
    for (method, path) in [
        ("PUT", "v1/send/%2Ftxn;1/"),
        ("GET", "v1/make_join/%21a%3Ab/@x:y?ver=10;ver=%31&flag"),
        ("GET", "v1/make_leave/!a:b/%40x%3Ay"),
        ("GET", "v1/make_knock/!a:b/%40x%3Ay?ver=7"),
        ("PUT", "v1/send_join/%21a%3ab/%24e"),
        ("PUT", "v2/send_join/!a:b/$e?omit_members=true"),
        ("PUT", "v1/send_leave/!a:b/$e"),
        ("PUT", "v2/send_leave/!a:b/$e"),
        ("PUT", "v1/send_knock/!a:b/$e"),
        ("PUT", "v1/invite/!a:b/$e"),
        ("PUT", "v2/invite/!a:b/$e"),
        ("PUT", "v1/exchange_third_party_invite/!a:b"),
        ("POST", "v1/3pid/onbind"),
        ("POST", "unstable/user/keys/claim"),
        ("GET", "v1/media/download/%61?timeout_ms=1"),
    ] {
        let path = format!("/_matrix/federation/{path}");
        let body = if method == "GET" { "" } else { body };
        let request = Request::builder().method(method).uri(&path).header("authorization", signature);
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let (status, headers, answer) = send(&worker, request).await;
        assert_eq!((status.as_u16(), &headers["x-myelin"]), (418, &"fallback".parse().unwrap()), "{path}");
        assert!(answer.starts_with(&format!("{method} {path}\n")), "{answer}");
        assert!(answer.contains(&format!("\"authorization\": {signature:?}")), "{answer}");
        assert!(answer.ends_with(&format!("}}\n{body}")), "{answer}");
    }
}

#[tokio::test]
async fn both_directions_are_streamed() {
    let worker = worker(
        &upstream(|request| async {
            // Each chunk goes back as it comes.
            Response::new(Body::from_stream(request.into_body().into_data_stream()))
        })
        .await,
    );
    let (to, from) = tokio::sync::mpsc::channel::<Bytes>(1);
    let chunks = futures_util::stream::unfold(from, |mut from| async {
        from.recv().await.map(|chunk| (Ok::<_, std::io::Error>(http_body::Frame::data(chunk)), from))
    });
    let request = Request::builder().method("POST").uri("/_matrix/client/v3/createRoom");
    let request = request.body(Body::new(StreamBody::new(Box::pin(chunks)))).unwrap();
    to.send(Bytes::from_static(b"one")).await.unwrap();
    let response = tokio::time::timeout(Duration::from_secs(10), worker.oneshot(request)).await.unwrap().unwrap();
    let mut answer = response.into_body().into_data_stream();
    assert_eq!(answer.next().await.unwrap().unwrap(), "one");
    to.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "two");
    drop(to);
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn a_missing_fallback_is_a_502_and_a_loop_ends() {
    let dead = worker("myelin: {fallback: 'unix:/nonexistent/socket'}\n");
    let (status, _, body) = send(&dead, request("GET", "/_matrix/federation/v1/make_join/r/u")).await;
    assert_eq!((status.as_u16(), body.contains("\"errcode\":\"M_UNKNOWN\"")), (502, true), "{body}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let looping = worker(&format!("myelin: {{fallback: 'http://{}'}}\n", listener.local_addr().unwrap()));
    let served = looping.clone();
    tokio::spawn(async move { axum::serve(listener, served).await });
    let (status, ..) = send(&looping, request("GET", "/_matrix/federation/v1/make_join/r/u")).await;
    assert_eq!(status, 502);
}

#[tokio::test]
async fn some_requests_are_never_passed_on() {
    let worker = worker(&upstream(echo).await);
    for (method, uri, status) in [
        ("GET", "/health", 200),
        ("OPTIONS", "/_matrix/client/v3/rooms/x/send/y", 204),
        ("GET", "/.well-known/matrix/client", 200),
        ("POST", "/_synapse/replication/send_events/x", 404),
    ] {
        let (found, headers, _) = send(&worker, request(method, uri)).await;
        assert_eq!(found, status, "{method} {uri}");
        assert_eq!(headers["x-myelin"], "native", "{method} {uri}");
        assert_eq!(headers["server"], "Synapse/1.163.2", "{method} {uri}");
    }
}

#[tokio::test]
async fn what_a_module_may_change_is_passed_on() {
    let upstream = upstream(echo).await;
    let plain = worker(&upstream);
    let with_modules = worker(&format!("{upstream}modules: [{{module: some.Module, config: {{}}}}]\n"));
    for (uri, modular) in [
        ("/_matrix/client/v3/sync", true),
        ("/_matrix/client/v3/rooms/!r/members", true),
        ("/_matrix/client/v3/rooms/!r/event/$e", true),
        ("/.well-known/matrix/client", false),
        ("/health", false),
    ] {
        let (_, headers, _) = send(&plain, request("GET", uri)).await;
        assert_eq!(headers["x-myelin"], "native", "{uri}");
        let (_, headers, _) = send(&with_modules, request("GET", uri)).await;
        assert_eq!(headers["x-myelin"], if modular { "fallback" } else { "native" }, "{uri} with modules");
    }
}

#[tokio::test]
async fn without_a_fallback_synapses_own_refusals() {
    let worker = worker("");
    let unrecognized = "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"Unrecognized request\"}";
    for (method, uri, status, expected) in [
        ("GET", "/_matrix/client/v9/sync", 404, unrecognized),
        ("PUT", "/_matrix/client/v3/sync", 405, unrecognized),
        ("GET", "/_matrix/federation/v1/make_join/r/u", 404, unrecognized),
        ("BREW", "/_matrix/client/v3/sync", 405, unrecognized),
        ("GET", "/.well-known/matrix/server", 404, "404. Is anything ever truly *well* known?\n"),
        ("GET", "/.well-known/matrix/client", 200, "{\"m.homeserver\":{\"base_url\":\"https://test.example/\"}}"),
    ] {
        let (found, _, body) = send(&worker, request(method, uri)).await;
        assert_eq!((found.as_u16(), body.as_str()), (status, expected), "{method} {uri}");
    }
    let (status, headers, body) = send(&worker, request("GET", "/")).await;
    assert_eq!((status.as_u16(), body.len()), (404, 167));
    assert!(!headers.contains_key("access-control-allow-origin"));
    let (_, headers, _) = send(&worker, request("GET", "/_matrix/x")).await;
    assert_eq!(headers["access-control-allow-headers"], "X-Requested-With, Content-Type, Authorization, Date");
    assert_eq!(headers["cache-control"], "no-cache, no-store, must-revalidate");
    assert_eq!(headers["content-type"], "application/json");
}
