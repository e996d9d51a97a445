//! The barrier: the commits of every content are held at one moment.
//!
//! Every content is told to hold. When all of them do, there is a moment at which nobody, anywhere, is told of
//! a commit that is not in the backup. Then all are released, and each says whether its hold stood until it
//! was told, and whether it may still speak for its content. One that can't say so voids all of it.

use super::BackupError;
use crate::coordinator::clock::unix_ms;
use crate::core::backup::{Cause, FromBackup, HOLD_MAX, Image, ToBackup};
use crate::core::ids::{Content, Dbid};
use crate::core::track::FileId;
use crate::net::{Credentials, Endpoint, Framed, Identity, NetError, Purpose, connect};
use bytes::BytesMut;
use futures::future::{join_all, try_join_all};
use std::time::{Duration, Instant};

/// How long a segment may take to prove itself.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// How often the barrier is tried, and the rest between two attempts: what was in its way may be a failover.
const TRIES: u32 = 3;
const REST: Duration = Duration::from_millis(500);
/// A segment that was released answers as soon as it may read, or says that it was too late.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// The acting primary of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub content: Content,
    pub dbid: Dbid,
    pub at: Endpoint,
}

/// The connection to one of them.
pub struct Connection {
    source: Source,
    framed: Framed,
}

/// A content that was held, and whose files as of then can be had.
pub struct Held {
    pub content: Content,
    pub dbid: Dbid,
    pub image: Image,
    /// How long its commits were held, in microseconds.
    pub held_us: u64,
    pub connection: Connection,
}

/// Every content at one moment.
pub struct Barrier {
    pub contents: Vec<Held>,
    /// A moment at which all were held, in Unix milliseconds.
    pub at_ms: i64,
    /// From the first word to the last answer, in microseconds: no content was held longer.
    pub window_us: u64,
    pub tries: u32,
}

/// Has every content held at one moment. `sources` is asked before each attempt who serves.
pub async fn barrier(
    me: &Credentials,
    sources: impl Fn() -> Result<Vec<Source>, BackupError>,
) -> Result<Barrier, BackupError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let missed = match once(me, &sources, tries).await {
            Ok(barrier) => return Ok(barrier),
            Err(error) if tries == TRIES => error,
            Err(error) => {
                tracing::info!(%error, tries, "the barrier was missed");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        return Err(match missed {
            BackupError::Ended { content, cause: Cause::TooLate | Cause::Busy, message, .. } => {
                BackupError::Missed { content, tries, why: message }
            }
            // One that is up, and neither answers nor is given up.
            BackupError::Net { content, error: error @ NetError::Timeout { .. }, .. } => {
                BackupError::Missed { content, tries, why: error.to_string() }
            }
            other => other,
        });
    }
}

async fn once(
    me: &Credentials,
    sources: &impl Fn() -> Result<Vec<Source>, BackupError>,
    tries: u32,
) -> Result<Barrier, BackupError> {
    // Every connection stands before anybody is held.
    let opened = sources()?.into_iter().map(|source| Connection::open(me, source));
    let mut connections = try_join_all(opened).await?;
    let began = Instant::now();
    // All of them are waited for, also when one has failed: who is held is released by the end of its connection.
    let held = join_all(connections.iter_mut().map(Connection::hold)).await;
    let images = held.into_iter().collect::<Result<Vec<_>, _>>()?;
    let at_ms = unix_ms();
    let released = join_all(connections.iter_mut().map(Connection::release)).await;
    let window_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let held_us = released.into_iter().collect::<Result<Vec<_>, _>>()?;
    let contents = connections.into_iter().zip(images).zip(held_us);
    let contents = contents.map(|((connection, image), held_us)| Held {
        content: connection.source.content,
        dbid: connection.source.dbid,
        image,
        held_us,
        connection,
    });
    Ok(Barrier { contents: contents.collect(), at_ms, window_us, tries })
}

impl Connection {
    async fn open(me: &Credentials, source: Source) -> Result<Connection, BackupError> {
        let there = Identity::Segment(source.dbid);
        match connect(&source.at, me, Purpose::Backup, Some(&there), OPEN_WITHIN).await {
            Ok((stream, _)) => Ok(Connection { source, framed: Framed::new(stream) }),
            Err(error) => Err(BackupError::Net { content: source.content, dbid: source.dbid, error }),
        }
    }

    fn net(&self, error: crate::net::NetError) -> BackupError {
        BackupError::Net { content: self.source.content, dbid: self.source.dbid, error }
    }

    fn protocol(&self, what: impl Into<String>) -> BackupError {
        BackupError::Protocol { content: self.source.content, dbid: self.source.dbid, what: what.into() }
    }

    fn late(&self, message: String) -> BackupError {
        let Source { content, dbid, .. } = self.source;
        BackupError::Ended { content, dbid, cause: Cause::TooLate, message }
    }

    async fn recv(&mut self) -> Result<FromBackup, BackupError> {
        match self.framed.recv().await {
            Ok(FromBackup::Ended { cause, message }) => {
                let Source { content, dbid, .. } = self.source;
                Err(BackupError::Ended { content, dbid, cause, message })
            }
            Ok(message) => Ok(message),
            Err(error) => Err(self.net(error)),
        }
    }

    async fn ask(&mut self, message: ToBackup, within: Duration) -> Result<FromBackup, BackupError> {
        let asked = async {
            self.framed.send(&message).await.map_err(|error| self.net(error))?;
            self.recv().await
        };
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.late(format!("no answer within {} ms", within.as_millis()))),
        }
    }

    async fn hold(&mut self) -> Result<Image, BackupError> {
        match self.ask(ToBackup::Hold, HOLD_MAX).await? {
            FromBackup::Held { image } => Ok(image),
            other => Err(self.protocol(format!("{other:?} when it was to hold"))),
        }
    }

    async fn release(&mut self) -> Result<u64, BackupError> {
        match self.ask(ToBackup::Release, RELEASE_WITHIN).await? {
            FromBackup::Released { held_us } => Ok(held_us),
            other => Err(self.protocol(format!("{other:?} when it was released"))),
        }
    }

    /// The files begin to come.
    pub async fn stream(mut self, rate_bytes: Option<u64>) -> Result<Connection, BackupError> {
        let asked = self.framed.send(&ToBackup::Stream { rate_bytes }).await;
        asked.map_err(|error| self.net(error))?;
        Ok(self)
    }

    /// The next file, and its bytes; `None` at the end.
    pub async fn file(&mut self, image: &Image) -> Result<Option<(FileId, u64)>, BackupError> {
        match self.recv().await? {
            FromBackup::End => Ok(None),
            FromBackup::File { file, bytes } => {
                let known = FileId::ALL.into_iter().find(|id| id.name() == file);
                let expected = known.map(|id| match id {
                    FileId::Main => image.main_bytes,
                    FileId::Wal => crate::core::backup::log_bytes(image.log_frames),
                });
                match known.filter(|_| expected == Some(bytes)) {
                    Some(id) => Ok(Some((id, bytes))),
                    None => Err(self.protocol(format!("{bytes} bytes of `{file}`, which nobody asked for"))),
                }
            }
            other => Err(self.protocol(format!("{other:?} in place of a file"))),
        }
    }

    /// The next bytes of a file.
    pub async fn chunk(&mut self) -> Result<BytesMut, BackupError> {
        match self.recv().await? {
            FromBackup::Chunk => self.framed.recv_bytes().await.map_err(|error| self.net(error)),
            other => Err(self.protocol(format!("{other:?} in place of a file's bytes"))),
        }
    }
}
