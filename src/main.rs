//! Hands the command line to [`remuda::cli`] and returns its exit code; nothing else.

fn main() -> std::process::ExitCode {
    remuda::cli::main()
}
