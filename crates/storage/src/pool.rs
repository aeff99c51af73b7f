//! Connection pools from libpq arguments, and how big caches may be.
//! Answers to `synapse/storage/database.py` (`make_pool`) and `synapse/storage/databases/__init__.py`.

use std::sync::Arc;
use std::time::Duration;

use myelin_config::{Caches, Database};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgPool};

use crate::error::StorageError;
use crate::health::{Health, TRUSTED_FOR};

/// How long a request waits for a connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// libpq arguments without an effect here that an operator may still have set.
const IGNORED: [&str; 10] = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "connect_timeout",
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "krbsrvname",
];

pub(crate) struct Pools {
    pub main: PgPool,
    pub state: PgPool,
}

/// A first connection to each database, outside the pools: its failure is told at once instead of after the
/// acquire timeout.
pub(crate) async fn probe(databases: &[Database]) -> Result<(), StorageError> {
    for database in databases {
        match sqlx::PgConnection::connect_with(&connect_options(database)?).await {
            Ok(connection) => connection.close().await?,
            Err(error) => return Err(StorageError::refused(&database.label, format!("cannot connect: {error}"))),
        }
    }
    Ok(())
}

/// One pool per database; `main` and `state` may share one.
pub(crate) fn open(databases: &[Database], health: &Arc<Health>) -> Result<Pools, StorageError> {
    let (mut main, mut state) = (None, None);
    for database in databases {
        let pool = open_one(database, health)?;
        for store in &database.data_stores {
            match store.as_str() {
                "main" => main = Some(pool.clone()),
                "state" => state = Some(pool.clone()),
                _ => {}
            }
        }
    }
    let missing = |store: &str| StorageError::refused(store, format!("no database stores `{store}`"));
    Ok(Pools { main: main.ok_or_else(|| missing("main"))?, state: state.ok_or_else(|| missing("state"))? })
}

fn open_one(database: &Database, health: &Arc<Health>) -> Result<PgPool, StorageError> {
    let options = connect_options(database)?;
    let health = Arc::clone(health);
    let timeout = format!("SET statement_timeout TO {}", database.statement_timeout_ms.max(0));
    let pool = PgPoolOptions::new()
        .min_connections(database.cp_min)
        .max_connections(database.cp_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // One round trip less per statement, but not after a pause.
        .test_before_acquire(false)
        .before_acquire(move |connection, about| {
            let trusted = health.trusts(about.age);
            Box::pin(async move { Ok(trusted && (about.idle_for < TRUSTED_FOR || connection.ping().await.is_ok())) })
        })
        .after_connect(move |connection, _| {
            // A number that we formatted ourselves.
            let timeout = sqlx::AssertSqlSafe(timeout.clone());
            Box::pin(async move { sqlx::raw_sql(timeout).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

fn connect_options(database: &Database) -> Result<PgConnectOptions, StorageError> {
    let fault = |key: &str, reason: String| StorageError::Setting {
        place: database.place.clone(),
        key: format!("args.{key}"),
        reason,
    };
    let args = &database.args;
    let mut options = PgConnectOptions::new().application_name("myelin");
    if let Some(host) = args.host.as_deref().filter(|host| !host.is_empty()) {
        if host.contains(',') {
            return Err(fault("host", "several hosts are not supported".to_owned()));
        }
        options = options.host(host);
    }
    if let Some(port) = args.port {
        options = options.port(port);
    }
    if let Some(user) = &args.user {
        options = options.username(user);
    }
    if let Some(password) = &args.password {
        options = options.password(password);
    }
    if let Some(name) = &args.dbname {
        options = options.database(name);
    }
    for (key, value) in &args.other {
        options = match key.as_str() {
            "sslmode" => options.ssl_mode(value.parse().map_err(|_| fault(key, format!("unknown mode {value}")))?),
            "sslrootcert" => options.ssl_root_cert(value),
            "sslcert" => options.ssl_client_cert(value),
            "sslkey" => options.ssl_client_key(value),
            "application_name" => options.application_name(value),
            "hostaddr" => options.host(value),
            "options" => with_settings(options, value).ok_or_else(|| fault(key, "only -c name=value".to_owned()))?,
            "channel_binding" if value != "require" => options,
            "target_session_attrs" if matches!(value.as_str(), "any" | "prefer-standby") => options,
            ignored if IGNORED.contains(&ignored) => options,
            _ => return Err(fault(key, "is not supported".to_owned())),
        };
    }
    // libpq never encrypts a Unix socket.
    if options.get_host().starts_with('/') || options.get_socket().is_some() {
        options = options.ssl_mode(PgSslMode::Disable);
    }
    Ok(options)
}

/// libpq's `options`: `-c name=value` repeated, as psql takes it.
fn with_settings(options: PgConnectOptions, text: &str) -> Option<PgConnectOptions> {
    let mut words = text.split_whitespace();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--"))? {
            "" => words.next()?,
            attached => attached,
        };
        settings.push(setting.split_once('=')?);
    }
    Some(options.options(settings))
}

/// Budgets in bytes, scaled by the operator's factor.
#[derive(Clone, Copy, Debug)]
pub struct CacheSizes {
    factor: f64,
    events: f64,
}

impl CacheSizes {
    pub fn new(caches: &Caches) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of events; beyond 2^52 precision is no matter")]
        let events = caches.event_cache_size.max(0) as f64;
        Self { factor: caches.global_factor.max(0.0), events }
    }

    /// `default` is what the cache gets with Synapse's default `caches.global_factor` of 0.5.
    pub fn bytes(&self, default: usize) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a budget")]
        let default = default as f64;
        to_bytes(default * self.factor * 2.0)
    }

    /// `event_cache_size` counts events, each of which takes Python some 4 kB or more. Here it is a budget of bytes,
    /// in which about three times as many find room.
    pub fn event_bytes(&self) -> usize {
        const BYTES_PER_EVENT: f64 = 4096.0;
        to_bytes(self.events * self.factor * BYTES_PER_EVENT)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; a budget needs no fraction")]
fn to_bytes(bytes: f64) -> usize {
    bytes.clamp(65_536.0, 1e12) as usize
}
