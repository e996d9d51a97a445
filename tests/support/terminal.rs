//! A command in a pseudo-terminal, as a person has it.

use super::cluster::Cluster;
use expectrl::process::unix::{PtyStream, UnixProcess, WaitStatus};
use expectrl::{Eof, Expect, Session};
use std::process::Command;
use std::time::Duration;

pub struct Terminal {
    session: Session<UnixProcess, PtyStream>,
}

impl Terminal {
    /// Starts a command in a terminal of its own, 80 columns wide, that keeps colours to itself.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Terminal {
        command.env("NO_COLOR", "1");
        Terminal::spawn_in_colour(command)
    }

    /// As [`Terminal::spawn`], without a word about colours.
    #[track_caller]
    pub fn spawn_in_colour(mut command: Command) -> Terminal {
        command.env("TERM", "xterm").env("COLUMNS", "80");
        let mut session = Session::spawn(command).expect("a pseudo-terminal can be opened");
        session.get_process_mut().set_window_size(80, 24).expect("a terminal has a size");
        session.set_expect_timeout(Some(Duration::from_secs(60)));
        Terminal { session }
    }

    /// The prompt of a cluster, as a person has it.
    #[track_caller]
    pub fn prompt_of(cluster: &Cluster) -> Terminal {
        let mut command = cluster.place().command();
        command.arg("-c").arg(cluster.dir());
        let mut terminal = Terminal::spawn(command);
        terminal.expect("help() for help");
        terminal.expect("> ");
        terminal
    }

    /// How the command ended, after [`Terminal::expect_end`].
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        match self.session.get_process().wait() {
            Ok(WaitStatus::Exited(_, code)) => code,
            other => panic!("the command did not end by itself: {other:?}"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.session.get_process().pid().as_raw().unsigned_abs()
    }

    /// Waits for a text; returns everything before it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        match self.session.expect(text) {
            Ok(found) => String::from_utf8_lossy(found.before()).into_owned(),
            Err(e) => panic!("waited in vain for `{text}` on the terminal: {e}\n{}", self.seen()),
        }
    }

    /// Types keys, and no Enter behind them.
    #[track_caller]
    pub fn keys(&mut self, keys: &str) {
        self.session.send(keys).unwrap_or_else(|e| panic!("the terminal takes no `{keys}`: {e}"));
    }

    /// Waits until the prompt takes keys again: what is typed before may be flushed. Only the prompt turns
    /// bracketed paste on.
    #[track_caller]
    pub fn expect_prompt(&mut self) {
        self.expect("\x1b[?2004h");
    }

    /// Presses Ctrl-C at the prompt or in what runs, and waits for the prompt that follows.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.keys("\x03");
        self.expect_prompt();
    }

    /// Types a line and waits for what only its evaluation can say.
    #[track_caller]
    pub fn answers(&mut self, line: &str, text: &str) -> String {
        self.type_line(line);
        self.expect(text)
    }

    /// Makes the window another size, as a person does with a mouse.
    #[track_caller]
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.session.get_process_mut().set_window_size(columns, rows).expect("a terminal has a size");
    }

    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.session.send_line(line).unwrap_or_else(|e| panic!("the terminal takes no `{line}`: {e}"));
    }

    /// Waits until the command has closed its terminal.
    #[track_caller]
    pub fn expect_end(&mut self) -> String {
        match self.session.expect(Eof) {
            Ok(found) => String::from_utf8_lossy(found.as_bytes()).into_owned(),
            Err(e) => panic!("the command does not end: {e}\n{}", self.seen()),
        }
    }

    fn seen(&mut self) -> String {
        let mut bytes = [0; 4096];
        let n = self.session.try_read(&mut bytes).unwrap_or(0);
        format!("--- unread on the terminal\n{}", String::from_utf8_lossy(&bytes[..n]))
    }
}
