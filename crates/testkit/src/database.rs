//! Scripts run in a database of the private cluster.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::find;
use crate::postgres::{Postgres, USER};

impl Postgres {
    /// The answer of one statement as text, run as the superuser.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(find("psql").context("psql is not installed")?);
        psql.args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", USER, "-d", database]);
        let output = psql.args(["-p", &self.port.to_string(), "-c", sql]).output().context("cannot start psql")?;
        ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a file with psql, as the superuser; it stops at the first error.
    pub fn run_script(&self, database: &str, script: &Path, variables: &[(&str, &str)]) -> Result<()> {
        let mut psql = Command::new(find("psql").context("psql is not installed")?);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", database]);
        psql.args(["-p", &self.port.to_string(), "-f"]).arg(script);
        for (name, value) in variables {
            psql.args(["-v", &format!("{name}={value}")]);
        }
        let output = psql.output().context("cannot start psql")?;
        ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
