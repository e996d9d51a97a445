//! Taking on the files of a backup: a process that is nobody, on a copy that nobody may serve, is filled, and
//! only when all of it is durable does it become a copy that may.

use super::state::{Engine, EngineError, Inner};
use super::storage::{FileId, StorageError};
use crate::core::ids::{CopyId, Epoch};
use std::sync::MutexGuard;

impl Engine {
    /// Begins anew, with empty files.
    pub fn receive_begins(&self) -> Result<(), EngineError> {
        let _inner = self.may_receive()?;
        for file in FileId::ALL {
            self.disk.set_len(file, 0)?;
        }
        Ok(())
    }

    /// Writes the next bytes of a file.
    pub fn receive(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let _inner = self.may_receive()?;
        Ok(self.disk.write(file, offset, bytes)?)
    }

    /// Everything was written, and is what it should be: from here on it is this copy, and may serve
    /// when it is told so under a later epoch.
    pub fn received(&self, copy: CopyId, epoch: Epoch) -> Result<(), EngineError> {
        let mut inner = self.may_receive()?;
        for file in FileId::ALL {
            self.disk.sync(file)?;
        }
        self.transact(&mut inner, |replica| replica.restored(copy, epoch))?;
        drop(inner);
        self.announce();
        Ok(())
    }

    fn may_receive(&self) -> Result<MutexGuard<'_, Inner>, EngineError> {
        let inner = self.lock();
        match inner.replica.may_be_filled() {
            Ok(()) => Ok(inner),
            Err(why) => Err(EngineError::Storage(StorageError::Fenced(why.0))),
        }
    }
}
