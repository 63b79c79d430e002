//! The `portway` program: see [`portway::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    portway::cli::main()
}
