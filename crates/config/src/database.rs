//! `database` and `databases`. Answers to `synapse/config/database.py`.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::section::Section;

/// One database; most servers have one that stores everything.
#[derive(Clone, Debug)]
pub struct Database {
    pub label: String,
    /// File and key, as complaints begin: `homeserver.yaml: database`.
    pub place: String,
    /// Which of `main` and `state` it stores.
    pub data_stores: Vec<String>,
    pub args: DatabaseArgs,
    pub allow_unsafe_locale: bool,
    pub statement_timeout_ms: i64,
    pub cp_min: u32,
    pub cp_max: u32,
}

/// Arguments for libpq; `other` are those that Myelin passes on as they are, if sqlx knows them.
#[derive(Clone, Debug, Default)]
pub struct DatabaseArgs {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub dbname: Option<String>,
    pub other: BTreeMap<String, String>,
}

/// Arguments of Twisted's pool rather than of libpq.
const POOL_ARGS: [&str; 9] = [
    "cp_min",
    "cp_max",
    "cp_reconnect",
    "cp_noisy",
    "cp_name",
    "cp_openfun",
    "cp_good_sql",
    "check_same_thread",
    "cp_timeout",
];

pub fn read(root: &Section<'_>) -> Result<Vec<Database>, ConfigError> {
    match (root.has("database"), root.has("databases")) {
        (true, true) => Err(root.fault("databases", "cannot be set together with database")),
        (false, true) => {
            let all = root.section("databases")?;
            let databases: Result<Vec<_>, _> = all.keys().map(|label| read_one(&all.section(label)?, label)).collect();
            let databases = databases?;
            for store in ["main", "state"] {
                let holders = databases.iter().filter(|d| d.data_stores.iter().any(|s| s == store)).count();
                if holders != 1 {
                    return Err(root.fault("databases", format!("{holders} databases store {store}; it must be one")));
                }
            }
            Ok(databases)
        }
        (true, false) => Ok(vec![read_one(&root.section("database")?, "master")?]),
        (false, false) => Err(root.fault("database", "is required: workers need Postgres")),
    }
}

fn read_one(section: &Section<'_>, label: &str) -> Result<Database, ConfigError> {
    let name = section.text_or("name", "sqlite3")?;
    if !matches!(name.as_str(), "psycopg2" | "psycopg") {
        return Err(section.fault("name", format!("workers need Postgres (psycopg2), not {name}")));
    }
    let args = section.section("args")?;
    let mut read = DatabaseArgs {
        host: args.text("host")?,
        port: args.port("port")?,
        user: args.text("user")?,
        password: args.text("password")?,
        dbname: args.text("dbname")?.or(args.text("database")?),
        other: BTreeMap::new(),
    };
    for key in args.keys() {
        if !POOL_ARGS.contains(&key)
            && !matches!(key, "host" | "port" | "user" | "password" | "dbname" | "database")
            && let Some(value) = args.text(key)?
        {
            read.other.insert(key.to_owned(), value);
        }
    }
    let mut data_stores = section.texts("data_stores")?;
    if data_stores.is_empty() {
        data_stores = vec!["main".to_owned(), "state".to_owned()];
    }
    let pool = |key: &str, default: u32| -> Result<u32, ConfigError> {
        let number = args.integer(key)?.unwrap_or(i64::from(default));
        u32::try_from(number).map_err(|_| args.fault(key, "must be a positive integer"))
    };
    let (cp_min, cp_max) = (pool("cp_min", 3)?, pool("cp_max", 5)?);
    if cp_max == 0 || cp_min > cp_max {
        return Err(args.fault("cp_max", "must be at least 1 and not below cp_min"));
    }
    Ok(Database {
        label: label.to_owned(),
        place: section.place(),
        data_stores,
        args: read,
        allow_unsafe_locale: section.flag("allow_unsafe_locale", false),
        statement_timeout_ms: section.duration_ms("statement_timeout", 600_000)?,
        cp_min,
        cp_max,
    })
}
