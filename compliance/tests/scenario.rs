//! Random scenarios, asked of both workers after every step; see `myelin_compliance::scenario`.

fn main() -> std::process::ExitCode {
    myelin_compliance::scenario::main()
}
