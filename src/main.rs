//! Arguments in, exit code out.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["host", "--dir", dir] => {
            run(async { segsh::hosts::run_agent(Path::new(dir)).await.map_err(|e| e.to_string()) })
        }
        ["demo-keeper", "--dir", dir] => {
            run(async { segsh::cluster_dir::run_keeper(Path::new(dir)).await.map_err(|e| e.to_string()) })
        }
        _ => Err("usage: segsh host --dir DIR | segsh demo-keeper --dir DIR".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
    log.init();
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?.block_on(work)
}
