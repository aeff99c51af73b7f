//! Requests, by servlet. Answers to `synapse/http/request_metrics.py`.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::access_log::Finished;

/// Those of Python's client library, so that histograms of both kinds of worker add up.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

pub struct HttpMetrics {
    received: IntCounterVec,
    in_flight: IntGaugeVec,
    response_time: HistogramVec,
    response_count: IntCounterVec,
    response_size: IntCounterVec,
    responses: IntCounterVec,
    /// Myelin's own: who answered, by servlet.
    answered: IntCounterVec,
}

impl HttpMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let by_servlet = ["method", "servlet"];
        let by_response = ["method", "servlet", "tag"];
        let in_flight = IntGaugeVec::new(
            Opts::new("synapse_http_server_in_flight_requests_count", "Requests being worked on"),
            &by_servlet,
        )?;
        registry.register(Box::new(in_flight.clone()))?;
        let time = HistogramOpts::new("synapse_http_server_response_time_seconds", "From request to last byte");
        let response_time = HistogramVec::new(time.buckets(BUCKETS.to_vec()), &["method", "servlet", "tag", "code"])?;
        registry.register(Box::new(response_time.clone()))?;
        Ok(Self {
            received: counter("synapse_http_server_requests_received_total", "Requests received", &by_servlet)?,
            in_flight,
            response_time,
            response_count: counter("synapse_http_server_response_count_total", "Responses sent", &by_response)?,
            response_size: counter("synapse_http_server_response_size_total", "Bytes sent", &by_response)?,
            responses: counter("synapse_http_server_responses_total", "Responses by status", &["method", "code"])?,
            answered: counter("myelin_requests_total", "Requests, by who answered", &["servlet", "answered_by"])?,
        })
    }

    pub fn started(&self, method: &str, servlet: &str) {
        let method = known(method);
        self.received.with_label_values(&[method, servlet]).inc();
        self.in_flight.with_label_values(&[method, servlet]).inc();
    }

    pub fn finished(&self, request: &Finished<'_>, servlet: &str, tag: &str, fallback: bool) {
        let (method, code) = (known(request.method), request.status.to_string());
        self.in_flight.with_label_values(&[method, servlet]).dec();
        let took = (request.processing + request.sending).as_secs_f64();
        self.response_time.with_label_values(&[method, servlet, tag, &code]).observe(took);
        self.response_count.with_label_values(&[method, servlet, tag]).inc();
        self.response_size.with_label_values(&[method, servlet, tag]).inc_by(request.bytes);
        self.responses.with_label_values(&[method, &code]).inc();
        let answered_by = if fallback { "fallback" } else { "native" };
        self.answered.with_label_values(&[servlet, answered_by]).inc();
    }
}

/// Clients invent methods; labels must stay few.
fn known(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => method,
        _ => "other",
    }
}
