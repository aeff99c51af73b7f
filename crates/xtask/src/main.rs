//! `cargo xtask`: the project's own commands.

mod bench;
mod demo;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Myelin's own commands")]
enum Command {
    /// Start a homeserver with Myelin in front of it, and show it working.
    Demo {
        /// Check the answers, stop everything and exit.
        #[arg(long)]
        once: bool,
    },
    /// Measure a Python worker and Myelin on one database.
    Bench(bench::Options),
    /// Format, lints, structure and every test: what CI runs.
    Test,
    /// Check file headers, file lengths and which room may depend on what.
    Tidy,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Demo { once } => demo::run(once),
        Command::Bench(options) => bench::run(&options),
        Command::Test => test::run(),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
