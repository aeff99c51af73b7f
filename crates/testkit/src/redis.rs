//! A private Redis that keeps nothing on disk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packages::find;
use crate::process::{Service, accepts, free_port};

pub struct Redis {
    pub port: u16,
    _service: Service,
}

impl Redis {
    pub fn start(folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(find("redis-server").context("redis-server is not installed")?);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(folder);
        let mut service = Service::start("redis", folder, command)?;
        service.wait_until(Duration::from_secs(10), || accepts(port))?;
        Ok(Self { port, _service: service })
    }
}
