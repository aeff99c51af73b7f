//! The command line of a Synapse worker. Answers to `RootConfig.load_config` in `synapse/config/_base.py`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A drop-in for `python -m synapse.app.generic_worker`.
#[derive(Debug, Parser)]
#[command(name = "myelin", version, infer_long_args = true)]
pub struct Cli {
    /// A configuration file, or a folder of *.yaml files; later ones replace keys of earlier ones.
    #[arg(short = 'c', long = "config-path", value_name = "PATH")]
    pub config_paths: Vec<PathBuf>,

    /// Accepted for Synapse's sake; no keys are generated.
    #[arg(long, value_name = "PATH", hide = true)]
    pub keys_directory: Option<PathBuf>,

    /// Accepted for Synapse's sake.
    #[arg(long, hide = true)]
    pub no_secrets_in_config: bool,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Print the table of routes and exit.
    Routes {
        #[arg(long, value_enum, default_value_t = Format::Plain)]
        format: Format,
    },
}

/// For whom the table is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Plain,
    Nginx,
    Haproxy,
    Markdown,
}

/// Arguments without what names the Python module of a worker: container images and units call
/// `run -m synapse.app.generic_worker -c …` or `-m synapse.app.generic_worker -c …`. The main process's stays, and is refused.
pub fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.into_iter();
    let mut kept: Vec<OsString> = given.next().into_iter().collect();
    let mut rest = given.peekable();
    if rest.peek().is_some_and(|first| first == "run") {
        rest.next();
    }
    while let Some(argument) = rest.next() {
        if argument == "-m" && rest.peek().is_some_and(names_a_worker) {
            rest.next();
        } else {
            kept.push(argument);
        }
    }
    kept
}

fn names_a_worker(module: &OsString) -> bool {
    let module = module.to_string_lossy();
    module.starts_with("synapse.app.") && module != "synapse.app.homeserver"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::parse_from(arguments(line.split(' ').map(OsString::from)))
    }

    #[test]
    fn the_forms_that_units_and_images_use() {
        for line in [
            "myelin -c a.yaml -c b.yaml",
            "myelin run -m synapse.app.generic_worker -c a.yaml --config-path b.yaml",
            "myelin -m synapse.app.synchrotron --config-path=a.yaml --config-path=b.yaml",
            "myelin --config a.yaml --conf=b.yaml",
        ] {
            assert_eq!(parse(line).config_paths, [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")], "{line}");
        }
        assert!(
            Cli::try_parse_from(arguments(["myelin", "-m", "synapse.app.homeserver"].map(OsString::from))).is_err()
        );
        assert!(matches!(parse("myelin routes").command, Some(Command::Routes { .. })));
    }
}
