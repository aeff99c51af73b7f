//! Prometheus metrics under Synapse's names and labels. Answers to `synapse/metrics/__init__.py`.

mod http;
mod process;
mod usage;

pub use http::HttpMetrics;
use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

/// All metrics of this process; `server_name` labels each, as several homeservers may share a Prometheus.
pub struct Metrics {
    registry: Registry,
    pub(crate) http: HttpMetrics,
}

impl Metrics {
    pub fn new(server_name: &str) -> Result<Self, prometheus::Error> {
        let labels = [("server_name".to_owned(), server_name.to_owned())].into_iter().collect();
        let registry = Registry::new_custom(None, Some(labels))?;
        let http = HttpMetrics::new(&registry)?;
        process::register(&registry)?;
        info(
            &registry,
            ("myelin_build_info", "This worker's implementation and version"),
            &[("version", env!("CARGO_PKG_VERSION")), ("synapse_version", "1.163.2")],
        )?;
        // Dashboards choose by it; there is no Python here, and the label says so.
        info(
            &registry,
            ("synapse_build_info", "Build information"),
            &[("pythonversion", "none"), ("version", "1.163.2"), ("osversion", std::env::consts::OS)],
        )?;
        info(&registry, ("synapse_server_name_info", "The server's name, in the label all metrics have"), &[])?;
        Ok(Self { registry, http })
    }

    /// Adds what another part of the program counts.
    pub fn register(&self, collector: Box<dyn Collector>) -> Result<(), prometheus::Error> {
        self.registry.register(collector)
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// A gauge that is always 1 and speaks through its labels.
fn info(registry: &Registry, (name, help): (&str, &str), labels: &[(&str, &str)]) -> Result<(), prometheus::Error> {
    let (names, values): (Vec<_>, Vec<_>) = labels.iter().copied().unzip();
    let gauge = IntGaugeVec::new(Opts::new(name, help), &names)?;
    gauge.with_label_values(&values).set(1);
    registry.register(Box::new(gauge))
}
