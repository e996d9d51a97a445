//! Stand-ins for segments in tests: shell scripts that take the lock of a directory.

use super::launch::Launch;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A program that stands in for `segsh segment --datadir DIR`.
pub fn segment_program() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in/program.sh").into()
}

/// A process that holds the lock of `dir`.
pub fn hold(dir: &Path) -> Child {
    let mut child =
        Command::new(segment_program()).args(["segment", "--datadir"]).arg(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// A script to be launched, with its log in `dir`.
pub fn shell(dir: &Path, script: &str) -> Launch {
    Launch {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        log: dir.join("child.log"),
        within: Duration::from_secs(10),
    }
}
