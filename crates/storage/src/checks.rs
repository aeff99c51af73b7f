//! Is this a database that can be served correctly? Asked once, at start; the answer "no" names the reason.
//! Answers to `prepare_database` and `check_database` in `synapse/storage/`.

use myelin_config::Database;
use sqlx::PgPool;

use crate::tables::{Table, tables};
use crate::{Storage, StorageError};

/// `SCHEMA_VERSION` of Synapse 1.163.
const SCHEMA_VERSION: i32 = 94;
/// Postgres 14, Synapse's own minimum.
const POSTGRES_VERSION: i32 = 140_000;

/// The deltas of that version as of 1.163.2: the version number alone has not changed since 1.151.
const MAIN_DELTAS: [&str; 16] = [
    "94/01_redactions_recheck.sql",
    "94/02_redactions_recheck_bg_update.sql",
    "94/03_device_lists_room_timestamp.sql",
    "94/03_quarantined_media_tracking.sql",
    "94/03_quarantined_media_tracking_seq.sql.postgres",
    "94/03_state_dag_fwd_extrems.sql",
    "94/04_device_lists_changes_max_pruned.sql",
    "94/05_rerun_flag_existing_quarantined_media.sql",
    "94/06_sliding_sync_connections_last_used_ts_index.sql",
    "94/07_profile_updates.sql",
    "94/07_profile_updates_seq.sql.postgres",
    "94/07_sliding_sync_lazy_members_position_index.sql",
    "94/08_device_lists_changes_in_room_unconverted_idx.sql",
    "94/09_e2e_cross_signing_signatures_index.sql",
    "94/10_e2e_cross_signing_signatures_add_key_id_to_index.sql",
    "94/11_destination_room_sticky_events.sql",
];
const STATE_DELTAS: [&str; 1] = ["94/01_state_groups_persisting_inserted_ts.sql.postgres"];

impl Storage {
    /// Refuses a database of another schema, encoding or server, and a role that lacks a right.
    pub(crate) async fn check(&self, databases: &[Database], server_name: &str) -> Result<(), StorageError> {
        for database in databases {
            let holds = |store: &str| database.data_stores.iter().any(|held| held == store);
            let pool = if holds("main") { &self.0.main } else { &self.0.state };
            let refused = |reason: String| StorageError::refused(&database.label, reason);
            check_server(pool, database.allow_unsafe_locale).await?.map_err(refused)?;
            check_schema(pool, holds("main"), holds("state")).await?.map_err(refused)?;
            check_rights(pool, holds("main"), holds("state")).await?.map_err(refused)?;
            if holds("main") {
                self.check_server_name(server_name).await?.map_err(refused)?;
                let ahead = self.streams_ahead_of_sequence().await?;
                if !ahead.is_empty() {
                    let streams = ahead.join(", ");
                    return Err(refused(format!("stream_positions is ahead of the sequence of: {streams}")));
                }
            }
        }
        Ok(())
    }

    async fn check_server_name(&self, server_name: &str) -> Result<Outcome, StorageError> {
        let user: Option<(String,)> =
            sqlx::query_as("SELECT name FROM users LIMIT 1").fetch_optional(self.pool()).await?;
        let Some((user,)) = user else { return Ok(Ok(())) };
        let domain = user.split_once(':').map_or("", |(_, domain)| domain);
        if domain == server_name {
            return Ok(Ok(()));
        }
        Ok(Err(format!("holds the users of {domain}, but server_name is {server_name}")))
    }
}

/// `Err`: why this database is refused.
type Outcome = Result<(), String>;

async fn check_server(pool: &PgPool, allow_unsafe_locale: bool) -> Result<Outcome, StorageError> {
    let (encoding, version, collation, ctype): (String, i32, String, String) = sqlx::query_as(
        "SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer,
             datcollate::text, datctype::text
         FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(pool)
    .await?;
    if version < POSTGRES_VERSION {
        return Ok(Err(format!("is of Postgres {version}; Synapse requires 14 or above")));
    }
    if encoding != "UTF8" {
        return Ok(Err(format!("has the encoding {encoding} instead of UTF8")));
    }
    for (what, found) in [("collation", collation), ("ctype", ctype)] {
        if found == "C" {
            continue;
        }
        if !allow_unsafe_locale {
            return Ok(Err(format!("has the {what} {found} instead of C, and allow_unsafe_locale is not set")));
        }
        tracing::warn!("the database has the {what} {found} instead of C");
    }
    Ok(Ok(()))
}

async fn check_schema(pool: &PgPool, main: bool, state: bool) -> Result<Outcome, StorageError> {
    if let Err(reason) = check_empty(pool).await? {
        return Ok(Err(reason));
    }
    let version: Option<(i32,)> = sqlx::query_as("SELECT version FROM schema_version").fetch_optional(pool).await?;
    let compat: Option<(i32,)> =
        sqlx::query_as("SELECT compat_version FROM schema_compat_version").fetch_optional(pool).await?;
    let Some((version,)) = version else {
        return Ok(Err("is empty; start Synapse's main process first".to_owned()));
    };
    if version < SCHEMA_VERSION {
        return Ok(Err(format!(
            "has schema version {version}, but {SCHEMA_VERSION} is needed; start a main process of Synapse 1.163"
        )));
    }
    if let Some((compat,)) = compat.filter(|(compat,)| *compat > SCHEMA_VERSION) {
        return Ok(Err(format!("is too new: it needs schema version {compat}, and Myelin knows {SCHEMA_VERSION}")));
    }
    if version > SCHEMA_VERSION {
        tracing::warn!(
            version,
            known = SCHEMA_VERSION,
            "the schema is newer than Myelin, but says that it is compatible"
        );
        return Ok(Ok(()));
    }
    let applied: Vec<(String,)> = sqlx::query_as("SELECT file FROM applied_schema_deltas WHERE version = $1")
        .bind(version)
        .fetch_all(pool)
        .await?;
    let wanted = MAIN_DELTAS.iter().filter(|_| main).chain(STATE_DELTAS.iter().filter(|_| state));
    let missing: Vec<&str> = wanted.filter(|file| !applied.iter().any(|(known,)| known == *file)).copied().collect();
    if missing.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(format!("lacks the schema changes {}; start a main process of Synapse 1.163", missing.join(", "))))
}

/// Each table, column, sequence and right of `tables.toml`.
async fn check_rights(pool: &PgPool, main: bool, state: bool) -> Result<Outcome, StorageError> {
    let list = match tables() {
        Ok(list) => list,
        Err(error) => return Ok(Err(format!("cannot be checked: tables.toml: {error}"))),
    };
    let (mut names, mut columns, mut rights) = (Vec::new(), Vec::new(), Vec::new());
    let held = |table: &&Table| if table.state { state } else { main };
    for (name, table) in list.table.iter().filter(|(_, table)| held(table)) {
        for (right, list) in table.column_rights() {
            for column in list {
                names.push(name.as_str());
                columns.push(Some(column.as_str()));
                rights.push(right);
            }
        }
        if table.delete {
            names.push(name);
            columns.push(None);
            rights.push("DELETE");
        }
    }
    let mut faults = missing_rights(pool, &names, &columns, &rights).await?;
    if main {
        let names: Vec<&str> = list.sequence.keys().map(String::as_str).collect();
        let rights: Vec<&str> = list.sequence.values().map(|sequence| sequence.right.as_str()).collect();
        faults.extend(missing_sequences(pool, &names, &rights).await?);
    }
    if faults.is_empty() { Ok(Ok(())) } else { Ok(Err(faults.join("; "))) }
}

/// A database without Synapse's tables has one clear message instead of hundreds.
async fn check_empty(pool: &PgPool) -> Result<Outcome, StorageError> {
    let (missing,): (bool,) = sqlx::query_as("SELECT to_regclass('schema_version') IS NULL").fetch_one(pool).await?;
    if missing {
        return Ok(Err("has no schema (or the role may not see it); start Synapse's main process first".to_owned()));
    }
    Ok(Ok(()))
}

async fn missing_rights(
    pool: &PgPool,
    tables: &[&str],
    columns: &[Option<&str>],
    rights: &[&str],
) -> Result<Vec<String>, StorageError> {
    let rows: Vec<(String, Option<String>, String, bool, bool)> = sqlx::query_as(
        "WITH wanted AS (
             SELECT w.relation, w.col, w.needed, to_regclass(w.relation) AS oid
             FROM unnest($1::text[], $2::text[], $3::text[]) AS w(relation, col, needed)
         ), found AS (
             SELECT w.*, w.oid IS NOT NULL AS has_table, w.oid IS NOT NULL AND (w.col IS NULL OR EXISTS (
                 SELECT FROM pg_attribute AS a
                 WHERE a.attrelid = w.oid AND a.attname = w.col AND NOT a.attisdropped)) AS exists
             FROM wanted AS w
         )
         SELECT relation, col, needed, has_table, exists FROM found
         WHERE CASE
             WHEN NOT exists THEN TRUE
             WHEN col IS NULL THEN NOT has_table_privilege(oid, needed)
             ELSE NOT has_column_privilege(oid, col, needed)
         END",
    )
    .bind(tables)
    .bind(columns)
    .bind(rights)
    .fetch_all(pool)
    .await?;
    let mut faults: Vec<String> = rows
        .into_iter()
        .map(|(table, column, right, has_table, exists)| match column {
            _ if !has_table => format!("table {table} is missing"),
            Some(column) if !exists => format!("column {table}.{column} is missing"),
            Some(column) => format!("the role lacks {right} on {table}.{column}"),
            None => format!("the role lacks {right} on {table}"),
        })
        .collect();
    faults.dedup();
    Ok(faults)
}

async fn missing_sequences(pool: &PgPool, names: &[&str], rights: &[&str]) -> Result<Vec<String>, StorageError> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT w.name, w.needed, to_regclass(w.name) IS NOT NULL
         FROM unnest($1::text[], $2::text[]) AS w(name, needed)
         WHERE NOT COALESCE((SELECT bool_and(has_sequence_privilege(to_regclass(w.name), trim(r)))
             FROM unnest(string_to_array(w.needed, ',')) AS r), FALSE)",
    )
    .bind(names)
    .bind(rights)
    .fetch_all(pool)
    .await?;
    let fault = |(name, right, exists)| {
        if exists {
            format!("the role lacks {right} on sequence {name}")
        } else {
            format!("sequence {name} is missing")
        }
    };
    Ok(rows.into_iter().map(fault).collect())
}
