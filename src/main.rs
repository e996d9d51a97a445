//! Arguments in, exit code out; nothing else.

use segsh::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(invocation) => cli::exit::from_script(cli::run::run(&invocation)),
        Err(error) => {
            // Help that nobody reads any more is no failure.
            let _ = error.print();
            cli::parse_exit(&error).into()
        }
    }
}
