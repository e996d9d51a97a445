//! One client's socket: messages in, messages out.
//!
//! The session's thread reads and writes it itself, blocking: a slow client slows its own session
//! and holds no memory beyond one batch.

use super::error::SqlError;
use super::types::{PgType, encode};
use bytes::{Buf, BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, NoticeResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use rusqlite::types::ValueRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected socket of either family.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }

    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(s) => s.try_clone().map(Stream::Tcp),
            Stream::Unix(s) => s.try_clone().map(Stream::Unix),
        }
    }

    /// Ends reading, or everything; errors mean that it is over already.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(how),
            Stream::Unix(s) => s.shutdown(how),
        };
    }

    /// Whether the other end has left and nothing of it is unread. Looks without waiting.
    pub(super) fn is_abandoned(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let looked = match self {
            Stream::Tcp(s) => recv(s, &mut byte, flags),
            Stream::Unix(s) => recv(s, &mut byte, flags),
        };
        match looked {
            Ok((n, _)) => n == 0,
            Err(e) => e != rustix::io::Errno::AGAIN && e != rustix::io::Errno::INTR,
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.set_read_timeout(timeout),
            Stream::Unix(s) => s.set_read_timeout(timeout),
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buf),
            Stream::Unix(s) => s.read(buf),
        }
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.write_all(buf),
            Stream::Unix(s) => s.write_all(buf),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: PgType,
    pub binary: bool,
}

/// What came from the client.
#[derive(Debug)]
pub enum Received {
    Message(PgWireFrontendMessage),
    /// The client is gone.
    Closed,
    /// The read timeout passed.
    TimedOut,
    /// Bytes that are no message.
    Garbage(String),
}

/// Reading chunk; most messages are far smaller.
const CHUNK: usize = 16 * 1024;

/// The socket with its buffers.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    input: BytesMut,
    chunk: Box<[u8]>,
    /// Not yet sent. The session may take back what it has not flushed.
    pub out: BytesMut,
    /// What a message under way has produced from here on is not settled: it never leaves.
    held_from: Option<usize>,
    context: DecodeContext,
    timeout: Option<Duration>,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Wire {
        Wire {
            stream,
            input: BytesMut::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            out: BytesMut::new(),
            held_from: None,
            context: DecodeContext::new(ProtocolVersion::PROTOCOL3_2),
            timeout: None,
        }
    }

    /// The next message is a startup packet without the negotiation before it.
    pub(super) fn negotiated(&mut self) {
        self.context.awaiting_frontend_ssl = false;
    }

    /// From here on messages have a type byte.
    pub(super) fn started(&mut self) {
        self.context.awaiting_frontend_ssl = false;
        self.context.awaiting_frontend_startup = false;
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout != self.timeout {
            self.stream.set_read_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// The next message. What is to be sent is sent before waiting for it.
    pub(super) fn receive(&mut self) -> io::Result<Received> {
        loop {
            match self.decode() {
                Ok(Some(message)) => return Ok(Received::Message(message)),
                Ok(None) => {}
                Err(why) => return Ok(Received::Garbage(why)),
            }
            self.flush()?;
            match self.stream.read(&mut self.chunk) {
                Ok(0) => return Ok(Received::Closed),
                Ok(n) => self.input.extend_from_slice(&self.chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(Received::TimedOut);
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<PgWireFrontendMessage>, String> {
        super::message::next(&mut self.input, &self.context)
    }

    /// Whether the next message has arrived already and is a Sync.
    pub(super) fn sync_follows(&self) -> bool {
        self.input.len() >= 5 && self.input[0] == b'S'
    }

    /// Sends what may leave.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let leaves = self.held_from.unwrap_or(self.out.len());
        if leaves > 0 {
            self.stream.write_all(&self.out[..leaves])?;
            self.out.advance(leaves);
            self.held_from = self.held_from.map(|_| 0);
        }
        Ok(())
    }

    /// What is produced from now on is held back until it is settled.
    pub(super) fn hold(&mut self) {
        self.held_from = Some(self.out.len());
    }

    /// What was produced since [`Wire::hold`] may leave; what comes is held back again.
    pub(super) fn settled(&mut self) {
        if self.held_from.is_some() {
            self.hold();
        }
    }

    /// What was held back may leave, and so may whatever comes.
    pub(super) fn release(&mut self) {
        self.held_from = None;
    }

    /// What was held back never was.
    pub(super) fn take_back(&mut self) {
        if let Some(from) = self.held_from.take() {
            self.out.truncate(from);
        }
    }

    pub(super) fn send(&mut self, message: &PgWireBackendMessage) {
        let at = self.out.len();
        if let Err(e) = message.encode(&mut self.out) {
            // Only a message beyond the protocol's limits fails; half of it must not be sent.
            self.out.truncate(at);
            tracing::error!(error = %e, "a message could not be encoded");
        }
    }

    pub(super) fn error(&mut self, error: &SqlError) {
        self.send(&PgWireBackendMessage::ErrorResponse(error.to_info().into()));
    }

    pub(super) fn warning(&mut self, code: &str, text: &str) {
        let info = pgwire::error::ErrorInfo::new("WARNING".into(), code.into(), text.into());
        self.send(&PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info)));
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.send(&PgWireBackendMessage::CommandComplete(CommandComplete::new(tag.to_owned())));
    }

    pub(super) fn ready(&mut self, status: TransactionStatus) {
        self.send(&PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)));
    }

    pub(super) fn parameter(&mut self, name: &str, value: &str) {
        self.send(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned())));
    }

    pub(super) fn describe(&mut self, fields: &[Field]) {
        let fields = fields
            .iter()
            .map(|f| FieldDescription::new(f.name.clone(), 0, 0, f.kind.oid(), f.kind.size(), -1, i16::from(f.binary)))
            .collect();
        self.send(&PgWireBackendMessage::RowDescription(RowDescription::new(fields)));
    }
}

/// Appends one data row, encoded straight from SQLite's values: a result may have millions.
pub(super) fn put_row<'v>(
    out: &mut BytesMut,
    fields: &[Field],
    value: impl Fn(usize) -> Result<ValueRef<'v>, SqlError>,
) -> Result<(), SqlError> {
    let at = out.len();
    out.put_u8(b'D');
    out.put_i32(0);
    // SQLite has at most 32767 columns.
    out.put_u16(fields.len() as u16);
    for (i, field) in fields.iter().enumerate() {
        let encoded = value(i).and_then(|v| encode(out, v, field.kind, field.binary));
        if let Err(e) = encoded {
            out.truncate(at);
            return Err(e);
        }
    }
    match i32::try_from(out.len() - at - 1) {
        Ok(length) => {
            out[at + 1..at + 5].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(_) => {
            out.truncate(at);
            Err(SqlError::new("54000", "a row is too large for the protocol"))
        }
    }
}

/// The byte that tells a client about its transaction.
pub(super) fn status(in_transaction: bool, failed: bool) -> TransactionStatus {
    match (in_transaction, failed) {
        (_, true) => TransactionStatus::Error,
        (true, false) => TransactionStatus::Transaction,
        (false, false) => TransactionStatus::Idle,
    }
}
