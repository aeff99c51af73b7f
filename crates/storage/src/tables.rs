//! What Myelin may touch in the database: `migrations-readonly/tables.toml`, from which come the
//! restricted role's grants and the start-up check. Synapse has no counterpart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::Deserialize;

const TOML: &str = include_str!("../../../migrations-readonly/tables.toml");

/// Parsed on first use; a test reads it, so that a fault cannot reach a release.
static LIST: LazyLock<Result<Tables, toml::de::Error>> = LazyLock::new(|| toml::from_str(TOML));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    pub table: BTreeMap<String, Table>,
    pub sequence: BTreeMap<String, Sequence>,
}

/// One table and what is done with it. Every field that names columns names them all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub reason: String,
    /// Lives in the data store `state`.
    #[serde(default)]
    pub state: bool,
    #[serde(default)]
    pub read: Vec<String>,
    #[serde(default)]
    pub insert: Vec<String>,
    #[serde(default)]
    pub update: Vec<String>,
    #[serde(default)]
    pub delete: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    pub reason: String,
    /// `SELECT` to look at it, `USAGE` to take numbers, or both with a comma between them.
    pub right: String,
}

/// The list, or what is wrong with it.
pub fn tables() -> Result<&'static Tables, String> {
    LIST.as_ref().map_err(ToString::to_string)
}

impl Table {
    /// (right, columns) for each right on columns.
    pub fn column_rights(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let rights = [("SELECT", &self.read), ("INSERT", &self.insert), ("UPDATE", &self.update)];
        rights.into_iter().map(|(right, columns)| (right, columns.as_slice())).filter(|(_, list)| !list.is_empty())
    }
}

impl Tables {
    /// `migrations-readonly/role.sql`: a role that can do what Myelin does, and nothing else.
    pub fn role_sql(&self) -> String {
        let mut sql = String::from(
            "-- Generated from tables.toml; do not edit.\n\
             -- Run as the owner of Synapse's database: psql -d synapse -v role=myelin -f role.sql\n\
             -- With `databases` split, run it in each: tables of the other database are skipped.\n\
             \\if :{?role}\n\\else\n\\set role myelin\n\\endif\n\
             SELECT format('CREATE ROLE %I LOGIN', :'role')\n\
             \x20   WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec\n\
             GRANT USAGE ON SCHEMA public TO :\"role\";\n",
        );
        for (name, table) in &self.table {
            for (right, columns) in table.column_rights() {
                grant(&mut sql, name, &format!("{right} ({}) ON {name}", columns.join(", ")));
            }
            if table.delete {
                grant(&mut sql, name, &format!("DELETE ON {name}"));
            }
        }
        for (name, sequence) in &self.sequence {
            grant(&mut sql, name, &format!("{} ON SEQUENCE {name}", sequence.right));
        }
        sql
    }
}

fn grant(sql: &mut String, relation: &str, right: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        sql,
        "SELECT format('GRANT {right} TO %I', :'role') WHERE to_regclass('{relation}') IS NOT NULL \\gexec"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_sql_is_what_tables_toml_generates() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations-readonly/role.sql");
        let wanted = tables().unwrap().role_sql();
        if std::env::var_os("MYELIN_WRITE_ROLE_SQL").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == wanted, "role.sql is stale: run this test with MYELIN_WRITE_ROLE_SQL=1");
    }

    #[test]
    fn every_entry_has_a_use_and_a_reason() {
        for (name, table) in &tables().unwrap().table {
            assert!(table.delete || table.column_rights().next().is_some(), "{name} is not used");
            assert!(table.reason.len() > 5, "{name} has no reason");
        }
    }
}
