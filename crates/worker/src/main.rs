//! The worker: reads the configuration, opens the listeners, serves until told to stop.
//! Answers to `synapse/app/generic_worker.py` and `synapse/app/_base.py`.

mod cli;
mod limits;
mod listen;
mod logging;
mod metrics;
mod write_timeout;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use myelin_config::{Bind, Config, ListenerKind};
use myelin_follower::Follower;
use myelin_handlers::Handlers;
use myelin_replication::Client;
use myelin_rest::routes::Mounts;
use myelin_rest::routes::print::{Style, print};
use myelin_rest::{App, metrics_router, router};
use myelin_storage::Storage;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{Cli, Command, Format};
use crate::logging::Logging;

/// Answers of megabytes, and the thousands of small parts that they are made of: glibc's takes up to twice the time.
/// Without huge pages (`no_thp`): they take 20 MB more at start, and zeroing them was a seventh of the time in which
/// 1,000 waiters were answered.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests under way have this long; `listen` cuts connections a little earlier.
const SHUTDOWN: Duration = Duration::from_secs(35);
/// Statements that nobody waits for any more.
const CLOSING: Duration = Duration::from_secs(2);

/// Everything that can be wrong with the configuration is found before the runtime starts.
fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::arguments(std::env::args_os()));
    if let Some(Command::Routes { format }) = cli.command {
        print!("{}", print(style(format)));
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

fn style(format: Format) -> Style {
    match format {
        Format::Plain => Style::Plain,
        Format::Nginx => Style::Nginx,
        Format::Haproxy => Style::Haproxy,
        Format::Markdown => Style::Markdown,
    }
}

fn start(cli: &Cli) -> Result<()> {
    anyhow::ensure!(!cli.config_paths.is_empty(), "no configuration given: myelin -c homeserver.yaml -c worker.yaml");
    let config = myelin_config::load(&cli.config_paths)?;
    let logging = logging::init(config.worker.log_config.as_deref())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    limits::raise_open_files(config.server.soft_file_limit);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(run(&Arc::new(config), &logging))
}

async fn run(config: &Arc<Config>, logging: &Logging) -> Result<()> {
    let storage = Storage::connect(config).await?;
    let (writer, live) = myelin_live::new(storage.initial_positions(&config.worker.stream_writers).await?);
    let stop = CancellationToken::new();
    let (incoming, commands) = myelin_replication::connect(config, stop.clone())?;
    let http = Client::new(config);
    let follower =
        Follower::start(Arc::clone(config), writer, storage.clone(), http.clone(), commands.clone(), stop.clone())
            .await?;
    let stats = follower.stats();
    let handlers = Arc::new(Handlers::new(Arc::clone(config), storage.clone(), live.clone(), http, commands.clone()));
    let app = Arc::new(App::new(config, Arc::clone(&handlers))?);
    metrics::register(&app.metrics, &storage, &live, Arc::clone(&handlers), stats, commands)?;
    warn_of_gaps(config, &app);
    // Who is reached may be told to stop or to read its log configuration again.
    let signals = Signals::catch()?;
    // Listeners are bound before anything else is spawned: a port in use ends the start.
    let tasks = TaskTracker::new();
    listen_everywhere(config, &app, &tasks, &stop).await?;
    tasks.spawn(follower.run(incoming));
    tasks.spawn({
        let stop = stop.clone();
        async move { handlers.tell_others(stop).await }
    });
    tasks.close();
    if let Some(path) = &config.worker.pid_file {
        std::fs::write(path, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    notify(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
    signals.until_told_to_stop(config, logging).await;
    notify(&[NotifyState::Stopping]);
    // No new connections; the follower ends, and with it every long-poll.
    stop.cancel();
    if tokio::time::timeout(SHUTDOWN, tasks.wait()).await.is_err() {
        tracing::warn!("not everything ended within {} s", SHUTDOWN.as_secs());
    }
    if let Some(path) = &config.worker.pid_file
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
    if tokio::time::timeout(CLOSING, storage.close()).await.is_err() {
        tracing::debug!("statements were still running");
    }
    Ok(())
}

/// Binds each listener of the configuration and serves it.
async fn listen_everywhere(
    config: &Config,
    app: &Arc<App>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<()> {
    for listener in &config.worker.listeners {
        let router = match listener.kind {
            ListenerKind::Http => router(Arc::clone(app), listener),
            ListenerKind::Metrics if config.server.enable_metrics => metrics_router(Arc::clone(app)),
            ListenerKind::Metrics => {
                tracing::warn!("a metrics listener is configured, but enable_metrics is not set: it stays closed");
                continue;
            }
        };
        for socket in listen::bind(&listener.bind).await? {
            tasks.spawn(listen::serve(socket, router.clone(), stop.clone()));
        }
        let place = match &listener.bind {
            Bind::Tcp { port, .. } => format!("port {port}"),
            Bind::Unix { path, .. } => path.display().to_string(),
        };
        tracing::info!("listening on {place}");
    }
    Ok(())
}

/// What this worker will not answer itself.
fn warn_of_gaps(config: &Config, app: &App) {
    if app.has_modules {
        let modules = config.server.modules.join(", ");
        tracing::warn!(
            "modules are configured ({modules}) and cannot run here: routes whose answers a module can change \
             go to the fallback"
        );
    }
    if config.worker.fallback.is_none() {
        let mounts: Vec<_> = config.worker.listeners.iter().map(|listener| Mounts::new(&listener.resources)).collect();
        let routes = app.passed_on(&mounts);
        tracing::warn!(
            "no fallback is configured (myelin: {{fallback: …}}); {} routes are not served: {}",
            routes.len(),
            routes.join(", ")
        );
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { hangup, terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// SIGINT and SIGTERM end the process; SIGHUP reads the log levels again.
    async fn until_told_to_stop(mut self, config: &Config, logging: &Logging) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    notify(&[NotifyState::Reloading]);
                    logging.reload(config.worker.log_config.as_deref());
                    notify(&[NotifyState::Ready]);
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}

/// Tells systemd, if it started us.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("sd_notify: {error}");
    }
}
