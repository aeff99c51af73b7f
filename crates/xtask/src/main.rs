//! `cargo xtask`: the project's own commands.

mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Myelin's own commands")]
enum Command {
    /// Format, lints, structure and every test: what CI runs.
    Test,
    /// Check file headers, file lengths and which room may depend on what.
    Tidy,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
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
