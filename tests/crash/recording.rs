//! A storage in memory that remembers every operation.

use crate::image::{Image, Op};
use segsh::engine::storage::{FileId, Position, Storage, StorageError};
use std::sync::{Mutex, MutexGuard};

/// The storage below the production VFS, without a disk or a mirror.
#[derive(Default)]
pub struct Recording {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    image: Image,
    ops: Vec<Op>,
    committed: u64,
    durable: u64,
}

impl Recording {
    /// A storage that finds these files, as a process does that starts after a crash.
    pub fn on(image: Image) -> Recording {
        Recording { state: Mutex::new(State { image, ..State::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic inside of it")
    }

    /// How many operations there were.
    pub fn position(&self) -> usize {
        self.lock().ops.len()
    }

    /// Every operation so far.
    pub fn ops(&self) -> Vec<Op> {
        self.lock().ops.clone()
    }

    /// The files as they are.
    pub fn image(&self) -> Image {
        self.lock().image.clone()
    }

    fn keep(&self, op: Op) {
        let mut state = self.lock();
        state.image.apply(&op);
        state.ops.push(op);
    }
}

impl Storage for Recording {
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        Ok(self.lock().image.read(file, offset, buf))
    }

    fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.keep(Op::Write { file, offset, data: data.into() });
        Ok(())
    }

    fn truncate(&self, file: FileId, len: u64) -> Result<(), StorageError> {
        self.keep(Op::Truncate { file, len });
        Ok(())
    }

    fn sync(&self, file: FileId) -> Result<(), StorageError> {
        self.keep(Op::Sync { file });
        Ok(())
    }

    fn commit(&self) -> Position {
        let mut state = self.lock();
        state.committed += 1;
        Position(state.committed)
    }

    fn position(&self) -> Position {
        Position(self.lock().committed)
    }

    fn durable(&self, position: Position, _go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let covers = Storage::position(self);
        if self.lock().durable < position.0 {
            self.sync(FileId::Wal)?;
            self.lock().durable = covers.0;
        }
        Ok(())
    }

    fn len(&self, file: FileId) -> Result<u64, StorageError> {
        Ok(self.lock().image.file(file).len() as u64)
    }

    fn checkpoint(&self, _running: bool) {}

    fn read_permit(&self, _go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        Ok(())
    }
}
