//! The worker: reads the configuration, opens the listeners, serves until told to stop.
//! Answers to `synapse/app/generic_worker.py` and `synapse/app/_base.py`.

mod cli;
mod listen;
mod logging;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use myelin_config::{Bind, Config, ListenerKind};
use myelin_rest::{App, metrics_router, router, routes};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{Cli, Command};
use crate::logging::Logging;

/// Everything that can be wrong with the configuration is found before the runtime starts.
fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::arguments(std::env::args_os()));
    if let Some(Command::Routes) = cli.command {
        print_routes();
        return ExitCode::SUCCESS;
    }
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error in configuration or at start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_routes() {
    for route in routes::all() {
        println!("{:<16} {:<90} {}", route.methods, route.pattern, route.servlet);
    }
}

fn start(cli: &Cli) -> Result<()> {
    anyhow::ensure!(!cli.config_paths.is_empty(), "no configuration given: myelin -c homeserver.yaml -c worker.yaml");
    let config = myelin_config::load(&cli.config_paths)?;
    let logging = logging::init(config.worker.log_config.as_deref())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.worker.fallback.is_none() {
        tracing::warn!("no fallback is configured (myelin: {{fallback: …}}): only /health is served, all else is 404");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(run(&config, &logging))
}

async fn run(config: &Config, logging: &Logging) -> Result<()> {
    let app = Arc::new(App::new(config)?);
    let stop = CancellationToken::new();
    let listeners = TaskTracker::new();
    for listener in &config.worker.listeners {
        let router = match listener.kind {
            ListenerKind::Http => router(Arc::clone(&app), listener),
            ListenerKind::Metrics if config.server.enable_metrics => metrics_router(Arc::clone(&app)),
            ListenerKind::Metrics => {
                tracing::warn!("a metrics listener is configured, but enable_metrics is not set: it stays closed");
                continue;
            }
        };
        for socket in listen::bind(&listener.bind).await? {
            listeners.spawn(listen::serve(socket, router.clone(), stop.clone()));
        }
        let place = match &listener.bind {
            Bind::Tcp { port, .. } => format!("port {port}"),
            Bind::Unix { path, .. } => path.display().to_string(),
        };
        tracing::info!("listening on {place}");
    }
    listeners.close();
    if let Some(path) = &config.worker.pid_file {
        std::fs::write(path, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    notify(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
    until_told_to_stop(config, logging).await?;
    notify(&[NotifyState::Stopping]);
    stop.cancel();
    listeners.wait().await;
    Ok(())
}

/// SIGINT and SIGTERM end the process; SIGHUP reads the log levels again.
async fn until_told_to_stop(config: &Config, logging: &Logging) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify(&[NotifyState::Reloading]);
                logging.reload(config.worker.log_config.as_deref());
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// Tells systemd, if it started us.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("sd_notify: {error}");
    }
}
