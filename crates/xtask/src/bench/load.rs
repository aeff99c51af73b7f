//! The load generator: a fixed number of connections that each ask, wait for the whole answer, and ask again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What is asked for: a path with its query, as whom. With a body it is a POST.
#[derive(Default)]
pub struct Ask {
    pub path: String,
    /// `None` for what everybody may ask.
    pub authorization: Option<String>,
    pub body: Option<Bytes>,
}

/// Gives the request of a number; every number is asked for once in a run, so that no answer is kept from before.
pub type Asks = Arc<dyn Fn(u64) -> Ask + Send + Sync>;

/// One connection to a worker.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
}

impl Connection {
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error shows in the answer that is waited for.
        tokio::spawn(connection);
        Ok(Self { sender, port })
    }

    /// The whole answer; anything but 200 is an error.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Bytes> {
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(ask.path.parse::<Uri>()?);
        let mut request = request.header("Host", format!("127.0.0.1:{}", self.port));
        if let Some(authorization) = &ask.authorization {
            request = request.header("Authorization", authorization);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(ask.body.clone().unwrap_or_default()))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "{}: {status} {}", ask.path, String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// What one run saw.
pub struct Load {
    pub requests: usize,
    pub took: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
    /// Length of the largest body.
    pub bytes: usize,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let requests = self.requests as f64;
        requests / self.took.as_secs_f64()
    }

    /// The latency that `percent` of the requests stayed within.
    pub fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }
}

/// Of sorted values; zero if there are none.
pub fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Keeps `concurrency` connections busy for `time`; every connection ends the request that it has begun.
pub async fn run(port: u16, asks: &Asks, number: &Arc<AtomicU64>, concurrency: usize, time: Duration) -> Result<Load> {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        connections.push(Connection::open(port).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (asks, number) = (asks.clone(), number.clone());
            tokio::spawn(async move {
                let (mut latencies, mut bytes) = (Vec::new(), 0);
                while latencies.is_empty() || start.elapsed() < time {
                    let ask = asks(number.fetch_add(1, Ordering::Relaxed));
                    let begin = Instant::now();
                    bytes = bytes.max(connection.ask(&ask).await?.len());
                    latencies.push(begin.elapsed());
                }
                anyhow::Ok((latencies, bytes))
            })
        })
        .collect();
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    for task in tasks {
        let (its, largest) = task.await.context("a connection panicked")??;
        latencies.extend(its);
        bytes = bytes.max(largest);
    }
    let took = start.elapsed();
    latencies.sort_unstable();
    Ok(Load { requests: latencies.len(), took, latencies, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(198));
        assert_eq!(percentile(&sorted[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile::<Duration>(&[], 50), Duration::ZERO);
    }
}
