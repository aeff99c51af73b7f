//! haproxy in front of workers, as operators run it: health checks, and what one server does not take the next one gets.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::process::free_port;
use crate::proxy::Proxy;

/// Timeouts are longer than any long-poll. Requests that may be repeated are, when a connection ends without an answer.
const CONFIGURATION: &str = "global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 1m
  option forwardfor
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
backend workers
  balance roundrobin
  http-request disable-l7-retry unless METH_GET
  option httpchk GET /health
  http-check expect status 200
  default-server check inter 1s fall 2 rise 1
";

/// Answers with 200 while no worker is down: then the next one may be restarted.
pub const ALL_UP: &str = "/all-up";

/// Requests go to the `workers` in turn.
pub fn in_front(folder: &Path, name: &str, workers: &[u16]) -> Result<Proxy> {
    let port = free_port()?;
    let mut configuration = CONFIGURATION.to_owned();
    for worker in workers {
        // Writing to a String cannot fail.
        let _ = writeln!(configuration, "  server worker{worker} 127.0.0.1:{worker}");
    }
    let _ = write!(
        configuration,
        "frontend clients\n  bind 127.0.0.1:{port}\n  default_backend workers\n  monitor-uri {ALL_UP}\n  \
         monitor fail if {{ nbsrv(workers) lt {} }}\n",
        workers.len()
    );
    start(folder, name, port, &configuration)
}

/// What arrives at a port over TLS goes on to another without it. The certificate is that of `certificate::make`.
pub fn without_tls(folder: &Path, name: &str, from: u16, to: u16) -> Result<Proxy> {
    let pem = folder.join(format!("{name}.pem"));
    fs::write(&pem, [fs::read(folder.join("server.pem"))?, fs::read(folder.join("server.key"))?].concat())?;
    let configuration = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         listen tls\n  bind 127.0.0.1:{from} ssl crt {}\n  server plain 127.0.0.1:{to}\n",
        pem.display()
    );
    start(folder, name, from, &configuration)
}

fn start(folder: &Path, name: &str, port: u16, configuration: &str) -> Result<Proxy> {
    Proxy::start("haproxy", folder, name, &[port], configuration, |command, _, path| {
        command.arg("-db").arg("-f").arg(path);
    })
}
