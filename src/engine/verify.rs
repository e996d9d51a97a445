//! Comparing this side with its mirror, online, on a thread of its own: [`Replica`] says what is to be
//! done next, and what a difference means.
//!
//! [`Replica`]: crate::core::pair::replica::Replica

use super::state::{Engine, EngineError, Inner, Undone};
use super::storage::{FileId, StorageError};
use crate::core::pair::replica::{CompareWork, LinkId};
use crate::core::track::{BLOCK_BYTES, DirtyMap, Run};
use crate::core::verify::{CHUNK_BYTES, Chunk, Held, UNREADABLE, hash, hashes};
use std::sync::Arc;

impl Engine {
    /// Compares every block with the mirror's, for an operation; said again for the same one it changes
    /// nothing. The report says how far it is. `rate_bytes` is a cap in bytes per second.
    pub fn verify(self: &Arc<Engine>, op: i64, rate_bytes: Option<u64>) {
        self.aside(move |engine| {
            let begins = engine.lock().replica.verify(op, rate_bytes, engine.now());
            if begins {
                engine.compare(op);
            }
            (engine.notify)();
        });
    }

    /// Ends the comparison of an operation.
    pub fn end_verify(self: &Arc<Engine>, op: i64) {
        self.aside(move |engine| {
            engine.lock().replica.end_verify(op);
            engine.announce();
        });
    }

    /// Does something on a thread of its own: a hung disk may hold the lock, and whoever asks does not wait.
    fn aside(self: &Arc<Engine>, work: impl FnOnce(&Engine) + Send + 'static) {
        let engine = self.clone();
        if let Err(error) = std::thread::Builder::new().name("verify".into()).spawn(move || work(&engine)) {
            tracing::error!(%error, "no thread to compare; it is asked for again");
        }
    }

    /// The blocks in which the mirror may differ; none while this is no acting primary.
    pub fn differing(&self) -> DirtyMap {
        self.lock().replica.differing().unwrap_or_default()
    }

    /// Reads what no write changes half way: a page that a checkpoint is just writing is read before it
    /// or after it.
    pub fn read_settled(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        let _inner = self.lock();
        self.disk.read(file, offset, buf)
    }

    /// Makes durable whether this side's data may be copied over its mirror's: what is damaged, or nothing.
    pub fn judged(&self, damaged: Option<String>) -> Result<(), EngineError> {
        self.transact(&mut self.lock(), |replica| replica.judged(damaged))?;
        self.announce();
        Ok(())
    }

    /// SQLite was about to read what was never written. In sync, the mirror takes over, as after an I/O error;
    /// otherwise this is the only copy: it serves what it can, and is never copied from.
    pub(super) fn met_damage(&self, file: FileId, block: u64) {
        let why = format!("{}: block {block} fails its checksum", file.name());
        let mut inner = self.lock();
        if inner.replica.may_give_way() {
            let damaged = Run { file, first: block, count: 1 };
            if let Err(error) = self.transact(&mut inner, |replica| replica.gives_way(why.clone(), damaged)) {
                tracing::error!(?error, "that this side is damaged could not be kept");
            }
            self.disk_failed(&mut inner, StorageError::Io(why));
            return;
        }
        tracing::error!(why, "this side is damaged");
        match self.transact(&mut inner, |replica| replica.met_damage(why)) {
            Ok(_) | Err(Undone::Event(_)) => {}
            Err(Undone::Effect(error)) => match error.as_storage() {
                StorageError::Full => tracing::error!(%error, "that it is damaged could not be kept"),
                failed => drop(self.disk_failed(&mut inner, failed)),
            },
        }
        drop(inner);
        self.announce();
    }

    fn compare(&self, op: i64) {
        loop {
            let mut inner = self.lock();
            match inner.replica.compare_work(op, self.now()) {
                CompareWork::Over => return,
                CompareWork::Wait(time) => drop(self.wait_for(inner, time)),
                CompareWork::Ask(file) => {
                    drop(inner);
                    if let Err(error) = self.ask(op, file) {
                        self.disk_failed(&mut self.lock(), error);
                        return;
                    }
                    self.to_send.notify_all();
                    // Between two chunks it is the sessions' turn.
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Reads the next chunk and puts its request into the stream.
    fn ask(&self, op: i64, file: FileId) -> Result<(), StorageError> {
        let file_len = self.disk.len(file)?;
        let Some(chunk) = self.lock().replica.chunk(op, file_len) else { return Ok(()) };
        let mut bytes = room_for(chunk);
        // Read twice: first without the lock, for then no write waits for a disk that is slow to find it.
        self.disk.read(file, chunk.offset, &mut bytes)?;
        let mut inner = self.lock();
        let read = self.disk.read(file, chunk.offset, &mut bytes)?;
        let ours = Held { file_len: self.disk.len(file)?, hashes: hashes(&bytes[..read]) };
        inner.replica.asked(op, chunk, ours);
        Ok(())
    }

    /// The mirror's hashes of a chunk came on a link; false when the link is another one by now.
    pub(super) fn take_hashes(&self, inner: &mut Inner, link: LinkId, file: FileId, offset: u64, held: &Held) -> bool {
        if inner.replica.is_equal(file, offset, held) {
            return inner.replica.compared(link, file, offset, held).is_ok();
        }
        match self.transact(inner, |replica| replica.compared(link, file, offset, held)) {
            Ok(_) => {
                tracing::error!(file = file.name(), offset, "the mirror differs");
                (self.notify)();
                true
            }
            Err(Undone::Event(_)) => false,
            Err(Undone::Effect(error)) => {
                match error.as_storage() {
                    StorageError::Full => inner.replica.not_kept(&error.to_string()),
                    failed => drop(self.disk_failed(inner, failed)),
                }
                true
            }
        }
    }

    /// What this copy holds of a chunk: as the mirror, after every frame before the request.
    pub(super) fn hold(&self, chunk: Chunk) -> Result<Held, StorageError> {
        let mut bytes = room_for(chunk);
        let hashes = match self.disk.read(chunk.file, chunk.offset, &mut bytes) {
            Ok(read) => hashes(&bytes[..read]),
            Err(error) => {
                // One sector that is lost must not hide behind the end of the link: a copy over it may heal it.
                tracing::error!(%error, ?chunk, "can't be read in one piece");
                self.hash_each(chunk)
            }
        };
        Ok(Held { file_len: self.disk.len(chunk.file)?, hashes })
    }

    /// Block by block, those that can't be read marked as such.
    fn hash_each(&self, chunk: Chunk) -> Vec<u128> {
        let mut hashed = Vec::new();
        let mut block = [0; BLOCK_BYTES as usize];
        for at in (0..chunk.len).step_by(block.len()) {
            let wanted = usize::try_from((chunk.len - at).min(BLOCK_BYTES)).expect("a block fits into memory");
            match self.disk.read(chunk.file, chunk.offset + at, &mut block[..wanted]) {
                Ok(0) => break,
                Ok(read) => hashed.push(hash(&block[..read])),
                Err(_) => hashed.push(UNREADABLE),
            }
        }
        hashed
    }
}

fn room_for(chunk: Chunk) -> Vec<u8> {
    vec![0; usize::try_from(chunk.len.min(CHUNK_BYTES)).expect("a chunk fits into memory")]
}
