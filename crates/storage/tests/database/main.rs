//! Storage on a database made by the real Synapse, as the restricted role of `migrations-readonly/`.

mod catch_up;
mod sections;
mod sql;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use myelin_storage::Storage;
use myelin_testkit::synapse::Synapse;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

const ROLE: &str = "myelin_test";

/// A running Synapse whose database has the role.
struct Fixture {
    synapse: Synapse,
    config: myelin_config::Config,
}

fn fixture(folder: &Path) -> Result<Fixture> {
    let synapse = Synapse::start(folder, "")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations-readonly/role.sql");
    synapse.postgres.run_script("synapse", Path::new(script), &[("role", ROLE)])?;
    let worker = synapse.worker_config("w1", 1, "")?;
    let config = config(&[synapse.config(), worker, database_yaml(&synapse, folder, "synapse", "")?])?;
    Ok(Fixture { synapse, config })
}

fn config(paths: &[PathBuf]) -> Result<myelin_config::Config> {
    Ok(myelin_config::load(paths)?)
}

/// Replaces the `database` of homeserver.yaml.
fn database_yaml(synapse: &Synapse, folder: &Path, name: &str, extra: &str) -> Result<PathBuf> {
    let path = folder.join(format!("database-{name}.yaml"));
    let args = format!("user: {ROLE}, dbname: {name}, host: 127.0.0.1, port: {}", synapse.postgres.port);
    std::fs::write(&path, format!("database: {{name: psycopg2, {extra} args: {{{args}, cp_min: 1, cp_max: 5}}}}\n"))?;
    Ok(path)
}

impl Fixture {
    fn options(&self, user: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.synapse.postgres.port);
        options.username(user).database("synapse")
    }
}

/// One test: the services are started once.
#[tokio::test]
async fn a_real_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fixture = fixture(folder.path())?;
    every_statement_runs_as_the_role(&fixture).await?;
    let storage = Storage::connect(&fixture.config).await?;
    positions(&fixture, &storage).await?;
    catch_up::catch_up(&fixture, &storage).await?;
    sections::sections(&fixture, &storage).await?;
    storage.close().await;
    Ok(())
}

/// Postgres plans each statement, which checks names, types and rights, but does not run it.
async fn every_statement_runs_as_the_role(fixture: &Fixture) -> Result<()> {
    let statements = sql::statements(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))?;
    ensure!(statements.len() > 10, "only {} statements were found", statements.len());
    let mut connection = PgConnection::connect_with(&fixture.options(ROLE)).await?;
    let mut faults = Vec::new();
    for statement in &statements {
        if let Err(error) = plan(&mut connection, &statement.sql).await {
            faults.push(format!("{}: {error}\n{}", statement.place, statement.sql));
        }
    }
    ensure!(faults.is_empty(), "{} of {} statements fail:\n{}", faults.len(), statements.len(), faults.join("\n\n"));
    Ok(())
}

async fn plan(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE s AS {sql}"))).execute(&mut *connection).await?;
    let count = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 's'";
    let (parameters,): (i32,) = sqlx::query_as(count).fetch_one(&mut *connection).await?;
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap_or_default()].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("EXPLAIN EXECUTE s{arguments}");
    let result = sqlx::raw_sql(AssertSqlSafe(explain)).execute(&mut *connection).await;
    sqlx::raw_sql("DEALLOCATE s").execute(connection).await?;
    result.map(drop)
}

async fn positions(fixture: &Fixture, storage: &Storage) -> Result<()> {
    let initial = storage.initial_positions(&fixture.config.worker.stream_writers).await?;
    for (stream, position) in &initial.streams {
        ensure!(position.persisted_upto >= 1, "{stream:?} stands at {}", position.persisted_upto);
        ensure!(storage.last_allocated(*stream).await?.context("no sequence")? >= 0);
    }
    Ok(())
}
