//! What the domain name system says of homeservers. Answers to `srv_resolver.py` in `synapse/http/federation/`.

use std::io;

use futures_util::future::BoxFuture;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Answers of the domain name system that are kept, for as long as it says.
const KEPT_ANSWERS: u64 = 10_000;
/// One leading to the next.
const MAX_ALIASES: usize = 8;

/// A record of the kind SRV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub priority: u16,
    pub weight: u16,
}

/// The domain name system, as far as it is asked here.
pub trait Lookup: Send + Sync {
    /// Records of a service; none when there is no such name.
    fn service(&self, name: String) -> BoxFuture<'_, io::Result<Vec<Server>>>;
}

/// The resolver that `/etc/resolv.conf` names.
pub struct Dns(Option<TokioResolver>);

impl Dns {
    pub fn from_system() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(resolver);
        Self(resolver.inspect_err(|error| tracing::warn!("no SRV records can be looked up: {error}")).ok())
    }
}

fn resolver(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    builder.options_mut().cache_size = KEPT_ANSWERS;
    builder.build()
}

impl Lookup for Dns {
    fn service(&self, name: String) -> BoxFuture<'_, io::Result<Vec<Server>>> {
        Box::pin(async move {
            let resolver = self.0.as_ref().ok_or_else(|| io::Error::other("there is no resolver"))?;
            // As it is: not within the search domains of this machine.
            let mut name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
            let mut found = records(resolver, &name, RecordType::SRV, server).await;
            // The resolver does not find the records of an alias: it takes their targets for further aliases.
            for _ in 0..MAX_ALIASES {
                if found.as_ref().is_ok_and(|servers| !servers.is_empty()) {
                    break;
                }
                let aliases = records(resolver, &name, RecordType::CNAME, alias).await;
                let Some(other) = aliases.ok().and_then(|mut aliases| aliases.pop()) else { break };
                found = records(resolver, &other, RecordType::SRV, server).await;
                name = other;
            }
            found
        })
    }
}

async fn records<T>(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
    of: fn(&RData) -> Option<T>,
) -> io::Result<Vec<T>> {
    match resolver.lookup(name.clone(), kind).await {
        Ok(found) => Ok(found.answers().iter().filter_map(|record| of(&record.data)).collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn server(data: &RData) -> Option<Server> {
    let RData::SRV(srv) = data else { return None };
    Some(Server { host: srv.target.to_ascii(), port: srv.port, priority: srv.priority, weight: srv.weight })
}

fn alias(data: &RData) -> Option<Name> {
    if let RData::CNAME(alias) = data { Some(alias.0.clone()) } else { None }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::{CNAME, SRV};
    use tokio::net::UdpSocket;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn srv(of: &str, priority: u16, target: &str) -> Record {
        Record::from_rdata(name(of), 60, RData::SRV(SRV::new(priority, 5, 8448, name(target))))
    }

    /// What a server of names answers.
    fn answer(asked: &Name, kind: RecordType) -> (ResponseCode, Vec<Record>) {
        let mut records = match asked.to_ascii().as_str() {
            "_matrix._tcp.two.test." => {
                vec![srv("_matrix._tcp.two.test.", 20, "b.test."), srv("_matrix._tcp.two.test.", 10, "a.test.")]
            }
            "_matrix._tcp.alias.test." => {
                let alias = RData::CNAME(CNAME(name("_matrix._tcp.real.test.")));
                let alias = Record::from_rdata(name("_matrix._tcp.alias.test."), 60, alias);
                vec![alias, srv("_matrix._tcp.real.test.", 0, "real.test.")]
            }
            "_matrix._tcp.real.test." => vec![srv("_matrix._tcp.real.test.", 0, "real.test.")],
            "_matrix._tcp.refused.test." => vec![srv("_matrix._tcp.refused.test.", 0, ".")],
            "_matrix._tcp.empty.test." => Vec::new(),
            "_matrix._tcp.broken.test." => return (ResponseCode::ServFail, Vec::new()),
            _ => return (ResponseCode::NXDomain, Vec::new()),
        };
        records.retain(|record| [kind, RecordType::CNAME].contains(&record.record_type()));
        (ResponseCode::NoError, records)
    }

    async fn serve(socket: UdpSocket) {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let (code, records) = answer(query.queries[0].name(), query.queries[0].query_type());
            let mut response = query.into_response();
            response.metadata.response_code = code;
            response.add_answers(records);
            socket.send_to(&response.to_vec().unwrap(), client).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_server_of_names_says() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        tokio::spawn(serve(socket));
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let dns = Dns(Some(resolver(builder).unwrap()));
        for (host, expected) in [
            ("two.test", Ok(vec![("a.test.", 10), ("b.test.", 20)])),
            ("alias.test", Ok(vec![("real.test.", 0)])),
            ("refused.test", Ok(vec![(".", 0)])),
            ("empty.test", Ok(Vec::new())),
            ("unknown.test", Ok(Vec::new())),
            ("broken.test", Err(())),
        ] {
            let found = dns.service(format!("_matrix._tcp.{host}")).await;
            let found = found.map_err(drop).map(|mut found| {
                found.sort_by_key(|server| server.priority);
                found.into_iter().map(|server| (server.host, server.priority)).collect::<Vec<_>>()
            });
            let expected = expected
                .map(|servers| servers.iter().map(|(host, priority)| ((*host).to_owned(), *priority)).collect());
            assert_eq!(found, expected, "{host}");
        }
    }
}
