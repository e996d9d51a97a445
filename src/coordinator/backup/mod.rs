//! The parts of backups and restores, whoever asks for them: the barrier across contents, the directory, the
//! look at what it holds, and the way back.

pub mod barrier;
pub mod check;
pub mod place;
pub mod send;

use crate::core::backup::{BackedUpContent, CHUNK_BYTES, Cause};
use crate::core::ids::{Content, Dbid};
use crate::net::NetError;
use barrier::Held;
use place::{Place, PlaceError};
use std::time::Duration;
use thiserror::Error;

/// A segment that sends nothing for so long is given up.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The segment said so.
    #[error("dbid {dbid}: {message}")]
    Ended { content: Content, dbid: Dbid, cause: Cause, message: String },
    /// It can't be reached, or not any more.
    #[error("dbid {dbid}: {error}")]
    Net { content: Content, dbid: Dbid, error: NetError },
    /// Nobody serves the content.
    #[error("content {content}: {why}")]
    NotServed { content: Content, why: String },
    /// Not every content was held at one moment.
    #[error("the barrier was missed {tries} times, at last because of content {content}: {why}")]
    Missed { content: Content, tries: u32, why: String },
    /// What came is not what was said to come.
    #[error("dbid {dbid} sent {what}")]
    Protocol { content: Content, dbid: Dbid, what: String },
    #[error("content {content}: {error}")]
    Place { content: Content, error: PlaceError },
}

impl BackupError {
    /// The content that it is about.
    pub fn content(&self) -> Content {
        match self {
            BackupError::Ended { content, .. }
            | BackupError::Net { content, .. }
            | BackupError::NotServed { content, .. }
            | BackupError::Missed { content, .. }
            | BackupError::Protocol { content, .. }
            | BackupError::Place { content, .. } => *content,
        }
    }
}

/// Writes the files of a content that was held, and tells how many bytes there are by now.
pub async fn receive(
    held: Held,
    place: &Place,
    rate_bytes: Option<u64>,
    told: impl Fn(u64),
) -> Result<BackedUpContent, BackupError> {
    let (content, dbid) = (held.content, held.dbid);
    let failed = |error| BackupError::Place { content, error };
    let protocol = |what: String| BackupError::Protocol { content, dbid, what };
    let mut from = held.connection.stream(rate_bytes).await?;
    let mut files = Vec::new();
    let mut received = 0;
    // At a slow pace even one chunk takes its time.
    let pace = rate_bytes.map_or(0.0, |rate| CHUNK_BYTES as f64 / rate.max(1) as f64);
    let silent_max = SILENT_MAX + Duration::from_secs_f64(pace);
    while let Some((file, bytes)) = from.file(&held.image).await? {
        let mut sink = place.create(content, file, bytes).await.map_err(failed)?;
        while sink.left() > 0 {
            let chunk = tokio::time::timeout(silent_max, from.chunk()).await;
            let chunk = chunk.map_err(|_| protocol(format!("nothing for {} s", silent_max.as_secs())))??;
            if chunk.len() as u64 > sink.left() {
                return Err(protocol(format!("more of {} than it said", file.name())));
            }
            let count = chunk.len() as u64;
            sink = sink.put(chunk.freeze()).await.map_err(failed)?;
            received += count;
            told(received);
        }
        files.push(sink.finish().await.map_err(failed)?);
    }
    // In the order of the manifest; on the way the log comes first.
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(BackedUpContent { content, dbid, image: held.image, held_us: held.held_us, files })
}
