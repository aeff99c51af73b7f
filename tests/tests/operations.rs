//! What an operator sees of a running worker: TLS towards the other processes, metrics for Synapse's dashboard, the
//! access log. Answers to `synapse/http/replicationagent.py`, `synapse/metrics/` and `synapse/http/site.py`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use myelin_testkit::certificate;
use myelin_testkit::http::{self, Client};
use myelin_testkit::nginx;
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::synapse::Synapse;
use myelin_tests::{Case, client_and_metrics, command, eventually, start_on};

const CASES: [Case; 2] = [
    ("TLS towards the other processes", tls_towards_the_others),
    ("what the dashboard asks for", what_the_dashboard_asks_for),
];

const BLOCK: &str = "block_name=\"SyncRestServlet\"";
const SERVLET: &str = "servlet=\"SyncRestServlet\"";
const PROCESS: &str = "name=\"process-replication-data\"";

/// Name, labels, and whether it must have counted something after a sync.
const METRICS: [(&str, &str, bool); 39] = [
    ("synapse_util_metrics_block_count_total", BLOCK, true),
    ("synapse_util_metrics_block_time_seconds_total", BLOCK, true),
    ("synapse_util_metrics_block_ru_utime_seconds_total", BLOCK, true),
    ("synapse_util_metrics_block_ru_stime_seconds_total", BLOCK, false),
    ("synapse_util_metrics_block_db_txn_count_total", BLOCK, true),
    ("synapse_util_metrics_block_db_txn_duration_seconds_total", BLOCK, true),
    ("synapse_util_metrics_block_db_sched_duration_seconds_total", BLOCK, true),
    ("synapse_http_server_response_ru_utime_seconds_total", SERVLET, true),
    ("synapse_http_server_response_db_txn_count_total", SERVLET, true),
    ("synapse_http_server_in_flight_requests_db_txn_duration_seconds_total", SERVLET, true),
    ("synapse_storage_query_time_count", "verb=\"SELECT\"", true),
    ("synapse_storage_query_time_bucket", "verb=\"SELECT\"", false),
    ("synapse_storage_transaction_time_count_total", "desc=\"get_user_by_access_token\"", true),
    ("synapse_storage_transaction_time_sum_total", "desc=\"get_user_by_access_token\"", true),
    ("synapse_util_caches_response_cache", "name=\"sync\"", true),
    ("synapse_util_caches_response_cache_hits", "name=\"sync\"", false),
    ("synapse_util_caches_response_cache_size", "name=\"sync\"", false),
    ("synapse_background_process_start_count_total", PROCESS, true),
    ("synapse_background_process_in_flight_count", PROCESS, false),
    ("synapse_background_process_ru_utime_seconds_total", PROCESS, true),
    ("synapse_background_process_ru_stime_seconds_total", PROCESS, false),
    ("synapse_background_process_db_txn_count_total", PROCESS, false),
    ("synapse_background_process_db_txn_duration_seconds_total", PROCESS, false),
    ("synapse_background_process_db_sched_duration_seconds_total", PROCESS, false),
    ("synapse_replication_tcp_command_queue", "stream_name=\"events\"", false),
    (
        "synapse_http_server_response_count_total",
        "method=\"GET\" servlet=\"SyncRestServlet\" tag=\"sync_v2:initial_sync\"",
        true,
    ),
    (
        "synapse_http_server_response_time_seconds_count",
        "code=\"200\" method=\"GET\" servlet=\"SyncRestServlet\"",
        true,
    ),
    ("synapse_util_caches_cache", "name=\"get_rooms_for_user\"", true),
    ("synapse_util_caches_cache_hits", "name=\"*getEvent*\"", false),
    ("synapse_storage_schedule_time_count", "", true),
    ("synapse_replication_tcp_protocol_inbound_commands_total", "command=\"POSITION\" name=\"redis\"", true),
    ("synapse_replication_tcp_protocol_outbound_commands_total", "command=\"REPLICATE\" name=\"redis\"", true),
    ("synapse_replication_tcp_protocol_inbound_rdata_count_total", "stream_name=\"events\"", false),
    ("myelin_replication_lag_seconds", "stream_name=\"events\"", false),
    ("synapse_storage_stream_current_position", "stream_name=\"events\"", true),
    ("synapse_notifier_listeners", "", false),
    ("synapse_build_info", "osversion=\"linux\" version=\"1.163.2\"", true),
    ("process_cpu_user_seconds_total", "", true),
    ("process_resident_memory_bytes", "", true),
];

#[test]
fn operations() -> Result<()> {
    myelin_tests::run("", &CASES)
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
    let nginx =
        nginx::without_tls(folder.path(), "tls", &[(replication, replication_port(synapse)?), (main, synapse.port)])?;
    let token = synapse.register("encrypted")?.token;
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

    let pushers = client.get("/_matrix/client/v3/pushers")?;
    ensure!((pushers.status, pushers.header("x-myelin")) == (200, Some("fallback")), "{pushers:?}");
    ensure!(client.get("/_matrix/client/v3/sync?set_presence=unavailable&timeout=0")?.status == 200);
    let status = "/_matrix/client/v3/presence/@encrypted:myelin.test/status";
    let presence = || Client::new(synapse.port).with_token(&token).get(status)?.json();
    eventually("the writer of presence was not told", || Ok(presence()?["presence"] == "unavailable"))?;
    let seen = std::fs::read_to_string(folder.path().join("tls.d/access.log"))?;
    ensure!(seen.contains("POST /_synapse/replication/presence_set_state/%40encrypted%3Amyelin.test "), "{seen}");

    // Who does not know the authority talks to nobody, and says why.
    let (port, service) = start_on(synapse, "distrusting", free_port()?, &extra)?;
    let client = Client::new(port).with_token(&token);
    ensure!(client.get("/_matrix/client/v3/pushers")?.status == 502);
    ensure!(service.log().contains("certificate"), "{}", service.log());
    drop(nginx);
    Ok(())
}

fn what_the_dashboard_asks_for(synapse: &Synapse) -> Result<()> {
    let token = synapse.register("measured")?.token;
    let port = free_port()?;
    let (_, service) = start_on(synapse, "measuring", port, &client_and_metrics(port))?;
    let client = Client::new(port).with_token(&token);
    let first = client.get("/_matrix/client/v3/sync")?;
    ensure!(first.status == 200 && client.get("/_matrix/client/v3/sync")?.status == 200);
    let metrics = client.get("/_synapse/metrics")?;
    ensure!(metrics.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(metrics.body)?;
    let value = |name: &str, labels: &str| -> Option<f64> {
        let mut lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        lines.find(|line| labels.split_whitespace().all(|label| line.contains(label)))?.rsplit(' ').next()?.parse().ok()
    };
    for (name, label, counted) in METRICS {
        let found = value(name, &format!("{label} server_name=\"myelin.test\""));
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
