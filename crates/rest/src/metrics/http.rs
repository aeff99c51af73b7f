//! Requests, by servlet. Answers to `synapse/http/request_metrics.py` and, with a servlet as its block, to `Measure` in
//! `synapse/util/metrics.py`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::usage::{UsageCounters, UsageMetrics};
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
    used: UsageMetrics,
    used_so_far: UsageMetrics,
    block_count: IntCounterVec,
    block_time: prometheus::CounterVec,
    block_used: UsageMetrics,
    /// Myelin's own: who answered, by servlet.
    answered: IntCounterVec,
    /// What a finished request adds to, found once: as many as there are combinations of labels.
    series: RwLock<HashMap<Key, Arc<Series>>>,
}

/// Method, servlet, tag, status, and whether the fallback answered.
type Key = (&'static str, &'static str, &'static str, u16, bool);

struct Series {
    response_time: Histogram,
    response_count: IntCounter,
    response_size: IntCounter,
    responses: IntCounter,
    used: [UsageCounters; 3],
    block_count: IntCounter,
    block_time: Counter,
    answered: IntCounter,
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
        let by_block = ["block_name"];
        let in_flight = IntGaugeVec::new(
            Opts::new("synapse_http_server_in_flight_requests_count", "Requests being worked on"),
            &by_servlet,
        )?;
        registry.register(Box::new(in_flight.clone()))?;
        let time = HistogramOpts::new("synapse_http_server_response_time_seconds", "From request to last byte");
        let response_time = HistogramVec::new(time.buckets(BUCKETS.to_vec()), &["method", "servlet", "tag", "code"])?;
        registry.register(Box::new(response_time.clone()))?;
        let time = Opts::new("synapse_util_metrics_block_time_seconds_total", "From request to answer");
        let block_time = prometheus::CounterVec::new(time, &by_block)?;
        registry.register(Box::new(block_time.clone()))?;
        Ok(Self {
            received: counter("synapse_http_server_requests_received_total", "Requests received", &by_servlet)?,
            in_flight,
            response_time,
            response_count: counter("synapse_http_server_response_count_total", "Responses sent", &by_response)?,
            response_size: counter("synapse_http_server_response_size_total", "Bytes sent", &by_response)?,
            responses: counter("synapse_http_server_responses_total", "Responses by status", &["method", "code"])?,
            used: UsageMetrics::new(registry, "synapse_http_server_response", &by_response)?,
            used_so_far: UsageMetrics::new(registry, "synapse_http_server_in_flight_requests", &by_servlet)?,
            block_count: counter("synapse_util_metrics_block_count_total", "Requests, by servlet", &by_block)?,
            block_time,
            block_used: UsageMetrics::new(registry, "synapse_util_metrics_block", &by_block)?,
            answered: counter("myelin_requests_total", "Requests, by who answered", &["servlet", "answered_by"])?,
            series: RwLock::default(),
        })
    }

    pub fn started(&self, method: &str, servlet: &str) {
        let method = known(method);
        self.received.with_label_values(&[method, servlet]).inc();
        self.in_flight.with_label_values(&[method, servlet]).inc();
    }

    pub fn finished(&self, request: &Finished<'_>, servlet: &'static str, tag: &'static str, fallback: bool) {
        let method = known(request.method);
        self.in_flight.with_label_values(&[method, servlet]).dec();
        let series = self.series((method, servlet, tag, request.status, fallback));
        series.response_time.observe((request.processing + request.sending).as_secs_f64());
        series.response_count.inc();
        series.response_size.inc_by(request.bytes);
        series.responses.inc();
        for used in &series.used {
            used.add(&request.used);
        }
        series.block_count.inc();
        series.block_time.inc_by(request.processing.as_secs_f64());
        series.answered.inc();
    }

    fn series(&self, key: Key) -> Arc<Series> {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&key) {
            return Arc::clone(series);
        }
        drop(known);
        let (method, servlet, tag, status, fallback) = key;
        let (code, answered_by) = (status.to_string(), if fallback { "fallback" } else { "native" });
        let by_response = [method, servlet, tag];
        let series = Arc::new(Series {
            response_time: self.response_time.with_label_values(&[method, servlet, tag, &code]),
            response_count: self.response_count.with_label_values(&by_response),
            response_size: self.response_size.with_label_values(&by_response),
            responses: self.responses.with_label_values(&[method, &code]),
            used: [
                self.used.of(&by_response),
                // Synapse adds to it while the request runs.
                self.used_so_far.of(&[method, servlet]),
                self.block_used.of(&[servlet]),
            ],
            block_count: self.block_count.with_label_values(&[servlet]),
            block_time: self.block_time.with_label_values(&[servlet]),
            answered: self.answered.with_label_values(&[servlet, answered_by]),
        });
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_insert(series))
    }
}

/// Clients invent methods; labels must stay few.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}
