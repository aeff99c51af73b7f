//! What the domain name system says of homeservers. Answers to `srv_resolver.py` in `synapse/http/federation/`.

use std::io;

use futures_util::future::BoxFuture;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Answers of the domain name system that are kept, for as long as it says.
const KEPT_ANSWERS: u64 = 10_000;

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
            let found = match resolver.srv_lookup(format!("{name}.")).await {
                Ok(found) => found,
                Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
                Err(error) => return Err(io::Error::other(error)),
            };
            let server = |data: &RData| match data {
                RData::SRV(srv) => Some(Server {
                    host: srv.target.to_ascii(),
                    port: srv.port,
                    priority: srv.priority,
                    weight: srv.weight,
                }),
                _ => None,
            };
            Ok(found.answers().iter().filter_map(|record| server(&record.data)).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{CNAME, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn srv(of: &str, priority: u16, target: &str) -> Record {
        Record::from_rdata(name(of), 60, RData::SRV(SRV::new(priority, 5, 8448, name(target))))
    }

    /// What a server of names answers.
    fn answer(asked: &Name) -> (ResponseCode, Vec<Record>) {
        let records = match asked.to_ascii().as_str() {
            "_matrix._tcp.two.test." => {
                vec![srv("_matrix._tcp.two.test.", 20, "b.test."), srv("_matrix._tcp.two.test.", 10, "a.test.")]
            }
            "_matrix._tcp.alias.test." => {
                let alias = RData::CNAME(CNAME(name("_matrix._tcp.real.test.")));
                let alias = Record::from_rdata(name("_matrix._tcp.alias.test."), 60, alias);
                vec![alias, srv("_matrix._tcp.real.test.", 0, "real.test.")]
            }
            "_matrix._tcp.refused.test." => vec![srv("_matrix._tcp.refused.test.", 0, ".")],
            "_matrix._tcp.empty.test." => Vec::new(),
            "_matrix._tcp.broken.test." => return (ResponseCode::ServFail, Vec::new()),
            _ => return (ResponseCode::NXDomain, Vec::new()),
        };
        (ResponseCode::NoError, records)
    }

    async fn serve(socket: UdpSocket) {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let (code, records) = answer(query.queries[0].name());
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
            let mut found = found
                .map_err(drop)
                .map(|found| found.into_iter().map(|server| (server.host, server.priority)).collect::<Vec<_>>());
            found.iter_mut().for_each(|found| found.sort_unstable());
            let expected = expected
                .map(|servers| servers.iter().map(|(host, priority)| ((*host).to_owned(), *priority)).collect());
            assert_eq!(found, expected, "{host}");
        }
    }
}
