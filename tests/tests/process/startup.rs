//! What stops the start, with a message that names the reason; and what an operator's system sees of a good one.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::http::{self, Client};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::synapse::{SERVER_NAME, Synapse};
use myelin_tests::{Case, command, eventually, refusal, start};
use rustix::process::Signal;

pub const CASES: [Case; 7] = [
    ("configurations that are refused", refused_configurations),
    ("a schema of another version", another_schema),
    ("a database of another server", another_server),
    ("a role that lacks a right", a_missing_right),
    ("no database", no_database),
    ("the log configuration, read again", log_configuration),
    ("systemd, the pid file and a unix socket", systemd_pid_file_and_unix_socket),
];

/// Each message names the file, the key and the reason.
fn refused_configurations(synapse: &Synapse) -> Result<()> {
    for (extra, key, reason) in [
        ("worker_name: [1]", "worker_name", "must be a string"),
        ("instance_map: {}", "instance_map", "main is missing"),
        ("worker_app: synapse.app.homeserver", "worker_app", "this is the main process's configuration"),
        ("worker_app: synapse.app.nonsense", "worker_app", "is not a worker that Synapse knows"),
        ("run_background_tasks_on: refused", "run_background_tasks_on", "background tasks"),
        ("federation_sender_instances: [refused]", "federation_sender_instances", "federation traffic"),
        ("pusher_instances: [refused]", "pusher_instances", "push notifications"),
        ("stream_writers: {typing: refused}", "stream_writers.typing", "Myelin only reads"),
        ("stream_writers: {events: elsewhere}", "stream_writers.events", "elsewhere is not in instance_map"),
        ("database: {name: sqlite3}", "database.name", "workers need Postgres"),
        ("redis: {enabled: false}", "redis.enabled", "workers need Redis"),
        ("worker_replication_http_port: 9093", "worker_replication_http_port", "no longer supported"),
        (
            "myelin: {fallback: 'ftp://x'}",
            "myelin.fallback",
            "must be http://host:port, https://host:port or unix:/path",
        ),
    ] {
        let message = refusal(command(synapse, "refused", free_port()?, &format!("{extra}\n"))?)?;
        let place = format!("refused.yaml: {key}: ");
        ensure!(message.contains(&place) && message.contains(reason), "{extra}: {message}");
        ensure!(message.trim_end().lines().count() == 1, "more than the reason: {message}");
    }
    // What only the database's client knows is found a little later.
    let arguments = "database: {name: psycopg2, args: {nonsense: 1}}\n";
    let message = refusal(command(synapse, "refused", free_port()?, arguments)?)?;
    ensure!(message.contains("refused.yaml: database.args.nonsense: is not supported"), "{message}");
    let message = refusal(command(synapse, "broken", free_port()?, "a: [\n")?)?;
    ensure!(message.contains("broken.yaml: ") && message.contains("line"), "{message}");
    Ok(())
}

fn sql(synapse: &Synapse, text: &str) -> Result<()> {
    let script = synapse.folder.join("script.sql");
    std::fs::write(&script, text)?;
    synapse.postgres.run_script("synapse", &script, &[])
}

fn another_schema(synapse: &Synapse) -> Result<()> {
    let refused = || refusal(command(synapse, "schema", free_port()?, "")?);
    sql(synapse, "UPDATE schema_version SET version = 93;")?;
    let old = refused();
    sql(synapse, "UPDATE schema_version SET version = 99; UPDATE schema_compat_version SET compat_version = 99;")?;
    let new = refused();
    sql(synapse, "UPDATE schema_version SET version = 94; UPDATE schema_compat_version SET compat_version = 94;")?;
    let (old, new) = (old?, new?);
    ensure!(old.contains("schema version 93") && old.contains("94 is needed"), "{old}");
    ensure!(new.contains("is too new") && new.contains("99"), "{new}");
    Ok(())
}

fn another_server(synapse: &Synapse) -> Result<()> {
    synapse.register("somebody")?;
    let message = refusal(command(synapse, "other", free_port()?, "server_name: other.test\n")?)?;
    ensure!(message.contains(SERVER_NAME) && message.contains("server_name is other.test"), "{message}");
    Ok(())
}

fn a_missing_right(synapse: &Synapse) -> Result<()> {
    let role = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations-readonly/role.sql");
    synapse.postgres.run_script("synapse", Path::new(role), &[("role", "poor")])?;
    sql(
        synapse,
        "REVOKE SELECT (room_id) ON current_state_events FROM poor; REVOKE DELETE ON device_inbox FROM poor;",
    )?;
    let args = format!("user: poor, dbname: synapse, host: 127.0.0.1, port: {}", synapse.postgres.port);
    let database = format!("database: {{name: psycopg2, args: {{{args}}}}}\n");
    let message = refusal(command(synapse, "poor", free_port()?, &database)?)?;
    ensure!(message.contains("the role lacks SELECT on current_state_events.room_id"), "{message}");
    Ok(())
}

fn no_database(synapse: &Synapse) -> Result<()> {
    let dead = free_port()?;
    let args = format!("user: x, dbname: synapse, host: 127.0.0.1, port: {dead}");
    let database = format!("database: {{name: psycopg2, args: {{{args}}}}}\n");
    let message = refusal(command(synapse, "lost", free_port()?, &database)?)?;
    ensure!(message.contains("cannot connect"), "{message}");
    Ok(())
}

/// SIGHUP puts a changed file in force, and a file that was moved away is written anew.
fn log_configuration(synapse: &Synapse) -> Result<()> {
    let (config, log) = (synapse.folder.join("log.yaml"), synapse.folder.join("own.log"));
    let write = |level: &str| {
        let yaml = format!(
            "version: 1\nformatters: {{short: {{format: '%(levelname)s|%(name)s|%(request)s|%(message)s'}}}}\nhandlers:\n  \
             out: {{class: logging.handlers.RotatingFileHandler, filename: {}, formatter: short}}\n  \
             buffer: {{class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler, target: out}}\n\
             root: {{level: {level}, handlers: [buffer]}}\n",
            log.display()
        );
        std::fs::write(&config, yaml)
    };
    write("WARNING")?;
    let extra = format!("worker_log_config: {}\n", config.display());
    let (port, service) = start(synapse, "logging", &extra)?;
    let client = Client::new(port);
    client.get("/_matrix/client/v3/unknown")?;
    let lines = || std::fs::read_to_string(&log);
    ensure!(lines()?.starts_with("WARNING|synapse.app") && !lines()?.contains("Processed request"), "{}", lines()?);
    std::fs::rename(&log, synapse.folder.join("old.log"))?;
    write("INFO")?;
    service.signal(Signal::HUP)?;
    eventually("the log was not reopened", || Ok(log.exists() && lines()?.contains("log configuration read again")))?;
    client.get("/_matrix/client/v3/unknown?access_token=secret")?;
    let access = format!("INFO|synapse.access.http.{port}|GET-");
    let redacted = |line: &str| line.starts_with(&access) && line.contains("?access_token=<redacted> HTTP/1.1");
    eventually("no access line", || Ok(lines()?.lines().any(redacted)))?;
    ensure!(service.log().is_empty(), "stderr has lines, too: {}", service.log());
    Ok(())
}

fn systemd_pid_file_and_unix_socket(synapse: &Synapse) -> Result<()> {
    let (pid_file, socket) = (synapse.folder.join("myelin.pid"), synapse.folder.join("myelin.sock"));
    let manager = synapse.folder.join("notify.sock");
    let systemd = UnixDatagram::bind(&manager)?;
    systemd.set_read_timeout(Some(Duration::from_secs(20)))?;
    let told = || -> Result<String> {
        let mut buffer = [0; 1024];
        let length = systemd.recv(&mut buffer).context("systemd was told nothing")?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    };
    let port = free_port()?;
    let extra = format!(
        "worker_pid_file: {}\nworker_listeners:\n  - {{type: http, path: {}, mode: 0640, resources: [{{names: [client]}}]}}\n  \
         - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], resources: [{{names: [health]}}]}}\n",
        pid_file.display(),
        socket.display()
    );
    let mut command = command(synapse, "managed", port, &extra)?;
    command.env("NOTIFY_SOCKET", &manager);
    let mut service = Service::start("managed", &synapse.folder, command)?;
    let ready = told()?;
    let pid = std::fs::read_to_string(&pid_file)?;
    ensure!(ready == format!("READY=1\nMAINPID={pid}"), "{ready}");

    // Both kinds of listener answer as soon as systemd knows.
    ensure!(http::is_healthy(port));
    ensure!(std::fs::metadata(&socket)?.permissions().mode() & 0o777 == 0o640);
    let mut stream = UnixStream::connect(&socket)?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nOK"), "{answer}");

    service.signal(Signal::HUP)?;
    ensure!(told()?.starts_with("RELOADING=1"));
    ensure!(told()? == "READY=1");
    ensure!(service.end()? == Some(0), "{}", service.log());
    ensure!(told()? == "STOPPING=1");
    ensure!(!socket.exists() && !pid_file.exists(), "a socket or pid file was left behind");
    Ok(())
}
