//! Stopping the whole cluster: primaries first, then mirrors.

use super::{Live, Operations, drive, outcome};
use crate::cluster::{ContentProgress, KILLED, NOT_RUNNING, Outcome, OutcomeStatus, Progressing, SegmentOutcome};
use crate::coordinator::hostwatch;
use crate::core::ids::Dbid;
use crate::core::report::StopMode;
use crate::core::row::{Role, SegmentRow};
use crate::hosts::{Fenced, Host};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A segment that was asked to stop fast and has not is killed: its log is replayed at the next start.
const FAST_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a segment came to its end.
enum End {
    /// As it was asked to.
    Stopped,
    /// It was to stop gently, and was killed: why.
    Killed(String),
    /// Nothing of it ran.
    NotRunning,
}

impl End {
    fn how(&self) -> &'static str {
        match self {
            End::Stopped => "stopped",
            End::Killed(_) => KILLED,
            End::NotRunning => NOT_RUNNING,
        }
    }
}

impl Operations {
    /// Stops every segment. FTS decides nothing from here on; running operations are given up. The
    /// rows stay as they are: pairs that are synchronized are recovered by the next start (R6). Who is asked to
    /// stop and has not `within` this time is killed; without one, a smart stop waits for its sessions for ever.
    pub async fn stop_all(
        &self,
        mode: StopMode,
        within: Option<Duration>,
        progress: &watch::Sender<Progressing>,
    ) -> Outcome {
        let within = within.or((mode != StopMode::Smart).then_some(FAST_WITHIN));
        let since = Instant::now();
        self.shared.stopping.store(true, Ordering::SeqCst);
        for content in self.shared.board.read(|k| k.contents.keys().copied().collect::<Vec<_>>()) {
            self.shared.prober.hold(content, true);
        }
        self.give_up_all();
        let mut segments = Vec::new();
        for role in [Role::Primary, Role::Mirror] {
            let rows = self.acting(role);
            let lines = rows.iter().map(|row| line(row, "stopping", false));
            progress.send_modify(|now| now.contents.extend(lines));
            let mut stopping = JoinSet::new();
            for row in rows {
                let ops = self.clone();
                stopping.spawn(async move {
                    let stopped = ops.stop_segment(&row, mode, within).await;
                    (row, stopped)
                });
            }
            while let Some(Ok((row, stopped))) = stopping.join_next().await {
                progress.send_modify(|now| {
                    now.elapsed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
                    now.contents.retain(|l| l.dbid != row.dbid);
                    now.contents.push(line(&row, if stopped.is_ok() { "stopped" } else { "not stopped" }, true));
                });
                segments.push(self.outcome_of(&row, stopped));
            }
        }
        let stopped = segments.iter().filter(|s| s.status == OutcomeStatus::Done).count();
        let elapsed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let is_done = stopped == segments.len();
        Outcome {
            verb: "stop".into(),
            status: if is_done { OutcomeStatus::Done } else { OutcomeStatus::Partial },
            op: None,
            message: format!("{stopped} of {} segments stopped", segments.len()),
            next: String::new(),
            refusals: Vec::new(),
            segments,
            elapsed_ms,
        }
    }

    fn give_up_all(&self) {
        let all: Vec<Arc<Live>> = self.shared.live().values().cloned().collect();
        for live in all {
            // A restore whose rows speak of the new copies is taken up by the next start.
            let goes_on = live.goal().replaces;
            live.goal().cancelled |= !goes_on;
            if let Some(task) = live.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
            if goes_on {
                self.shared.live().remove(&live.id);
                continue;
            }
            // What can't be written now is taken up by the next start.
            drive::finish(&self.shared, &live);
        }
    }

    fn acting(&self, role: Role) -> Vec<Arc<SegmentRow>> {
        let role_of = |dbid: Dbid, row: &SegmentRow| {
            let pair = self.shared.board.read(|k| k.row(row.content));
            pair.and_then(|p| p.role_of(dbid)).unwrap_or(row.role)
        };
        self.shared.places.rows().into_iter().filter(|row| role_of(row.dbid, row) == role).collect()
    }

    /// The pair is what its row says: that is what the next start takes up.
    fn outcome_of(&self, row: &SegmentRow, ended: Result<End, String>) -> SegmentOutcome {
        let (status, how, note) = match ended {
            Ok(end) => (OutcomeStatus::Done, end.how(), if let End::Killed(why) = end { why } else { String::new() }),
            Err(cause) => (OutcomeStatus::Partial, "stopped", cause),
        };
        let pair = outcome::pair(&self.shared, row.content).word().into();
        SegmentOutcome { pair, note, ..SegmentOutcome::of(row, status, how) }
    }

    async fn stop_segment(&self, row: &SegmentRow, mode: StopMode, within: Option<Duration>) -> Result<End, String> {
        let Some(host) = self.shared.places.host(&row.hostname) else {
            return Err(format!("host {} is not known", row.hostname));
        };
        let config = self.shared.site.segment_config(row);
        // A full copy lives beside its name until that is given to it.
        let datadirs = [config.on_new_copy().datadir, config.datadir];
        let answers = self.shared.board.read(|k| k.answer(row.dbid).is_some());
        let is_gentle = mode != StopMode::Immediate;
        if answers && is_gentle && self.stops_itself(&*host, row.dbid, &datadirs, mode, within).await {
            return Ok(End::Stopped);
        }
        let mut ran = false;
        for datadir in &datadirs {
            ran |= host.kill_segment(datadir).await.map_err(|e| e.to_string())? == Fenced::Killed;
        }
        Ok(match (ran, is_gentle, within) {
            (false, ..) if answers => End::Stopped,
            (false, ..) => End::NotRunning,
            (true, false, _) => End::Stopped,
            (true, true, Some(within)) if answers => {
                End::Killed(format!("it had not stopped after {} s", within.as_secs()))
            }
            (true, true, _) => End::Killed("it did not answer".into()),
        })
    }

    /// Asks a segment to stop; whether it has, within that time.
    async fn stops_itself(
        &self,
        host: &dyn Host,
        dbid: Dbid,
        datadirs: &[PathBuf; 2],
        mode: StopMode,
        within: Option<Duration>,
    ) -> bool {
        self.shared.prober.stop(dbid, mode);
        let since = Instant::now();
        while within.is_none_or(|within| since.elapsed() < within) {
            let seen = hostwatch::look(host, &self.shared.board).await;
            let runs = seen.running.iter().any(|r| datadirs.contains(&r.datadir));
            // It was asked itself; its port says as well as its host that it has ended.
            let gone = self.shared.board.read(|k| {
                k.segments.get(&dbid).and_then(|s| s.failing.as_ref()).is_some_and(|f| f.absent_since.is_some())
            });
            if (seen.pid.is_some() || gone) && !runs {
                return true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        false
    }
}

fn line(row: &SegmentRow, doing: &str, finished: bool) -> ContentProgress {
    ContentProgress { content: row.content, dbid: row.dbid, doing: doing.into(), finished, progress: None }
}
