//! The whole table, asked of both workers; see `myelin_compliance::run`.

fn main() -> std::process::ExitCode {
    myelin_compliance::run::main()
}
