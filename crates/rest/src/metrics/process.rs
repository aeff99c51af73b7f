//! This process's processor time, memory and files. Answers to `synapse/metrics/_reactor_metrics.py` and `CPUMetrics`.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Opts, Registry};

/// The kernel's unit of time in /proc; the same on every Linux of our day.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    registry.register(Box::new(CpuTimes {
        user: Gauge::with_opts(Opts::new("process_cpu_user_seconds_total", "Time spent in the program"))?,
        system: Gauge::with_opts(Opts::new("process_cpu_system_seconds_total", "Time spent in the kernel"))?,
    }))
}

/// Read when asked for.
struct CpuTimes {
    user: Gauge,
    system: Gauge,
}

impl Collector for CpuTimes {
    fn desc(&self) -> Vec<&Desc> {
        [self.user.desc(), self.system.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some((user, system)) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| times(&stat)) {
            self.user.set(user);
            self.system.set(system);
        }
        [self.user.collect(), self.system.collect()].concat()
    }
}

/// Fields 14 and 15; the second one is a name in parentheses that may hold anything.
fn times(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_times() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(times(stat), Some((2.5, 0.5)));
        assert_eq!(times("nonsense"), None);
    }
}
