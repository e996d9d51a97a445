//! Running the real binary: arguments in, exit code and output out, never without a deadline.

use super::processes;
use super::shim::Shim;
use super::wait::secs;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a recovery on a loaded machine, far below the runner's own limit.
const DEADLINE: Duration = Duration::from_secs(90);

/// A directory of its own for one test: clusters, scripts, and the user's home.
pub struct Place {
    root: TempDir,
    /// What every process of this place is started with.
    environment: Vec<(&'static str, OsString)>,
}

impl Place {
    pub fn new() -> Place {
        // Socket paths have a limit near 100 bytes, so the place is kept near the root.
        Place::beneath(Path::new("/tmp"))
    }

    /// In a directory whose file system matters: what is measured is its disk.
    pub fn beneath(dir: &Path) -> Place {
        let root = tempfile::Builder::new().prefix("segsh-e2e-").tempdir_in(dir);
        let place = Place { root: root.expect("a temporary directory"), environment: Vec::new() };
        for dir in ["home", "tmp"] {
            std::fs::create_dir(place.path().join(dir)).expect("a fresh directory takes another");
        }
        place
    }

    /// A place whose processes, and theirs, meet the faults of a shim.
    pub fn with_shim() -> (Place, Shim) {
        let mut place = Place::new();
        let shim = Shim::new(place.path());
        place.environment = shim.environment();
        (place, shim)
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file that a test gives to the binary.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a fresh directory takes a file");
        path
    }

    /// The binary in this place's environment: nothing of the user's own reaches it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segsh"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("XDG_") || name.starts_with("PG") || name.starts_with("SEGSH_") {
                command.env_remove(name.as_ref());
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.path().join("home")).env("TMPDIR", self.path().join("tmp"));
        command.current_dir(self.path());
        command
    }

    /// Runs the binary to its end, without a terminal.
    #[track_caller]
    pub fn segsh(&self, arguments: &[&str]) -> Ran {
        self.segsh_with_input(arguments, "")
    }

    #[track_caller]
    pub fn segsh_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command();
        command.args(arguments);
        run(command, input)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        processes::kill_beneath(self.path());
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Demands an exit code, and shows everything that was said when it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code of `{}`\n{}", self.what, self.output());
        self
    }

    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    /// Demands a text anywhere in the output.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(said, "`{}` does not say `{text}`\n{}", self.what, self.output());
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("`{}` does not print one JSON document: {e}\n{}", self.what, self.output()))
    }

    /// Standard output without its last line feed.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    fn output(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs any command to its end.
#[track_caller]
pub fn run(mut command: Command, input: &str) -> Ran {
    let what = shown(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("`{what}` cannot be started: {e}"));
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    // A command that reads no input may have ended already; then there is nothing to be told.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let code = wait(&mut child, &what);
    let stdout = collected(&stdout, &what);
    let stderr = collected(&stderr, &what);
    Ran { what, code, stdout, stderr }
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(name, |line, argument| format!("{line} {}", argument.to_string_lossy()))
}

#[track_caller]
fn wait(child: &mut Child, what: &str) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code().unwrap_or(-1);
        }
        if began.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("`{what}` did not end within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// The output ends with the command, or something it left behind holds it and hangs every `$(...)`.
#[track_caller]
fn collected(output: &Receiver<String>, what: &str) -> String {
    match output.recv_timeout(secs(5)) {
        Ok(text) => text,
        Err(RecvTimeoutError::Timeout) => panic!("a process that `{what}` left behind holds its output open"),
        Err(RecvTimeoutError::Disconnected) => panic!("the output of `{what}` could not be read"),
    }
}
