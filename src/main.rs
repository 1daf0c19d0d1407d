//! The `modelway` binary.

fn main() -> std::process::ExitCode {
    modelway::cli::main()
}
