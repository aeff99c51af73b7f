//! A private Redis that keeps nothing on disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packages::find;
use crate::process::{Service, accepts, free_port};

pub struct Redis {
    pub port: u16,
    folder: PathBuf,
    service: Service,
}

impl Redis {
    pub fn start(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { port, folder: folder.to_owned(), service: serve(folder, port)? })
    }

    /// Ends it and starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.service.end()?;
        self.service = serve(&self.folder, self.port)?;
        Ok(())
    }
}

fn serve(folder: &Path, port: u16) -> Result<Service> {
    let mut command = Command::new(find("redis-server").context("redis-server is not installed")?);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    command.arg(folder);
    let mut service = Service::start("redis", folder, command)?;
    service.wait_until(Duration::from_secs(10), || accepts(port))?;
    Ok(service)
}
