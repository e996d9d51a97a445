//! Sending a content of a backup to a process that is nobody.

use super::check::{Damage, Reading};
use crate::core::backup::{BackedUpContent, CHUNK_BYTES, FromBackup, ToBackup};
use crate::core::ids::{CopyId, Epoch};
use crate::core::track::{BLOCK_BYTES, FileId};
use crate::core::wal::{FRAME_BYTES, WAL_HEADER_BYTES};
use crate::net::{Credentials, Endpoint, Framed, Identity, NetError, Purpose, connect};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a segment may take to prove itself.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to make everything durable.
const KEEP_WITHIN: Duration = Duration::from_secs(120);
/// How long a segment that takes nothing any more may take to say why.
const WHY_WITHIN: Duration = Duration::from_secs(1);

/// Why a content was not restored.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("the backup is damaged: {0}")]
    Damaged(#[from] Damage),
    #[error("{0}")]
    Net(#[from] NetError),
    /// In the segment's words.
    #[error("{0}")]
    Refused(String),
    #[error("reading the backup ended: {0}")]
    Gone(String),
}

/// One content on its way.
pub struct Sending<'a> {
    pub me: &'a Credentials,
    pub to: (Endpoint, Identity),
    pub dir: &'a Path,
    pub content: &'a BackedUpContent,
    /// What the copy will be known as.
    pub copy: CopyId,
    /// The row's epoch: only what is decided after it may make the copy serve.
    pub epoch: Epoch,
    /// A cap in bytes per second.
    pub rate_bytes: Option<u64>,
}

impl Sending<'_> {
    /// Sends all of it; on return the segment holds it durably.
    pub async fn all(self, told: impl Fn(u64)) -> Result<(), SendError> {
        let (to, there) = &self.to;
        let (stream, _) = connect(to, self.me, Purpose::Backup, Some(there), OPEN_WITHIN).await?;
        let mut framed = Framed::new(stream);
        match self.files(&mut framed, told).await {
            // It may have said why before it went.
            Err(SendError::Net(error)) => match tokio::time::timeout(WHY_WITHIN, framed.recv()).await {
                Ok(Ok(FromBackup::Ended { message, .. })) => Err(SendError::Refused(message)),
                _ => Err(error.into()),
            },
            sent => sent,
        }
    }

    async fn files(&self, framed: &mut Framed, told: impl Fn(u64)) -> Result<(), SendError> {
        let main_bytes = self.content.image.main_bytes;
        framed.send(&ToBackup::Take { copy: self.copy, epoch: self.epoch, main_bytes }).await?;
        let (since, mut sent) = (Instant::now(), 0);
        // The log first: it says which pages of main.db don't matter.
        for file in [FileId::Wal, FileId::Main] {
            let Some(entry) = self.content.file(file) else { continue };
            framed.send(&ToBackup::File { file: file.name().into(), bytes: entry.bytes }).await?;
            let (dir, entry) = (PathBuf::from(self.dir), entry.clone());
            let mut reading = aside(move || Reading::begin(&dir, &entry)).await?;
            let mut sizes = sizes(file);
            loop {
                let size = sizes.next().unwrap_or(CHUNK_BYTES);
                let (back, bytes) = aside(move || {
                    let bytes = reading.next(size)?;
                    Ok((reading, bytes))
                })
                .await?;
                reading = back;
                if bytes.is_empty() {
                    break;
                }
                framed.send(&ToBackup::Chunk).await?;
                framed.send_bytes(&bytes).await?;
                sent += bytes.len() as u64;
                told(sent);
                if let Some(rate) = self.rate_bytes {
                    let due = Duration::from_secs_f64(sent as f64 / rate.max(1) as f64);
                    tokio::time::sleep(due.saturating_sub(since.elapsed())).await;
                }
            }
            // It is judged before it is kept.
            aside(move || reading.end()).await?;
        }
        framed.send(&ToBackup::Keep).await?;
        match tokio::time::timeout(KEEP_WITHIN, framed.recv()).await {
            Ok(Ok(FromBackup::Kept)) => Ok(()),
            Ok(Ok(FromBackup::Ended { message, .. })) => Err(SendError::Refused(message)),
            Ok(Ok(other)) => Err(SendError::Refused(format!("it answered {other:?}"))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SendError::Refused(format!("nothing was heard for {} s", KEEP_WITHIN.as_secs()))),
        }
    }
}

/// How much of a file is sent at a time: whole pages; the log's header, then whole frames.
fn sizes(file: FileId) -> impl Iterator<Item = usize> {
    let (first, whole) = match file {
        FileId::Main => (None, BLOCK_BYTES as usize),
        FileId::Wal => (Some(WAL_HEADER_BYTES as usize), FRAME_BYTES as usize),
    };
    first.into_iter().chain(std::iter::repeat(CHUNK_BYTES / whole * whole))
}

/// Reads on a thread for what may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Damage> + Send + 'static) -> Result<T, SendError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(gone) => Err(SendError::Gone(gone.to_string())),
    }
}
