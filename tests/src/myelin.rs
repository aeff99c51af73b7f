//! A Myelin that can be killed and started again on its port.

use anyhow::{Result, ensure};
use myelin_testkit::process::{Service, free_port};
use myelin_testkit::synapse::Synapse;

use crate::{client_and_metrics, command};

pub struct Myelin {
    pub port: u16,
    name: String,
    yaml: String,
    environment: Vec<(String, String)>,
    pub service: Service,
}

impl Myelin {
    /// With the role of `migrations-readonly`, and ways to Redis and Postgres that may lead over relays.
    pub fn start(synapse: &Synapse, name: &str, redis: u16, postgres: u16) -> Result<Self> {
        Self::start_in(synapse, name, redis, postgres, Vec::new())
    }

    /// The same with variables of the environment.
    pub fn start_in(
        synapse: &Synapse,
        name: &str,
        redis: u16,
        postgres: u16,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let (port, database) = (free_port()?, synapse.myelin_yaml(postgres)?);
        let redis = format!("redis: {{enabled: true, host: 127.0.0.1, port: {redis}}}\n");
        let yaml = database + &redis + &client_and_metrics(port);
        let service = serve(synapse, name, port, &yaml, &environment)?;
        Ok(Self { port, name: name.to_owned(), yaml, environment, service })
    }

    /// As it was, on the same port.
    pub fn start_again(&mut self, synapse: &Synapse) -> Result<()> {
        self.service = serve(synapse, &self.name, self.port, &self.yaml, &self.environment)?;
        Ok(())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.service.signal(rustix::process::Signal::KILL)?;
        // Its code is none: a signal ended it.
        ensure!(self.service.end().is_ok_and(|code| code.is_none()), "it lives");
        Ok(())
    }

    /// SIGTERM; it must end with code 0.
    pub fn end(&mut self) -> Result<()> {
        ensure!(self.service.end()? == Some(0), "{}", self.service.log());
        Ok(())
    }
}

fn serve(synapse: &Synapse, name: &str, port: u16, yaml: &str, environment: &[(String, String)]) -> Result<Service> {
    let mut command = command(synapse, name, port, yaml)?;
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(synapse.start_worker(name, port, command)?.1)
}
