//! Running a program and timing it, never without a deadline.

use crate::support::processes;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Beyond it something hangs: the largest copy of a slow disk ends before.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// How a program ended that ended well.
pub struct Ended {
    pub seconds: f64,
    pub stdout: String,
}

/// Runs it to its end; anything but success is a failure of the whole line, with what it said.
#[track_caller]
pub fn run(mut command: Command) -> Ended {
    let what = format!("{command:?}");
    let output = || tempfile::tempfile().expect("a temporary file");
    let (mut stdout, mut stderr) = (output(), output());
    let copy = |file: &File| Stdio::from(file.try_clone().expect("a file can be shared"));
    command.stdin(Stdio::null()).stdout(copy(&stdout)).stderr(copy(&stderr));
    let began = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
    let pid = child.id();
    // Another thread waits for it, and looks at the clock first: what lasts milliseconds is not measured in
    // the pauses of a loop.
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let status = child.wait();
        let _ = ended.send((began.elapsed(), status));
    });
    let Ok((took, status)) = end.recv_timeout(PATIENCE) else {
        processes::kill(pid);
        panic!("{what} did not end within {PATIENCE:?}");
    };
    let (seconds, status) = (took.as_secs_f64(), status.expect("a child can be waited for"));
    let stdout = text(&mut stdout);
    assert!(status.success(), "{what}: {status}\n{stdout}{}", text(&mut stderr));
    Ended { seconds, stdout }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The seconds that something takes.
pub fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}
