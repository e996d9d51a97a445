//! A PostgreSQL client that shows everything: tags, states, SQLSTATEs, notices, and how a connection
//! ended. A driver hides the command tag, and a COMMIT answered by ROLLBACK would look like success.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Above the 30 s a statement may wait for a primary.
const PATIENCE: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub code: String,
    pub message: String,
}

/// The answer to one query message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub rows: Vec<Vec<Option<String>>>,
    /// `INSERT 0 1`, `COMMIT`, `ROLLBACK`, ...
    pub tags: Vec<String>,
    pub error: Option<SqlError>,
    pub notices: Vec<String>,
    /// `I`, `T` or `E`; `None` when the server ended the session with its error.
    pub state: Option<char>,
}

impl Reply {
    pub fn sqlstate(&self) -> Option<&str> {
        self.error.as_ref().map(|e| e.code.as_str())
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.error.is_none() && self.tags.iter().any(|t| t == tag)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Closed,
    TimedOut,
}

/// One session over a Unix socket.
pub struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
    answer: Reply,
}

/// Where a server listens: `SOCKET_DIR/.s.PGSQL.PORT`.
pub fn socket(socket_dir: &str, port: u16) -> PathBuf {
    Path::new(socket_dir).join(format!(".s.PGSQL.{port}"))
}

impl Wire {
    /// Connects and waits until the server is ready. An error is the server's refusal, or a lost connection.
    pub fn connect(socket: &Path, database: &str) -> Result<Wire, String> {
        let stream = UnixStream::connect(socket).map_err(|e| format!("{}: {e}", socket.display()))?;
        let mut wire = Wire { stream, buffer: Vec::new(), answer: Reply::default() };
        wire.startup(database).map_err(|e| e.to_string())?;
        match wire.receive() {
            Ok(Reply { error: Some(error), .. }) => Err(format!("{}: {}", error.code, error.message)),
            Ok(_) => Ok(wire),
            Err(lost) => Err(format!("{lost:?} during startup")),
        }
    }

    fn startup(&mut self, database: &str) -> io::Result<()> {
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for text in ["user", "tester", "database", database] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let length = (body.len() as i32 + 4).to_be_bytes();
        self.stream.write_all(&[&length[..], &body[..]].concat())
    }

    /// Sends a simple query and does not wait: what is in flight when a fault strikes.
    pub fn send(&mut self, sql: &str) -> Result<(), Lost> {
        let length = (sql.len() as i32 + 5).to_be_bytes();
        let message = [b"Q", &length[..], sql.as_bytes(), b"\0"].concat();
        self.stream.write_all(&message).map_err(|_| Lost::Closed)
    }

    /// The answer to the oldest query without one.
    pub fn receive(&mut self) -> Result<Reply, Lost> {
        self.receive_within(PATIENCE)
    }

    /// As [`Wire::receive`]; what has arrived of a late answer is kept for the next call.
    pub fn receive_within(&mut self, patience: Duration) -> Result<Reply, Lost> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some((kind, body)) = self.message() {
                if self.take(kind, &body) {
                    return Ok(std::mem::take(&mut self.answer));
                }
            }
            match self.fill(deadline) {
                Ok(()) => {}
                // The server's last word before it closed is an answer.
                Err(Lost::Closed) if self.answer.error.is_some() => return Ok(std::mem::take(&mut self.answer)),
                Err(lost) => return Err(lost),
            }
        }
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let (kind, length) = (*self.buffer.first()?, self.buffer.get(1..5)?);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let body = self.buffer.get(5..1 + length)?.to_vec();
        self.buffer.drain(..1 + length);
        Some((kind, body))
    }

    /// Puts a message into the answer; true when it was the last one.
    fn take(&mut self, kind: u8, body: &[u8]) -> bool {
        match kind {
            b'Z' => {
                self.answer.state = body.first().map(|b| char::from(*b));
                return true;
            }
            b'C' => self.answer.tags.push(strings(body).concat()),
            b'D' => self.answer.rows.push(fields(body)),
            b'E' => self.answer.error = Some(error(body)),
            b'N' => self.answer.notices.push(error(body).message),
            // Parameters, the cancel key, row descriptions, an empty query: nothing a test looks at here.
            _ => {}
        }
        false
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Lost> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Lost::TimedOut);
        }
        self.stream.set_read_timeout(Some(left)).map_err(|_| Lost::Closed)?;
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Lost::Closed),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(Lost::TimedOut),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Lost::Closed),
        }
    }

    pub fn query(&mut self, sql: &str) -> Result<Reply, Lost> {
        self.send(sql)?;
        self.receive()
    }

    /// Demands success.
    #[track_caller]
    pub fn run(&mut self, sql: &str) -> Reply {
        let reply = self.query(sql).unwrap_or_else(|lost| panic!("`{sql}`: {lost:?}"));
        assert_eq!(reply.error, None, "`{sql}`");
        reply
    }

    /// Demands success, and shows a row as psql's unaligned output does: `1|a|`.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let line =
            |row: &Vec<Option<String>>| row.iter().map(|f| f.clone().unwrap_or_default()).collect::<Vec<_>>().join("|");
        self.run(sql).rows.iter().map(line).collect()
    }

    /// Demands one row of one number.
    #[track_caller]
    pub fn number(&mut self, sql: &str) -> i64 {
        let rows = self.rows(sql);
        let number = rows.first().filter(|_| rows.len() == 1).and_then(|r| r.parse().ok());
        number.unwrap_or_else(|| panic!("`{sql}` is not one number: {rows:?}"))
    }
}

fn strings(body: &[u8]) -> Vec<String> {
    body.split(|b| *b == 0).map(|s| String::from_utf8_lossy(s).into_owned()).collect()
}

fn fields(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut row = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, after) = after.split_at(length.unwrap_or(0).min(after.len()));
        row.push(length.map(|_| String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    row
}

fn error(body: &[u8]) -> SqlError {
    let parts = strings(body);
    let field = |kind: char| parts.iter().find_map(|p| p.strip_prefix(kind)).unwrap_or_default().to_owned();
    SqlError { code: field('C'), message: field('M') }
}
