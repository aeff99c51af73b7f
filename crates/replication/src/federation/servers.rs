//! Where a homeserver listens, once its name is known. Answers to `MatrixHostnameEndpoint` in
//! `synapse/http/federation/matrix_federation_agent.py` and to the order of `srv_resolver.py`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::dns::{Lookup, Server};

/// Where a server listens that does not say otherwise.
const PORT: u16 = 8448;
/// Servers of one name that are tried.
const MAX_SERVERS: usize = 20;

/// Where homeservers are.
pub struct Servers(Arc<dyn Lookup>);

impl Servers {
    pub fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self(lookup)
    }

    /// `_resolve_server`: hosts and ports, best first, of `https://` and a name that `.well-known` was asked about.
    pub async fn resolve(&self, uri: &Uri) -> io::Result<Vec<Uri>> {
        let host = uri.host().unwrap_or_default();
        if uri.port_u16().is_some() || is_ip_literal(host) {
            return Ok(vec![place(host, uri.port_u16().unwrap_or(PORT))?]);
        }
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            let servers = self.0.service(format!("{service}.{host}")).await?;
            if let [only] = &*servers
                && only.host == "."
            {
                return Err(io::Error::other(format!("there is no {service} at {host}")));
            }
            if !servers.is_empty() {
                let servers = sort(servers).into_iter().take(MAX_SERVERS);
                return servers.map(|server| place(server.host.trim_end_matches('.'), server.port)).collect();
            }
        }
        Ok(vec![place(host, PORT)?])
    }
}

fn place(host: &str, port: u16) -> io::Result<Uri> {
    format!("https://{host}:{port}/").parse().map_err(io::Error::other)
}

/// `_is_ip_literal`, with the brackets of version 6.
pub(crate) fn is_ip_literal(host: &str) -> bool {
    literal(host).is_some()
}

pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `_sort_server_list`: by priority; who weighs more is more likely before others of the same.
fn sort(mut servers: Vec<Server>) -> Vec<Server> {
    let mut rng = rand::rng();
    servers.shuffle(&mut rng);
    servers.sort_by_key(|server| server.priority);
    let mut sorted: Vec<Server> = Vec::with_capacity(servers.len());
    while let Some(first) = servers.first() {
        let same = servers.iter().take_while(|server| server.priority == first.priority).count();
        let total: u32 = servers[..same].iter().map(|server| u32::from(server.weight)).sum();
        let mut target = if total == 0 { 0 } else { rng.random_range(1..=total) };
        let chosen = servers[..same].iter().position(|server| {
            target = target.saturating_sub(u32::from(server.weight));
            target == 0
        });
        sorted.push(servers.remove(chosen.unwrap_or_default()));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::future::BoxFuture;

    use super::*;

    struct Fake(HashMap<&'static str, Vec<Server>>);

    impl Lookup for Fake {
        fn service(&self, name: String) -> BoxFuture<'_, io::Result<Vec<Server>>> {
            let found = self.0.get(name.as_str()).cloned().unwrap_or_default();
            let fails = name.contains("broken");
            Box::pin(async move { if fails { Err(io::Error::other("SERVFAIL")) } else { Ok(found) } })
        }
    }

    fn server(host: &str, port: u16, priority: u16, weight: u16) -> Server {
        Server { host: host.to_owned(), port, priority, weight }
    }

    #[tokio::test]
    async fn names_and_places() {
        let fake = Fake(HashMap::from([
            ("_matrix-fed._tcp.new.test", vec![server("b.test.", 1, 20, 0), server("a.test.", 2, 10, 0)]),
            ("_matrix._tcp.new.test", vec![server("wrong.test.", 3, 0, 0)]),
            ("_matrix._tcp.old.test", vec![server("c.test.", 443, 0, 0)]),
            ("_matrix-fed._tcp.none.test", vec![server(".", 0, 0, 0)]),
            ("_matrix-fed._tcp.10.0.0.1", vec![server("wrong.test.", 3, 0, 0)]),
        ]));
        let servers = Servers::new(Arc::new(fake));
        for (name, expected) in [
            ("plain.test", Some(vec!["https://plain.test:8448/"])),
            ("new.test", Some(vec!["https://a.test:2/", "https://b.test:1/"])),
            ("new.test:443", Some(vec!["https://new.test:443/"])),
            ("old.test", Some(vec!["https://c.test:443/"])),
            ("none.test", None),
            ("broken.test", None),
            ("10.0.0.1", Some(vec!["https://10.0.0.1:8448/"])),
            ("[::1]", Some(vec!["https://[::1]:8448/"])),
            ("[::1]:80", Some(vec!["https://[::1]:80/"])),
        ] {
            let found = servers.resolve(&format!("https://{name}/").parse().unwrap()).await;
            let found = found.ok().map(|found| found.iter().map(Uri::to_string).collect::<Vec<_>>());
            assert_eq!(found, expected.map(|uris| uris.iter().map(|uri| (*uri).to_owned()).collect()), "{name}");
        }
    }

    #[test]
    fn weights() {
        let mut first = HashMap::new();
        for _ in 0..2_000 {
            let sorted = sort(vec![
                server("heavy", 1, 0, 90),
                server("light", 1, 0, 10),
                server("never", 1, 0, 0),
                server("later", 1, 1, 100),
            ]);
            assert_eq!((sorted.len(), sorted[3].host.as_str()), (4, "later"));
            *first.entry(sorted[0].host.clone()).or_insert(0) += 1;
        }
        let of = |host: &str| first.get(host).copied().unwrap_or_default();
        assert!(of("heavy") > 1_500 && of("light") > 50 && of("never") == 0, "{first:?}");
    }
}
