//! A segment's part of a restore: it takes on the files of a backup, and looks at every page and frame before
//! it says that it holds them.

use super::vfs::{PAGE_SIZE, verify_page};
use crate::core::backup::{Cause, FromBackup, ToBackup};
use crate::core::ids::{CopyId, Epoch};
use crate::core::track::{BLOCK_BYTES, DirtyMap, FileId};
use crate::core::wal::{self, Chain, FRAME_BYTES, NamedPages, WAL_HEADER_BYTES};
use crate::engine::Engine;
use crate::net::NetError;
use crate::net::blocking::Frames;

/// Why the files are not taken on.
pub(super) enum Refused {
    /// In words for the other side.
    Because(Cause, String),
    /// There is nobody to tell.
    Gone(NetError),
}

impl From<NetError> for Refused {
    fn from(error: NetError) -> Refused {
        Refused::Gone(error)
    }
}

impl From<crate::engine::EngineError> for Refused {
    fn from(error: crate::engine::EngineError) -> Refused {
        Refused::Because(Cause::Failed, error.to_string())
    }
}

fn damaged(what: impl Into<String>) -> Refused {
    Refused::Because(Cause::Damaged, what.into())
}

/// Takes on everything up to [`ToBackup::Keep`], as this copy, which obeys nothing up to that epoch. The other side is told when that is durable.
pub(super) fn take(
    engine: &Engine,
    copy: (CopyId, Epoch),
    main_bytes: u64,
    frames: &mut Frames,
) -> Result<(), Refused> {
    engine.receive_begins()?;
    let mut taking = Taking { engine, named: DirtyMap::default(), log: None, blocks: main_bytes / BLOCK_BYTES };
    loop {
        match frames.recv()? {
            ToBackup::File { file, bytes } if file == FileId::Wal.name() => taking.log(bytes, frames)?,
            ToBackup::File { file, bytes } if file == FileId::Main.name() && bytes == main_bytes => {
                taking.main(bytes, frames)?;
            }
            ToBackup::Keep => break,
            other => return Err(Refused::Because(Cause::Failed, format!("{other:?} came, of no use here"))),
        }
    }
    engine.received(copy.0, copy.1)?;
    Ok(frames.send(&FromBackup::Kept)?)
}

struct Taking<'a> {
    engine: &'a Engine,
    /// The pages of main.db that the log replaces.
    named: DirtyMap,
    log: Option<(Chain, NamedPages)>,
    blocks: u64,
}

impl Taking<'_> {
    /// The next bytes of a file; whole pages, or whole frames.
    fn chunk(frames: &mut Frames, file: FileId, left: u64) -> Result<Vec<u8>, Refused> {
        match frames.recv()? {
            ToBackup::Chunk => {}
            other => return Err(Refused::Because(Cause::Failed, format!("{other:?} in place of bytes"))),
        }
        let bytes = frames.recv_bytes()?;
        if bytes.is_empty() || bytes.len() as u64 > left {
            return Err(damaged(format!("{}: {} bytes came, {left} were left", file.name(), bytes.len())));
        }
        Ok(bytes.to_vec())
    }

    fn log(&mut self, bytes: u64, frames: &mut Frames) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes {
            let chunk = Self::chunk(frames, FileId::Wal, bytes - at)?;
            self.check_log(at, &chunk)?;
            self.engine.receive(FileId::Wal, at, &chunk)?;
            at += chunk.len() as u64;
        }
        if let Some((_, pages)) = self.log.take() {
            self.named = pages.end();
        }
        Ok(())
    }

    fn check_log(&mut self, at: u64, chunk: &[u8]) -> Result<(), Refused> {
        let Some((chain, pages)) = &mut self.log else {
            let header = chunk.first_chunk().filter(|_| chunk.len() as u64 == WAL_HEADER_BYTES && at == 0);
            let chain = header.and_then(Chain::begin);
            let chain = chain.ok_or_else(|| damaged("main.db-wal: its header is damaged"))?;
            self.log = Some((chain, NamedPages::begin(chunk, self.blocks)));
            return Ok(());
        };
        let (whole, rest) = chunk.as_chunks::<{ FRAME_BYTES as usize }>();
        let first = at.saturating_sub(WAL_HEADER_BYTES) / FRAME_BYTES;
        if !rest.is_empty() {
            return Err(damaged("main.db-wal: half a frame came"));
        }
        for (index, frame) in (first..).zip(whole) {
            if !chain.next(frame) {
                let block = wal::frame_offset(index) / BLOCK_BYTES;
                return Err(damaged(format!("main.db-wal: the frame in block {block} fails its checksum")));
            }
            pages.frame(frame);
        }
        Ok(())
    }

    fn main(&mut self, bytes: u64, frames: &mut Frames) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes {
            let chunk = Self::chunk(frames, FileId::Main, bytes - at)?;
            let (pages, rest) = chunk.as_chunks::<PAGE_SIZE>();
            if !rest.is_empty() {
                return Err(damaged("main.db: half a page came"));
            }
            for (block, page) in (at / BLOCK_BYTES..).zip(pages) {
                let is_whole = u32::try_from(block + 1).is_ok_and(|number| verify_page(number, page).is_ok());
                if !is_whole && !self.named.is_dirty(FileId::Main, block) {
                    return Err(damaged(format!("main.db: block {block} fails its checksum")));
                }
            }
            self.engine.receive(FileId::Main, at, &chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }
}
