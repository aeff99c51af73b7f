//! Requests to other homeservers where other processes make them, and to addresses where none may be.

use bytes::Bytes;
use http::{HeaderMap, Method};
use myelin_config::Config;
use myelin_replication::federation::{Agent, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn config(extra: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("homeserver.yaml");
    let text = format!(
        "server_name: lab.test\nredis: {{enabled: true}}\ndatabase: {{name: psycopg2, args: {{user: x}}}}\n\
         worker_app: synapse.app.generic_worker\nworker_name: w1\n{extra}"
    );
    std::fs::write(&path, text).expect("a file");
    myelin_config::load(&[path]).expect("a worker")
}

fn keys_of(destination: &str) -> Outgoing<'_> {
    let path = "/_matrix/key/v2/server?x=%20";
    Outgoing { method: Method::GET, destination, path, headers: HeaderMap::new(), body: Bytes::new() }
}

#[tokio::test]
async fn through_another_process() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = config(&format!(
        "instance_map: {{main: {{host: localhost, port: 1}}, sender: {{host: 127.0.0.1, port: {port}}}}}\n\
         outbound_federation_restricted_to: [sender]\nworker_replication_secret: between-us\n"
    ));
    let agent = Agent::new(&config).unwrap();
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    };
    let (head, answered) = tokio::join!(answer, agent.request(keys_of("far.test:81")));
    assert_eq!(answered.unwrap().status(), 418);
    assert!(head.starts_with("get matrix-federation://far.test:81/_matrix/key/v2/server?x=%20 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nproxy-authorization: bearer between-us\r\n"), "{head}");
    assert!(head.contains("\r\nhost: far.test:81\r\n"), "{head}");
    // What is an address may not be one of ours, whoever makes the request.
    assert_eq!(agent.request(keys_of("10.0.0.1")).await.unwrap_err(), "IP address blocked");
}

#[tokio::test]
async fn blocked_addresses() {
    let main = "instance_map: {main: {host: localhost, port: 1}}\n";
    let agent = Agent::new(&config(&format!("{main}ip_range_whitelist: ['127.0.0.1']\n"))).unwrap();
    for literal in ["127.0.0.1:8448", "10.0.0.1", "[::1]:1", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let error = agent.request(keys_of(literal)).await.unwrap_err();
        assert_eq!(error, "IP address blocked", "{literal}");
    }
    let agent = Agent::new(&config(main)).unwrap();
    let error = agent.request(keys_of("localhost:1")).await.unwrap_err();
    assert!(error.contains("of localhost is blocked"), "{error}");
}
