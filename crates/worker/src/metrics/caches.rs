//! What the caches hold and how often they help. Answers to `CacheMetric` in `synapse/util/caches/__init__.py`.

use std::sync::Arc;

use myelin_handlers::Handlers;
use myelin_storage::Storage;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// Read when asked for.
pub struct Caches {
    storage: Storage,
    asked: IntGaugeVec,
    hits: IntGaugeVec,
    size: IntGaugeVec,
    evicted: IntGaugeVec,
    bytes: IntGaugeVec,
    max_bytes: IntGaugeVec,
    handlers: Arc<Handlers>,
    responses: IntGaugeVec,
    response_hits: IntGaugeVec,
    response_size: IntGaugeVec,
    response_evicted: IntGaugeVec,
}

impl Caches {
    pub fn new(storage: &Storage, handlers: Arc<Handlers>) -> Result<Self, prometheus::Error> {
        let responses = |name: &str| format!("synapse_util_caches_response_cache{name}");
        let gauge = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        Ok(Self {
            storage: storage.clone(),
            asked: gauge("synapse_util_caches_cache", "Times a cache was asked", &["name"])?,
            hits: gauge("synapse_util_caches_cache_hits", "Times a cache had the answer", &["name"])?,
            size: gauge("synapse_util_caches_cache_size", "Entries", &["name"])?,
            evicted: gauge(
                "synapse_util_caches_cache_evicted_size",
                "Entries that made room for others",
                &["name", "reason"],
            )?,
            bytes: gauge("synapse_util_caches_cache_size_bytes", "Estimated memory", &["name"])?,
            // Synapse bounds entries; a `synapse_util_caches_cache_max_size` in bytes would mislead.
            max_bytes: gauge("myelin_cache_max_bytes", "Bound of the estimated memory", &["name"])?,
            responses: gauge(&responses(""), "Requests that may share an answer", &["name"])?,
            response_hits: gauge(&responses("_hits"), "Requests that did", &["name"])?,
            response_size: gauge(&responses("_size"), "Answers kept or being made", &["name"])?,
            response_evicted: gauge(
                &responses("_evicted_size"),
                "Answers that were kept for their time, or made room for others",
                &["name", "reason"],
            )?,
            handlers,
        })
    }

    fn all(&self) -> [&IntGaugeVec; 10] {
        let Self { asked, hits, size, evicted, bytes, max_bytes, .. } = self;
        let Self { responses, response_hits, response_size, response_evicted, .. } = self;
        [asked, hits, size, evicted, bytes, max_bytes, responses, response_hits, response_size, response_evicted]
    }
}

impl Collector for Caches {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (name, stats) in self.storage.registry().stats() {
            self.asked.with_label_values(&[name]).set(number(stats.hits + stats.misses));
            self.hits.with_label_values(&[name]).set(number(stats.hits));
            self.size.with_label_values(&[name]).set(i64::try_from(stats.entries).unwrap_or(i64::MAX));
            self.evicted.with_label_values(&[name, "size"]).set(number(stats.evicted));
            self.bytes.with_label_values(&[name]).set(number(stats.bytes));
            self.max_bytes.with_label_values(&[name]).set(number(stats.max_bytes));
        }
        for (name, stats) in self.handlers.shared_answers() {
            self.responses.with_label_values(&[name]).set(number(stats.asked));
            self.response_hits.with_label_values(&[name]).set(number(stats.hits));
            self.response_size.with_label_values(&[name]).set(i64::try_from(stats.entries).unwrap_or(i64::MAX));
            self.response_evicted.with_label_values(&[name, "time"]).set(number(stats.expired));
            self.response_evicted.with_label_values(&[name, "size"]).set(number(stats.evicted));
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
