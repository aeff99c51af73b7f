//! Where streams stand here, and who waits. Answers to `synapse/notifier.py` and
//! `stream_current_position_gauge` in `synapse/storage/util/id_generators.py`.

use myelin_live::Reader;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// Read when asked for.
pub struct Live {
    reader: Reader,
    position: IntGaugeVec,
    listeners: IntGauge,
    users: IntGauge,
    rooms: IntGauge,
    woken: IntCounterVec,
}

impl Live {
    pub fn new(reader: &Reader) -> Result<Self, prometheus::Error> {
        let position = Opts::new("synapse_storage_stream_current_position", "The stream's position as seen here");
        let woken = Opts::new("synapse_notifier_users_woken_by_stream_total", "Users whose requests ended their wait");
        Ok(Self {
            reader: reader.clone(),
            woken: IntCounterVec::new(woken, &["stream"])?,
            position: IntGaugeVec::new(position, &["stream_name"])?,
            listeners: IntGauge::new("synapse_notifier_listeners", "Requests that wait for something new")?,
            users: IntGauge::new("synapse_notifier_users", "Users with such requests")?,
            rooms: IntGauge::new("synapse_notifier_rooms", "Rooms of these users")?,
        })
    }

    fn all(&self) -> [&dyn Collector; 5] {
        [&self.position, &self.listeners, &self.users, &self.rooms, &self.woken]
    }
}

impl Collector for Live {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (stream, position) in self.reader.positions() {
            self.position.with_label_values(&[stream.as_str()]).set(position);
        }
        for (stream, users) in self.reader.woken() {
            let woken = self.woken.with_label_values(&[stream.key_type()]);
            woken.inc_by(users.saturating_sub(woken.get()));
        }
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (users, rooms) = self.reader.waiting();
        self.listeners.set(number(self.reader.listeners()));
        self.users.set(number(users));
        self.rooms.set(number(rooms));
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
