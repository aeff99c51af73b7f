//! Stream writers: Python workers beside the main process, each with streams of its own. What Synapse's
//! docs/workers.md calls `stream_writers`, with the paths that it says must reach each of them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::http;
use crate::nginx;
use crate::process::{Service, free_port};
use crate::proxy::Proxy;
use crate::python;

/// Names of the workers and the streams that each writes; several may write one stream.
pub type Topology<'a> = &'a [(&'a str, &'a [&'a str])];

/// Everything that can be moved away from the main process is; events, receipts and device lists have two writers.
pub const SEPARATE: Topology<'static> = &[
    ("persister1", &["events", "receipts", "device_lists"]),
    ("persister2", &["events", "to_device", "push_rules", "thread_subscriptions"]),
    ("ephemeral1", &["typing", "presence", "account_data", "receipts", "device_lists"]),
];

/// Requests that only a writer of the stream can answer.
const ROUTES: [(&str, &str); 12] = [
    ("typing", "^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/typing"),
    ("to_device", "^/_matrix/client/(r0|v3|unstable)/sendToDevice/"),
    ("account_data", "^/_matrix/client/(r0|v3|unstable)/.*/tags"),
    ("account_data", "^/_matrix/client/(r0|v3|unstable)/.*/account_data"),
    ("receipts", "^/_matrix/client/(r0|v3|unstable)/rooms/.*/receipt"),
    ("receipts", "^/_matrix/client/(r0|v3|unstable)/rooms/.*/read_markers"),
    ("presence", "^/_matrix/client/(api/v1|r0|v3|unstable)/presence/"),
    ("push_rules", "^/_matrix/client/(api/v1|r0|v3|unstable)/pushrules/"),
    ("device_lists", "^/_matrix/client/(r0|v3)/delete_devices$"),
    ("device_lists", "^/_matrix/client/(api/v1|r0|v3|unstable)/devices(/|$)"),
    ("device_lists", "^/_matrix/client/(r0|v3|unstable)/keys/(upload|device_signing/upload$|signatures/upload$)"),
    ("thread_subscriptions", "^/_matrix/client/unstable/io.element.msc4306/.*"),
];

/// One writer: its ports are fixed before it starts, as the shared configuration names them.
pub struct Writer {
    pub name: String,
    pub port: u16,
    replication: u16,
    streams: Vec<String>,
}

/// Gives each worker of the topology its ports.
pub fn plan(topology: Topology<'_>) -> Result<Vec<Writer>> {
    let writer = |(name, streams): &(&str, &[&str])| {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        Ok(Writer { name: (*name).to_owned(), port: free_port()?, replication: free_port()?, streams })
    };
    topology.iter().map(writer).collect()
}

/// The part of homeserver.yaml that says who is where, and who writes what.
pub fn shared_yaml(main_replication: u16, writers: &[Writer]) -> String {
    let mut yaml = format!("instance_map:\n  main: {{host: 127.0.0.1, port: {main_replication}}}\n");
    // Writing to a String cannot fail.
    for Writer { name, replication, .. } in writers {
        let _ = writeln!(yaml, "  {name}: {{host: 127.0.0.1, port: {replication}}}");
    }
    if !writers.is_empty() {
        yaml.push_str("stream_writers:\n");
    }
    for stream in streams(writers) {
        let names: Vec<&str> = of(writers, stream).map(|writer| writer.name.as_str()).collect();
        let _ = writeln!(yaml, "  {stream}: [{}]", names.join(", "));
    }
    yaml
}

fn streams(writers: &[Writer]) -> Vec<&str> {
    let mut streams: Vec<&str> = writers.iter().flat_map(|writer| &writer.streams).map(String::as_str).collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}

fn of<'a>(writers: &'a [Writer], stream: &'a str) -> impl Iterator<Item = &'a Writer> {
    writers.iter().filter(move |writer| writer.streams.iter().any(|own| own == stream))
}

impl Writer {
    /// The Python worker; it is healthy once it follows.
    pub fn start(&self, folder: &Path, shared: &Path) -> Result<Service> {
        let path = folder.join(format!("{}.yaml", self.name));
        let listener = |port: u16, resources: &str| {
            format!(
                "  - {{type: http, port: {port}, bind_addresses: ['127.0.0.1'], x_forwarded: true, resources: [{{names: [{resources}]}}]}}\n"
            )
        };
        let (public, replication) = (listener(self.port, "client"), listener(self.replication, "replication"));
        let head = format!("worker_app: synapse.app.generic_worker\nworker_name: {}\nworker_listeners:\n", self.name);
        std::fs::write(&path, head + &public + &replication)?;
        let mut command = python::synapse("synapse.app.generic_worker")?;
        command.arg("-c").arg(shared).arg("-c").arg(&path);
        let mut service = Service::start(&self.name, folder, command)?;
        service.wait_until(Duration::from_mins(1), || http::is_healthy(self.port))?;
        Ok(service)
    }
}

/// nginx before the main process: it hands each request to a writer of what the request changes, in turn.
pub fn front(folder: &Path, main: u16, writers: &[Writer]) -> Result<Proxy> {
    let upstreams = streams(writers).into_iter().map(|stream| (stream, of(writers, stream).map(|w| w.port).collect()));
    let upstreams: Vec<(&str, Vec<u16>)> = upstreams.chain([("main", vec![main])]).collect();
    let known = |(stream, _): &&(&str, &str)| upstreams.iter().any(|(name, _)| name == stream);
    let locations: Vec<(&str, &str)> = ROUTES.iter().filter(known).map(|(stream, path)| (*path, *stream)).collect();
    nginx::in_front(folder, "front", &upstreams, &locations, "main")
}
