//! What the coordinator hears of this segment.

use super::state::{Engine, Inner};
use super::storage::FileId;
use crate::core::pair::replica::{ACK_DEADLINE, Surroundings};
use crate::core::report::{Phase, Report};
use crate::core::track::BLOCK_BYTES;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a report waits for the engine's lock before it is told from the last one: a hung disk
/// holds the lock, and the coordinator must hear of that.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// The last report that could be made, and since when none can.
#[derive(Default)]
pub(super) struct LastReport(Mutex<(Option<Report>, Option<Instant>)>);

impl LastReport {
    fn lock(&self) -> MutexGuard<'_, (Option<Report>, Option<Instant>)> {
        // Both halves are only assigned, so they are whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, report: Report) {
        *self.lock() = (Some(report), None);
    }

    fn while_locked(&self) -> Option<Report> {
        let mut last = self.lock();
        last.1.get_or_insert_with(Instant::now);
        last.0.clone()
    }

    /// An engine whose lock nobody gets is as good as dead, whatever holds it.
    fn stuck(&self) -> Option<String> {
        let since = self.lock().1?.elapsed();
        (since > ACK_DEADLINE).then(|| format!("its engine has not answered for {} ms", since.as_millis()))
    }
}

impl Engine {
    /// The truth about this segment now. Never blocks longer than a moment.
    pub fn report(&self) -> Report {
        let asked = Instant::now();
        loop {
            match self.inner.try_lock() {
                Ok(inner) => {
                    let report = self.report_of(&inner);
                    drop(inner);
                    self.last_report.set(report.clone());
                    return report;
                }
                Err(TryLockError::WouldBlock) if asked.elapsed() > LOCK_PATIENCE => {
                    if let Some(mut last) = self.last_report.while_locked() {
                        last.sick = self.sick().or_else(|| self.last_report.stuck());
                        return last;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
                Err(TryLockError::Poisoned(_)) => panic!("a panic under the engine's lock ends the process"),
            }
        }
    }

    /// A disk that does not answer counts as a lost primary, though the process lives.
    fn sick(&self) -> Option<String> {
        let busy = self.disk.busy().filter(|busy| *busy > ACK_DEADLINE)?;
        Some(format!("its disk has not answered for {} ms", busy.as_millis()))
    }

    /// Blocks that a recovery would copy: those of main.db that are marked, and the log, which goes whole.
    fn blocks_to_copy(&self, inner: &Inner, phase: Phase) -> Option<u64> {
        let acting = inner.replica.acting().ok().filter(|_| phase == Phase::Tracking)?;
        let log = self.log_len(inner).ok()?.div_ceil(BLOCK_BYTES);
        Some(acting.primary().dirty().count_of(FileId::Main) + log)
    }

    fn report_of(&self, inner: &Inner) -> Report {
        let files_stand = self.disk.files_stand();
        // What is written to files without a name is gone with the process, whatever it is told.
        let astray = || (!files_stand).then(|| String::from("its files no longer stand under their names"));
        let mut report = inner.replica.report(&Surroundings {
            pid: std::process::id(),
            files_stand,
            data_bytes: self.disk.data_bytes(),
            free_bytes: self.disk.free_bytes(),
            sick: self.sick().or_else(astray),
        });
        report.dirty_blocks = self.blocks_to_copy(inner, report.phase).unwrap_or(report.dirty_blocks);
        let link = inner.replica.acting().ok().and_then(|acting| acting.link());
        report.lag = link.map(|link| inner.pacing.lag(link, self.now()));
        report
    }
}
