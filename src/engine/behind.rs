//! What a mirror does behind the frames it applies: the syncs of a copy, and the write-back before them.
//!
//! A barrier behind much data takes as long as the disk. While it is synced the next frames are applied
//! already, so that the network and the processors do not wait for the disk: an answer says that what came
//! before its barrier is durable, and more may be. A barrier behind little data, as every commit's, is
//! answered by the applier itself, because a thread more would cost it more than the sync.

use super::link::{ReadError, write_frame};
use super::mirror::ApplyError;
use super::state::Engine;
use crate::core::frame::Frame;
use crate::core::pair::replica::Effect;
use crate::core::track::FileId;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

/// A barrier behind more bytes than this is answered behind the applier.
const MUCH_BYTES: u64 = 512 << 10;
/// Written back together.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// A barrier's syncs, and its answer.
pub(super) type Job = Vec<Effect>;

/// Shared by the thread that applies and the one that syncs behind it.
pub(super) struct Behind {
    /// Answers of both; each is one frame.
    writer: Mutex<TcpStream>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    jobs: usize,
    /// A sync failed: nothing is synced or answered any more.
    broken: bool,
    failure: Option<ApplyError>,
}

impl Behind {
    pub fn new(writer: TcpStream) -> Behind {
        Behind { writer: Mutex::new(writer), state: Mutex::default(), idle: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done under this lock, so it is whole whenever it is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an answer.
    pub fn answer(&self, frame: &Frame) -> Result<(), ReadError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(write_frame(&mut *writer, frame)?)
    }

    /// Ends the connection, with a last word for a primary that still listens.
    pub fn end(&self, word: &Frame) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write_frame(&mut *writer, word);
        let _ = writer.shutdown(Shutdown::Both);
    }

    /// Why something failed behind the applier; it is told once.
    pub fn failure(&self) -> Option<ApplyError> {
        self.state().failure.take()
    }

    /// A failed sync is never followed by another one that would be answered in its place.
    fn unbroken(state: &mut State) -> Result<(), ApplyError> {
        if state.broken {
            return Err(state.failure.take().unwrap_or(ApplyError::Link(ReadError::Ended)));
        }
        Ok(())
    }

    fn done(&self) {
        self.state().jobs -= 1;
        self.idle.notify_all();
    }

    fn failed(&self, error: ApplyError) {
        let mut state = self.state();
        (state.broken, state.failure) = (true, Some(error));
        drop(state);
        self.idle.notify_all();
        // The applier waits for a frame: this is how it hears of it. It still has to say why it ends.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.shutdown(Shutdown::Read);
    }
}

/// The applier's own side: what was written since the last barrier.
pub(super) struct Ahead<'a> {
    behind: &'a Behind,
    jobs: mpsc::Sender<Job>,
    bytes: u64,
    /// Written without a gap, and not handed to write-back yet.
    fresh: Option<(FileId, u64, u64)>,
}

impl<'a> Ahead<'a> {
    pub fn new(behind: &'a Behind, jobs: mpsc::Sender<Job>) -> Ahead<'a> {
        Ahead { behind, jobs, bytes: 0, fresh: None }
    }

    /// So many bytes were written there. Returns a range that is worth writing back now.
    pub fn wrote(&mut self, file: FileId, offset: u64, len: u64) -> Option<(FileId, u64, u64)> {
        self.bytes += len;
        match &mut self.fresh {
            Some((of, first, end)) if *of == file && *end == offset => {
                *end += len;
                if *end - *first >= WRITE_BACK_BYTES {
                    return self.fresh.take().map(|(file, first, end)| (file, first, end - first));
                }
            }
            fresh => *fresh = Some((file, offset, offset + len)),
        }
        None
    }

    /// A barrier's effects, if the applier has to carry them out itself; else they are under way.
    pub fn barrier(&mut self, effects: Job) -> Result<Option<Job>, ApplyError> {
        self.fresh = None;
        let mut state = self.behind.state();
        Behind::unbroken(&mut state)?;
        // Barriers are answered in their order: behind one that is under way all the others queue.
        if std::mem::take(&mut self.bytes) < MUCH_BYTES && state.jobs == 0 {
            return Ok(Some(effects));
        }
        state.jobs += 1;
        drop(state);
        // It ends before this side only when it failed, and then it has said why.
        self.jobs.send(effects).map_err(|_| ApplyError::Link(ReadError::Ended))?;
        Ok(None)
    }

    /// Before a frame that says something of the whole copy: every barrier before it was met.
    pub fn settle(&self) -> Result<(), ApplyError> {
        let mut state = self.behind.state();
        while state.jobs > 0 && !state.broken {
            state = self.behind.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Behind::unbroken(&mut state)
    }
}

impl Engine {
    /// Syncs and answers barriers, until the applier has ended.
    pub(super) fn sync_behind(&self, behind: &Behind, jobs: mpsc::Receiver<Job>) {
        for effects in jobs {
            if let Err(error) = self.answer_barrier(behind, effects) {
                return behind.failed(error);
            }
            behind.done();
        }
    }

    pub(super) fn answer_barrier(&self, behind: &Behind, effects: Job) -> Result<(), ApplyError> {
        for effect in self.carry_out(effects)? {
            if let Effect::Answer(frame) = effect {
                behind.answer(&frame)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::link::read_frame;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_sync_that_fails_ends_the_applier_which_still_says_why() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let mut primary = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let (mut applier, _) = listener.accept().expect("accepted");
        let behind = Behind::new(applier.try_clone().expect("the same socket"));
        behind.failed(ApplyError::Link(ReadError::Ended));
        assert_eq!(applier.read(&mut [0]).expect("it is woken"), 0);
        behind.end(&Frame::Failed("EIO".into()));
        assert_eq!(read_frame(&mut primary).expect("a frame"), Frame::Failed("EIO".into()));
    }
}
