//! A reverse proxy that runs: nginx or haproxy.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packages::find;
use crate::process::{Service, accepts};

const STARTS: Duration = Duration::from_secs(10);

pub struct Proxy {
    /// The first one that it listens on.
    pub port: u16,
    _service: Service,
}

impl Proxy {
    /// Runs `program` with what it writes, `configuration` among it, in the new folder `name.d`. `arguments` are
    /// given that folder and the configuration's path.
    pub(crate) fn start(
        program: &str,
        folder: &Path,
        name: &str,
        ports: &[u16],
        configuration: &str,
        arguments: impl FnOnce(&mut Command, &Path, &Path),
    ) -> Result<Self> {
        let own = folder.join(format!("{name}.d"));
        std::fs::create_dir(&own)?;
        let path = own.join(format!("{program}.conf"));
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(find(program).with_context(|| format!("{program} is not installed"))?);
        arguments(&mut command, &own, &path);
        let mut service = Service::start(name, folder, command)?;
        service.wait_until(STARTS, || ports.iter().all(|port| accepts(*port)))?;
        Ok(Self { port: ports.first().copied().context("no port")?, _service: service })
    }
}
