//! What an operator sees of a running worker: TLS towards the other processes, metrics for Synapse's dashboard, the
//! access log. Answers to `synapse/http/replicationagent.py`, `synapse/metrics/` and `synapse/http/site.py`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use myelin_testkit::certificate;
use myelin_testkit::http::{self, Client};
use myelin_testkit::packages::{find, is_root};
use myelin_testkit::process::{Service, accepts, free_port};
use myelin_testkit::synapse::Synapse;
use myelin_tests::{Case, command, start_on};
use serde_json::json;

const CASES: [Case; 2] = [
    ("TLS towards the other processes", tls_towards_the_others),
    ("what the dashboard asks for", what_the_dashboard_asks_for),
];

#[test]
fn operations() -> Result<()> {
    myelin_tests::run("", &CASES)
}

fn register(synapse: &Synapse, name: &str) -> Result<String> {
    let body = json!({"username": name, "password": "pw-for-tests", "auth": {"type": "m.login.dummy"}});
    let answer = Client::new(synapse.port).send("POST", "/_matrix/client/v3/register", Some(&body))?;
    Ok(answer.json()?["access_token"].as_str().context("no token")?.to_owned())
}

/// nginx that takes TLS away: each port leads to the other.
fn take_tls_away(folder: &Path, ports: &[(u16, u16)]) -> Result<Service> {
    let place = folder.display();
    let user = if is_root() { "user root;" } else { "" };
    let servers: Vec<String> = ports
        .iter()
        .map(|(from, to)| {
            format!("server {{ listen 127.0.0.1:{from} ssl; location / {{ proxy_pass http://127.0.0.1:{to}; }} }}")
        })
        .collect();
    let config = format!(
        "daemon off; {user} worker_processes 1; pid {place}/pid;\nevents {{}}\nhttp {{\n  access_log {place}/access.log;\n  \
         client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;\n  \
         uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n  ssl_certificate {place}/server.pem;\n  \
         ssl_certificate_key {place}/server.key;\n  proxy_set_header Host $http_host;\n  {}\n}}\n",
        servers.join("\n  ")
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new(find("nginx").context("nginx is not installed")?);
    command.arg("-p").arg(folder).arg("-c").arg(&path).arg("-e").arg(folder.join("error.log"));
    let mut service = Service::start("tls", folder, command)?;
    service.wait_until(Duration::from_secs(10), || ports.iter().all(|(from, _)| accepts(*from)))?;
    Ok(service)
}

/// Where the main process takes HTTP replication.
fn replication_port(synapse: &Synapse) -> Result<u16> {
    let yaml = std::fs::read_to_string(synapse.config())?;
    let rest = yaml.split("  main: {host: 127.0.0.1, port: ").nth(1).context("no instance_map")?;
    Ok(rest.split('}').next().unwrap_or_default().parse()?)
}

/// The authority of the certificates is what the environment says, as for every program that uses the system's.
fn tls_towards_the_others(synapse: &Synapse) -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate::make(folder.path())?;
    let (replication, main) = (free_port()?, free_port()?);
    let nginx = take_tls_away(folder.path(), &[(replication, replication_port(synapse)?), (main, synapse.port)])?;
    let token = register(synapse, "encrypted")?;
    let extra = format!(
        "instance_map: {{main: {{host: localhost, port: {replication}, tls: true}}}}\n\
         myelin: {{fallback: 'https://localhost:{main}'}}\n"
    );
    let port = free_port()?;
    let mut trusting = command(synapse, "trusting", port, &extra)?;
    trusting.env("SSL_CERT_FILE", folder.path().join("server.pem"));
    let mut service = Service::start("trusting", &synapse.folder, trusting)?;
    service.wait_until(Duration::from_secs(20), || http::is_healthy(port))?;
    let client = Client::new(port).with_token(&token);

    let login = client.get("/_matrix/client/v3/login")?;
    ensure!((login.status, login.header("x-myelin")) == (200, Some("fallback")), "{login:?}");
    ensure!(client.get("/_matrix/client/v3/sync?set_presence=unavailable&timeout=0")?.status == 200);
    let status = "/_matrix/client/v3/presence/@encrypted:myelin.test/status";
    let presence = || Client::new(synapse.port).with_token(&token).get(status)?.json();
    let deadline = Instant::now() + Duration::from_secs(10);
    while presence()?["presence"] != "unavailable" {
        ensure!(Instant::now() < deadline, "the writer of presence was not told: {}", service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let seen = std::fs::read_to_string(folder.path().join("access.log"))?;
    ensure!(seen.contains("POST /_synapse/replication/presence_set_state/%40encrypted%3Amyelin.test "), "{seen}");

    // Who does not know the authority talks to nobody, and says why.
    let (port, service) = start_on(synapse, "distrusting", free_port()?, &extra)?;
    let client = Client::new(port).with_token(&token);
    ensure!(client.get("/_matrix/client/v3/login")?.status == 502);
    ensure!(service.log().contains("certificate"), "{}", service.log());
    drop(nginx);
    Ok(())
}

fn what_the_dashboard_asks_for(synapse: &Synapse) -> Result<()> {
    let token = register(synapse, "measured")?;
    let port = free_port()?;
    let extra = format!(
        "worker_listeners:\n  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], \
         resources: [{{names: [client, metrics]}}]}}\n"
    );
    let (_, service) = start_on(synapse, "measuring", port, &extra)?;
    let client = Client::new(port).with_token(&token);
    let first = client.get("/_matrix/client/v3/sync")?;
    ensure!(first.status == 200 && client.get("/_matrix/client/v3/sync")?.status == 200);
    let text = String::from_utf8(client.get("/_synapse/metrics")?.body)?;
    let value = |name: &str, labels: &[&str]| -> Option<f64> {
        let mut lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        lines.find(|line| labels.iter().all(|label| line.contains(label)))?.rsplit(' ').next()?.parse().ok()
    };
    let block = "block_name=\"SyncRestServlet\"";
    let (servlet, process) = ("servlet=\"SyncRestServlet\"", "name=\"process-replication-data\"");
    // Name, labels, and whether it must have counted something by now.
    for (name, label, counted) in [
        ("synapse_util_metrics_block_count_total", block, true),
        ("synapse_util_metrics_block_time_seconds_total", block, true),
        ("synapse_util_metrics_block_ru_utime_seconds_total", block, true),
        ("synapse_util_metrics_block_ru_stime_seconds_total", block, false),
        ("synapse_util_metrics_block_db_txn_count_total", block, true),
        ("synapse_util_metrics_block_db_txn_duration_seconds_total", block, true),
        ("synapse_util_metrics_block_db_sched_duration_seconds_total", block, true),
        ("synapse_http_server_response_ru_utime_seconds_total", servlet, true),
        ("synapse_http_server_response_db_txn_count_total", servlet, true),
        ("synapse_http_server_in_flight_requests_db_txn_duration_seconds_total", servlet, true),
        ("synapse_storage_query_time_count", "verb=\"SELECT\"", true),
        ("synapse_storage_query_time_bucket", "verb=\"SELECT\"", false),
        ("synapse_storage_transaction_time_count_total", "desc=\"get_user_by_access_token\"", true),
        ("synapse_storage_transaction_time_sum_total", "desc=\"get_user_by_access_token\"", true),
        ("synapse_util_caches_response_cache", "name=\"sync\"", true),
        ("synapse_util_caches_response_cache_hits", "name=\"sync\"", false),
        ("synapse_util_caches_response_cache_size", "name=\"sync\"", false),
        ("synapse_background_process_start_count_total", process, true),
        ("synapse_background_process_in_flight_count", process, false),
        ("synapse_background_process_ru_utime_seconds_total", process, true),
        ("synapse_background_process_ru_stime_seconds_total", process, false),
        ("synapse_background_process_db_txn_count_total", process, false),
        ("synapse_background_process_db_txn_duration_seconds_total", process, false),
        ("synapse_background_process_db_sched_duration_seconds_total", process, false),
        ("synapse_replication_tcp_command_queue", "stream_name=\"events\"", false),
    ] {
        let found = value(name, &[label, "server_name=\"myelin.test\""]);
        let found = found.with_context(|| format!("{name}{{{label}}} is missing"))?;
        ensure!(!counted || found > 0.0, "{name}{{{label}}} counts nothing");
    }
    // The first sync of a user asks the database, and says so.
    let log = service.log();
    let line = log.lines().find(|line| line.contains("Processed request") && line.contains("/v3/sync HTTP/1.1"));
    let line = line.with_context(|| log.clone())?;
    let statements =
        line.split("db=(").nth(1).and_then(|rest| rest.split(')').next()).and_then(|db| db.rsplit('/').next());
    ensure!(statements.is_some_and(|count| count.parse().is_ok_and(|count: u32| count > 0)), "{line}");
    Ok(())
}
