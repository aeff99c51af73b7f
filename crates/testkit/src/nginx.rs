//! nginx in front, routing as Synapse's docs/workers.md tells operators to.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packages::{find, is_root};
use crate::process::{Service, accepts, free_port};

/// Patterns of paths that a generic worker may serve, one a line; `GET ` before those for which that holds of reads alone.
const WORKER_ROUTES: &str = include_str!("worker_routes.txt");

pub struct Nginx {
    pub port: u16,
    _service: Service,
}

impl Nginx {
    /// Worker routes go to `worker`, everything else to `main`.
    pub fn start(folder: &Path, worker: u16, main: u16) -> Result<Self> {
        let upstreams = [("worker", vec![worker]), ("main", vec![main])];
        let locations = WORKER_ROUTES.lines();
        let locations =
            locations.map(|line| line.strip_prefix("GET ").map_or((line, "worker"), |path| (path, "$reader")));
        Self::in_front(folder, "nginx", &upstreams, &locations.collect::<Vec<_>>(), "main")
    }

    /// `upstreams`: names and ports, in turn if there are several. `locations`: patterns of paths and the upstream
    /// of each; the first that fits counts, `rest` is where everything else goes. `$reader` is `worker` for GET,
    /// otherwise `main`.
    pub fn in_front(
        folder: &Path,
        name: &str,
        upstreams: &[(&str, Vec<u16>)],
        locations: &[(&str, &str)],
        rest: &str,
    ) -> Result<Self> {
        let port = free_port()?;
        let own = folder.join(format!("{name}.d"));
        std::fs::create_dir(&own)?;
        let config = own.join("nginx.conf");
        std::fs::write(&config, configuration(&own, port, upstreams, locations, rest))?;
        let mut command = Command::new(find("nginx").context("nginx is not installed")?);
        command.arg("-p").arg(&own).arg("-c").arg(&config).arg("-e").arg(own.join("error.log"));
        let mut service = Service::start(name, folder, command)?;
        service.wait_until(Duration::from_secs(10), || accepts(port))?;
        Ok(Self { port, _service: service })
    }
}

fn configuration(
    folder: &Path,
    port: u16,
    upstreams: &[(&str, Vec<u16>)],
    locations: &[(&str, &str)],
    rest: &str,
) -> String {
    let folder = folder.display();
    let user = if is_root() { "user root;" } else { "" };
    let mut out = format!(
        "daemon off; {user} worker_processes 1; pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 50M; proxy_http_version 1.1; proxy_read_timeout 600s; proxy_buffering off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header Host $host; proxy_set_header Connection \"\";
  map $request_method $reader {{ GET worker; default main; }}
"
    );
    // Writing to a String cannot fail.
    for (name, ports) in upstreams {
        let servers: Vec<String> = ports.iter().map(|port| format!("server 127.0.0.1:{port} max_fails=0;")).collect();
        let _ = writeln!(out, "  upstream {name} {{ {} keepalive 32; }}", servers.join(" "));
    }
    let _ = writeln!(out, "  server {{\n    listen 127.0.0.1:{port};");
    for (pattern, upstream) in locations {
        let _ = writeln!(out, "    location ~ \"{pattern}\" {{ proxy_pass http://{upstream}; }}");
    }
    let _ = writeln!(out, "    location / {{ proxy_pass http://{rest}; }}\n  }}\n}}");
    out
}
