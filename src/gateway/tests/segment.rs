//! A scripted PostgreSQL server: what it does with a statement stands in the statement's text.
//!
//! `die` closes the connection, `violate` says that the client broke the protocol and closes, `hang` answers
//! only once it is cancelled or released, `drain` says 40001 and closes, `leave` says 57P01 and closes,
//! `rows N` gives N rows of a kilobyte, `fail` is an error, `copy` takes data, `expire CODE` ends the session
//! with a fatal error after its answer.

use crate::gateway::frame::{Frame, FrameStream, take_cstr};
use crate::gateway::message;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone)]
pub(super) struct Segment {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// Every statement that was executed, in order.
    executed: watch::Sender<Vec<String>>,
    /// Rises with each cancel request that fits, and with `release`.
    released: watch::Sender<(u64, bool)>,
    alive: watch::Sender<bool>,
    startups: Mutex<Vec<String>>,
}

impl Segment {
    pub async fn start() -> Segment {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let segment = Segment {
            port: listener.local_addr().expect("an address").port(),
            state: Arc::new(State {
                executed: watch::Sender::default(),
                released: watch::Sender::default(),
                alive: watch::Sender::new(true),
                startups: Mutex::default(),
            }),
        };
        let serving = segment.clone();
        tokio::spawn(async move {
            let mut alive = serving.state.alive.subscribe();
            loop {
                tokio::select! {
                    _ = alive.wait_for(|a| !a) => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => serving.serve(stream),
                        Err(_) => return,
                    },
                }
            }
        });
        segment
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            let mut alive = state.alive.subscribe();
            let mut talk = Talk::new(stream, Arc::clone(&state));
            tokio::select! {
                _ = alive.wait_for(|a| !a) => {}
                _ = talk.run() => {}
            }
        });
    }

    /// Closes every connection and the port, as a killed process does.
    pub fn kill(&self) {
        self.state.alive.send_replace(false);
    }

    /// Lets what hangs go on.
    pub fn release(&self) {
        self.state.released.send_modify(|r| *r = (r.0 + 1, false));
    }

    pub fn executed(&self) -> Vec<String> {
        self.state.executed.borrow().clone()
    }

    pub fn startups(&self) -> Vec<String> {
        self.state.startups.lock().expect("not poisoned").clone()
    }

    /// Waits until a statement with this text has arrived.
    pub async fn has_got(&self, text: &str) {
        let mut executed = self.state.executed.subscribe();
        executed.wait_for(|all| all.iter().any(|t| t.contains(text))).await.expect("the state lives");
    }
}

/// The key that every session gets; a cancel request must bring it.
const KEY: (u32, [u8; 4]) = (4711, [1, 2, 3, 4]);

struct Closed;

struct Talk<S> {
    stream: FrameStream<S>,
    state: Arc<State>,
    status: u8,
    prepared: HashMap<Bytes, Bytes>,
    portals: HashMap<Bytes, Bytes>,
    settings: HashMap<String, String>,
    skipping: bool,
    out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S, state: Arc<State>) -> Talk<S> {
        Talk {
            stream: FrameStream::new(stream),
            state,
            status: b'I',
            prepared: HashMap::new(),
            portals: HashMap::new(),
            settings: HashMap::new(),
            skipping: false,
            out: BytesMut::new(),
        }
    }

    async fn run(&mut self) -> Option<()> {
        let packet = self.stream.next_startup().await.ok()??;
        if packet[..4] == message::CANCEL_REQUEST.to_be_bytes() {
            if packet[4..8] == KEY.0.to_be_bytes() && packet[8..] == KEY.1 {
                self.state.released.send_modify(|r| *r = (r.0 + 1, true));
            }
            return None;
        }
        let startup = String::from_utf8_lossy(&packet[4..]).replace('\0', " ");
        self.state.startups.lock().ok()?.push(startup);
        message::authentication_ok(&mut self.out);
        message::parameter(&mut self.out, "server_version", "15.1 (test)");
        message::key_data(&mut self.out, KEY.0, &KEY.1);
        message::ready(&mut self.out, b'I');
        self.flush().await?;
        while let Some(frame) = self.stream.next().await.ok()? {
            if self.take(frame).await.is_err() {
                self.flush().await?;
                return None;
            }
            self.flush().await?;
        }
        None
    }

    async fn flush(&mut self) -> Option<()> {
        self.stream.write(&self.out).await.ok()?;
        self.out.clear();
        Some(())
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Closed> {
        let mut body = frame.body();
        if self.skipping && frame.tag() != b'S' {
            return Ok(());
        }
        let mut text = || take_cstr(&mut body).unwrap_or_default();
        match frame.tag() {
            b'Q' => {
                let text = String::from_utf8_lossy(&text()).into_owned();
                for statement in text.split(';').filter(|s| !s.trim().is_empty()) {
                    if !self.execute(statement.trim(), true).await? {
                        break;
                    }
                }
                message::ready(&mut self.out, self.status);
                if text.contains("expire") {
                    self.last_words(&text);
                    return Err(Closed);
                }
            }
            b'P' => {
                let (name, text) = (text(), text());
                self.prepared.insert(name, text);
                message::put(&mut self.out, b'1', |_| {});
            }
            b'B' => {
                let (portal, statement) = (text(), text());
                match self.prepared.get(&statement) {
                    Some(text) => {
                        self.portals.insert(portal, text.clone());
                        message::put(&mut self.out, b'2', |_| {});
                    }
                    None => self.error("26000", "no such prepared statement"),
                }
            }
            b'D' => self.describe(&frame.body()),
            b'E' => {
                let text = self.portals.get(&text()).cloned().unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                self.execute(&text, false).await?;
            }
            b'C' => message::put(&mut self.out, b'3', |_| {}),
            b'S' => {
                self.skipping = false;
                message::ready(&mut self.out, self.status);
            }
            b'X' => return Err(Closed),
            _ => {}
        }
        if !matches!(frame.tag(), b'Q' | b'S') && self.out.first() == Some(&b'E') {
            self.skipping = true;
        }
        Ok(())
    }

    /// A fatal error that nobody asked for; its SQLSTATE is the statement's last word.
    fn last_words(&mut self, text: &str) {
        let code = text.split_whitespace().last().unwrap_or_default();
        message::put(&mut self.out, b'E', |b| {
            for (field, value) in [(b'S', "FATAL"), (b'C', code), (b'M', "enough")] {
                b.put_u8(field);
                message::put_cstr(b, value);
            }
            b.put_u8(0);
        });
    }

    fn describe(&mut self, body: &Bytes) {
        let mut name = body.slice(1..);
        let name = take_cstr(&mut name).unwrap_or_default();
        let text = if body[0] == b'S' {
            message::put(&mut self.out, b't', |b| b.put_u16(0));
            self.prepared.get(&name).cloned()
        } else {
            self.portals.get(&name).cloned()
        };
        if text.is_some_and(|t| t.starts_with(b"select")) {
            self.row_description();
        } else {
            message::put(&mut self.out, b'n', |_| {});
        }
    }

    fn row_description(&mut self) {
        message::put(&mut self.out, b'T', |b| {
            b.put_u16(1);
            message::put_cstr(b, "v");
            b.put_u32(0);
            b.put_u16(0);
            b.put_u32(25);
            b.put_i16(-1);
            b.put_i32(-1);
            b.put_u16(0);
        });
    }

    fn row(&mut self, value: &str) {
        message::put(&mut self.out, b'D', |b| {
            b.put_u16(1);
            b.put_u32(value.len() as u32);
            b.put_slice(value.as_bytes());
        });
    }

    fn error(&mut self, code: &str, text: &str) {
        message::put(&mut self.out, b'E', |b| {
            for (field, value) in [(b'S', "ERROR"), (b'C', code), (b'M', text)] {
                b.put_u8(field);
                message::put_cstr(b, value);
            }
            b.put_u8(0);
        });
        if self.status == b'T' {
            self.status = b'E';
        }
    }

    /// False when it failed.
    async fn execute(&mut self, text: &str, simple: bool) -> Result<bool, Closed> {
        let released = *self.state.released.borrow();
        self.state.executed.send_modify(|all| all.push(text.to_owned()));
        if text.contains("die") {
            return Err(Closed);
        }
        if text.contains("leave") {
            self.last_words("57P01");
            return Err(Closed);
        }
        if text.contains("violate") {
            self.last_words("08P01");
            return Err(Closed);
        }
        if text.contains("drain") {
            self.error("40001", "the primary is drained");
            return Err(Closed);
        }
        if text.contains("hang") && self.flush().await.is_some() && self.hang(released.0).await {
            self.error("57014", "canceling statement due to user request");
            return Ok(false);
        }
        if text.contains("fail") {
            self.error("42601", "as told");
            return Ok(false);
        }
        self.succeed(text, simple).await;
        Ok(true)
    }

    /// True when it was cancelled.
    async fn hang(&mut self, before: u64) -> bool {
        let mut released = self.state.released.subscribe();
        match released.wait_for(|r| r.0 > before).await {
            Ok(now) => now.1,
            Err(_) => false,
        }
    }

    async fn succeed(&mut self, text: &str, simple: bool) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let verb = words.first().map(|w| w.to_ascii_lowercase());
        let tag = match verb.as_deref() {
            Some("begin" | "start") => {
                self.status = b'T';
                "BEGIN".to_owned()
            }
            Some("commit" | "rollback") => {
                self.status = b'I';
                words[0].to_ascii_uppercase()
            }
            Some("insert") => "INSERT 0 1".to_owned(),
            Some("set") => {
                self.settings.insert(words[1].to_owned(), words[3..].join(" "));
                "SET".to_owned()
            }
            Some("copy") => self.copy().await,
            Some("show" | "select" | "rows") => self.rows(&words, simple),
            _ => "DONE".to_owned(),
        };
        message::complete(&mut self.out, &tag);
    }

    fn rows(&mut self, words: &[&str], simple: bool) -> String {
        let values = match words {
            ["show", name, ..] => {
                vec![self.settings.get(*name).cloned().unwrap_or_default()]
            }
            ["rows", count, ..] => vec!["x".repeat(1024); count.parse().unwrap_or(0)],
            _ => vec![words[1..].join(" ")],
        };
        if simple {
            self.row_description();
        }
        for value in &values {
            self.row(value);
        }
        format!("SELECT {}", values.len())
    }

    async fn copy(&mut self) -> String {
        message::put(&mut self.out, b'G', |b| {
            b.put_u8(0);
            b.put_u16(0);
        });
        let mut chunks = 0;
        if self.flush().await.is_some() {
            while let Ok(Some(frame)) = self.stream.next().await {
                if frame.tag() != b'd' {
                    break;
                }
                chunks += 1;
            }
        }
        format!("COPY {chunks}")
    }
}
