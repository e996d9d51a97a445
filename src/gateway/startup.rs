//! The startup phase: what a client wants before its session begins.

use super::frame::{FrameError, FrameStream, take_cstr};
use super::message::{self, CANCEL_REQUEST, GSSENC_REQUEST, PROTOCOL_3_0, SSL_REQUEST};
use crate::core::ids::Content;
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// What came instead of, or as, a startup packet.
#[derive(Debug)]
pub enum Startup {
    /// A session is to begin.
    Session(Parameters),
    /// A cancel request; its body is process id and secret.
    Cancel(Bytes),
    /// The client left without a word.
    Gone,
}

/// Why there is no startup.
#[derive(Debug, Error)]
pub enum StartupError {
    /// The bytes are no packet.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Another protocol is asked for.
    #[error("protocol {major}.{minor} is not spoken here, 3.0 is")]
    Version { major: u16, minor: u16 },
    /// Its parameters are cut short, or are not text.
    #[error("the startup packet can't be read")]
    Malformed,
}

/// The parameters of a startup packet, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    /// Protocol options that are not known; the client is told.
    unknown: Vec<String>,
    /// The client asked for a minor version above 0.
    newer: bool,
}

/// What the name of a database stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Catalog,
    Content(Content),
}

impl Parameters {
    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The user; empty when the client names none.
    pub fn user(&self) -> &str {
        self.get("user").unwrap_or_default()
    }

    /// The database by its name; as everywhere in PostgreSQL it is the user's when none is given.
    pub fn database(&self) -> &str {
        self.get("database").unwrap_or_else(|| self.user())
    }

    /// The startup packet as a server behind the front gets it.
    pub fn packet(&self) -> Bytes {
        message::startup(&self.pairs)
    }

    /// What must be answered first when the client asked for more than protocol 3.0.
    pub fn negotiation(&self, out: &mut BytesMut) {
        if self.newer || !self.unknown.is_empty() {
            message::negotiate(out, &self.unknown);
        }
    }
}

/// Which database a name stands for, among those that exist.
pub(super) fn database(name: &str, contents: &[Content]) -> Option<Database> {
    if name == "postgres" {
        return Some(Database::Catalog);
    }
    contents.iter().find(|c| **c != Content::COORDINATOR && name == database_name(**c)).map(|c| Database::Content(*c))
}

/// The database that is a content's.
pub(super) fn database_name(content: Content) -> String {
    format!("content{content}")
}

/// The words of 3D000: what was asked for, and what exists.
pub(super) fn unknown_database(name: &str, contents: &[Content]) -> String {
    let mut known: Vec<Content> = contents.iter().copied().filter(|c| *c != Content::COORDINATOR).collect();
    known.sort_unstable();
    let mut names = vec!["postgres".to_owned()];
    names.extend(known.into_iter().map(database_name));
    format!("database \"{name}\" does not exist; there are {}", names.join(", "))
}

/// Reads until the client says what it wants. Encryption is declined: the Unix socket needs none, and
/// on TCP the password never crosses the wire.
pub async fn read<S>(stream: &mut FrameStream<S>) -> Result<Startup, StartupError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // One request for TLS and one for GSSAPI at most, then the startup packet itself.
    for _ in 0..3 {
        let Some(mut packet) = stream.next_startup().await? else {
            return Ok(Startup::Gone);
        };
        if packet.len() < 4 {
            return Err(StartupError::Malformed);
        }
        match packet.get_u32() {
            SSL_REQUEST | GSSENC_REQUEST => {
                stream.write(b"N").await.map_err(FrameError::Io)?;
            }
            CANCEL_REQUEST => return Ok(Startup::Cancel(packet)),
            version if version >> 16 == PROTOCOL_3_0 >> 16 => {
                return parameters(packet, version != PROTOCOL_3_0).map(Startup::Session);
            }
            version => {
                return Err(StartupError::Version { major: (version >> 16) as u16, minor: version as u16 });
            }
        }
    }
    Err(StartupError::Malformed)
}

fn parameters(mut packet: Bytes, newer: bool) -> Result<Parameters, StartupError> {
    let mut read = Parameters { newer, ..Parameters::default() };
    loop {
        let name = text(&mut packet)?;
        if name.is_empty() {
            return Ok(read);
        }
        let value = text(&mut packet)?;
        if name.starts_with("_pq_.") {
            read.unknown.push(name);
        } else {
            read.pairs.push((name, value));
        }
    }
}

fn text(packet: &mut Bytes) -> Result<String, StartupError> {
    let bytes = take_cstr(packet).ok_or(StartupError::Malformed)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| StartupError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_that_exist_are_found() {
        let contents = [Content(-1), Content(0), Content(12)];
        let table = [
            ("postgres", Some(Database::Catalog)),
            ("content0", Some(Database::Content(Content(0)))),
            ("content12", Some(Database::Content(Content(12)))),
            ("content-1", None),
            ("content00", None),
            ("content1", None),
            ("content", None),
            ("root", None),
        ];
        for (name, expected) in table {
            assert_eq!(database(name, &contents), expected, "{name}");
        }
        assert_eq!(
            unknown_database("root", &contents),
            "database \"root\" does not exist; there are postgres, content0, content12"
        );
    }

    async fn read_bytes(bytes: Vec<u8>) -> Result<Startup, StartupError> {
        let (mut far, near) = tokio::io::duplex(1 << 16);
        tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut far).await.unwrap();
        read(&mut FrameStream::new(near)).await
    }

    #[tokio::test]
    async fn a_packet_reads_back_as_it_was_written() {
        let pairs = vec![("user".to_owned(), "ann".to_owned()), ("_pq_.more".to_owned(), "1".to_owned())];
        let read = read_bytes(message::startup(&pairs).to_vec()).await;
        let Ok(Startup::Session(parameters)) = read else {
            panic!("{read:?}");
        };
        assert_eq!(parameters.database(), "ann");
        assert_eq!(parameters.unknown, ["_pq_.more"]);
        assert_eq!(parameters.packet(), message::startup(&pairs[..1]));
    }

    #[tokio::test]
    async fn what_is_no_startup_packet_is_an_error() {
        for bytes in [
            &b"\0\0\0\x08\0\x02\0\0"[..],
            b"\0\0\0\x06\0\x03",
            b"\0\0\0\x08\0\x03\0\0",
            b"\0\0\0\x0d\0\x03\0\0user\0",
            b"GET / HTTP/1.1\r\n",
        ] {
            assert!(read_bytes(bytes.to_vec()).await.is_err(), "{bytes:?}");
        }
        assert!(matches!(read_bytes(Vec::new()).await, Ok(Startup::Gone)));
    }
}
