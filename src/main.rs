//! Arguments in, exit code out; nothing else.

use segsh::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match cli::parse(&args) {
        Ok(invocation) => cli::exit::from_script(cli::run::run(&invocation)),
        Err(error) => {
            // Help that nobody reads any more is no failure.
            let _ = error.print();
            let exit = cli::parse_exit(&error);
            if exit != cli::Exit::Done && cli::wants_document(&args) {
                cli::run::usage_document(&error.to_string());
            }
            exit.into()
        }
    }
}
