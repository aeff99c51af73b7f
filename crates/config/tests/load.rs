//! Whole configurations: what is accepted, and what is refused with file, key and reason.

use std::path::PathBuf;

use myelin_config::{Bind, Config, ConfigError, InstanceLocation, load};

const HOMESERVER: &str = "
server_name: lab.test
report_stats: no
redis: {enabled: 'true', port: 6380}
database: {name: psycopg2, args: {user: synapse, host: /run/pg, password: 0123, cp_max: 7, sslmode: disable}}
instance_map: {main: {host: localhost, port: 9093}}
";
const WORKER: &str = "
worker_app: synapse.app.synchrotron
worker_name: w1
worker_listeners:
  - {type: http, port: 8083, resources: [{names: [client]}]}
  - {type: http, path: /run/w1.sock, mode: 0660, resources: [{names: [federation]}]}
  - {type: manhole, port: 9000}
myelin: {fallback: 'http://127.0.0.1:8008'}
";

fn load_texts(texts: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |(index, text): (usize, &&str)| -> PathBuf {
        let path = folder.path().join(format!("{index}.yaml"));
        std::fs::write(&path, text).expect("a file");
        path
    };
    let paths: Vec<_> = texts.iter().enumerate().map(write).collect();
    load(&paths)
}

#[test]
fn a_usual_worker() {
    let config = load_texts(&[HOMESERVER, WORKER]).unwrap();
    assert_eq!((config.server.server_name.as_str(), config.worker.name.as_str()), ("lab.test", "w1"));
    assert_eq!(config.redis.port, 6380);
    assert_eq!(config.databases[0].cp_max, 7);
    assert_eq!(config.databases[0].args.other["sslmode"], "disable");
    assert!(matches!(config.worker.instance_map["master"], InstanceLocation::Tcp { port: 9093, .. }));
    assert_eq!(config.worker.listeners.len(), 2);
    assert!(matches!(config.worker.listeners[1].bind, Bind::Unix { mode: 0o660, .. }));
    assert!(config.worker.listeners[1].x_forwarded && !config.worker.listeners[0].x_forwarded);
    assert!(matches!(config.worker.fallback, Some(InstanceLocation::Tcp { port: 8008, tls: false, .. })));
    assert!(config.warnings.iter().any(|warning| warning.contains("manhole")));
}

#[test]
fn a_later_file_replaces_a_key_whole() {
    let config = load_texts(&[HOMESERVER, WORKER, "redis: {enabled: true}"]).unwrap();
    assert_eq!(config.redis.port, 6379);
}

#[test]
fn refusals_name_file_key_and_reason() {
    for (extra, expected) in [
        (
            "stream_writers: {typing: w1}\ninstance_map: {main: {path: /x}, w1: {path: /y}}",
            "3.yaml: stream_writers.typing: w1",
        ),
        ("stream_writers: {typing: w9}", "3.yaml: stream_writers.typing: w9 is not in instance_map"),
        ("stream_writers: {nonsense: w9}", "stream_writers.nonsense"),
        ("instance_map: {w2: {host: x, port: 1}}", "instance_map: main is missing"),
        ("federation_sender_instances: [w1]", "federation_sender_instances: w1"),
        ("run_background_tasks_on: w1", "run_background_tasks_on: w1"),
        ("redis: {enabled: false}", "redis.enabled: workers need Redis"),
        ("database: {name: sqlite3}", "database.name"),
        ("redis: {enabled: true, ca_file: /nonexistent}", "3.yaml: redis.ca_file: cannot read /nonexistent"),
        ("worker_log_config: /nonexistent", "3.yaml: worker_log_config: cannot read /nonexistent"),
        ("app_service_config_files: [/nonexistent]", "3.yaml: app_service_config_files: cannot read /nonexistent"),
        ("worker_app: synapse.app.homeserver", "worker_app"),
        ("server_name: 'lab.test/x'", "3.yaml: server_name: lab.test/x is not a host name"),
        ("soft_file_limit: -1", "soft_file_limit: must not be negative"),
        ("worker_listeners: [{type: http, path: /x, mode: '660'}]", "worker_listeners[0].mode"),
        ("worker_listeners: [{type: http, port: '8083'}]", "worker_listeners[0].port: must be a port number"),
        (
            "worker_listeners: [{type: http, port: 8083, resources: [{names: client}]}]",
            "resources[0].names: must be a list",
        ),
        ("worker_name: main", "3.yaml: worker_name: main is the main process"),
        ("myelin: {fallbck: 'http://x'}", "3.yaml: myelin.fallbck: is not known"),
        ("worker_replication_http_port: 1", "worker_replication_http_port"),
        ("presence: {sync_online_timeout: soon}", "presence.sync_online_timeout"),
        ("a: [", "3.yaml"),
    ] {
        let error = load_texts(&[HOMESERVER, WORKER, "", extra]).unwrap_err().to_string();
        assert!(error.contains(expected), "{extra}: {error}");
    }
}
