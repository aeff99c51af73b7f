//! nginx in front, routing as Synapse's docs/workers.md tells operators to.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::packages::is_root;
use crate::process::free_port;
use crate::proxy::Proxy;

/// Patterns of paths that a generic worker may serve, one a line; `GET ` before those for which that holds of reads alone.
const WORKER_ROUTES: &str = include_str!("worker_routes.txt");

/// Worker routes go to `worker`, everything else to `main`.
pub fn start(folder: &Path, worker: u16, main: u16) -> Result<Proxy> {
    let upstreams = [("worker", vec![worker]), ("main", vec![main])];
    let locations = WORKER_ROUTES.lines();
    let locations = locations.map(|line| line.strip_prefix("GET ").map_or((line, "worker"), |path| (path, "$reader")));
    in_front(folder, "nginx", &upstreams, &locations.collect::<Vec<_>>(), "main")
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
) -> Result<Proxy> {
    let port = free_port()?;
    let mut http = String::from("map $request_method $reader { GET worker; default main; }\n");
    // Writing to a String cannot fail.
    for (name, ports) in upstreams {
        let servers: Vec<String> = ports.iter().map(|port| format!("server 127.0.0.1:{port} max_fails=0;")).collect();
        let _ = writeln!(http, "  upstream {name} {{ {} keepalive 32; }}", servers.join(" "));
    }
    let _ = writeln!(http, "  server {{\n    listen 127.0.0.1:{port};");
    for (pattern, upstream) in locations {
        let _ = writeln!(http, "    location ~ \"{pattern}\" {{ proxy_pass http://{upstream}; }}");
    }
    let _ = writeln!(http, "    location / {{ proxy_pass http://{rest}; }}\n  }}");
    serve(folder, name, &[port], &http)
}

/// Takes TLS away, with `server.pem` and `server.key` of the folder: each port leads to the other. Requests are
/// written to `name.d/access.log`.
pub fn without_tls(folder: &Path, name: &str, ports: &[(u16, u16)]) -> Result<Proxy> {
    let mut http = String::from("ssl_certificate ../server.pem; ssl_certificate_key ../server.key;\n");
    for (from, to) in ports {
        // Writing to a String cannot fail.
        let _ = writeln!(
            http,
            "  server {{ listen 127.0.0.1:{from} ssl; access_log access.log; location / {{ proxy_pass http://127.0.0.1:{to}; }} }}"
        );
    }
    let from: Vec<u16> = ports.iter().map(|(from, _)| *from).collect();
    serve(folder, name, &from, &http)
}

/// Paths are relative to nginx's own folder, those of certificates to the configuration in it.
fn serve(folder: &Path, name: &str, ports: &[u16], http: &str) -> Result<Proxy> {
    let user = if is_root() { "user root;" } else { "" };
    let configuration = format!(
        "daemon off; {user} worker_processes 1; pid pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 50M; proxy_http_version 1.1; proxy_read_timeout 600s; proxy_buffering off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header Host $http_host; proxy_set_header Connection \"\"; proxy_pass_header Server;
  {http}}}
"
    );
    Proxy::start("nginx", folder, name, ports, &configuration, |command, own, path| {
        command.arg("-p").arg(own).arg("-c").arg(path).arg("-e").arg(own.join("error.log"));
    })
}
