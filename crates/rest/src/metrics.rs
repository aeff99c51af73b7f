//! Prometheus metrics under Synapse's names and labels. Answers to `synapse/http/request_metrics.py`.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

const RESPONSE_TIME_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0];

/// All metrics of this process; `server_name` labels each, as several homeservers may share a Prometheus.
pub struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    response_time: HistogramVec,
    in_flight: IntGaugeVec,
    /// Myelin's own: who answered, by servlet.
    answered: IntCounterVec,
}

impl Metrics {
    pub fn new(server_name: &str) -> Result<Self, prometheus::Error> {
        let labels = [("server_name".to_owned(), server_name.to_owned())].into_iter().collect();
        let registry = Registry::new_custom(None, Some(labels))?;
        let received = IntCounterVec::new(
            Opts::new("synapse_http_server_requests_received_total", "Requests received"),
            &["method", "servlet"],
        )?;
        let response_time = HistogramVec::new(
            HistogramOpts::new("synapse_http_server_response_time_seconds", "Seconds from request to answer")
                .buckets(RESPONSE_TIME_BUCKETS.to_vec()),
            &["method", "servlet", "tag", "code"],
        )?;
        let in_flight = IntGaugeVec::new(
            Opts::new("synapse_http_server_in_flight_requests_count", "Requests being worked on"),
            &["method", "servlet"],
        )?;
        let answered = IntCounterVec::new(
            Opts::new("myelin_requests_total", "Requests by who answered: native or fallback"),
            &["servlet", "answered_by"],
        )?;
        registry.register(Box::new(received.clone()))?;
        registry.register(Box::new(response_time.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(answered.clone()))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = IntGaugeVec::new(
            Opts::new("myelin_build_info", "This worker's implementation and version"),
            &["version", "synapse_version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), "1.163.2"]).set(1);
        registry.register(Box::new(build))?;
        Ok(Self { registry, received, response_time, in_flight, answered })
    }

    pub fn started(&self, method: &str, servlet: &str) {
        self.received.with_label_values(&[method, servlet]).inc();
        self.in_flight.with_label_values(&[method, servlet]).inc();
    }

    pub fn finished(&self, method: &str, servlet: &str, tag: &str, outcome: Option<(u16, bool)>, took: Duration) {
        self.in_flight.with_label_values(&[method, servlet]).dec();
        // No outcome: the client went away first.
        let Some((status, fallback)) = outcome else { return };
        let code = status.to_string();
        self.response_time.with_label_values(&[method, servlet, tag, &code]).observe(took.as_secs_f64());
        let answered_by = if fallback { "fallback" } else { "native" };
        self.answered.with_label_values(&[servlet, answered_by]).inc();
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
