//! Driving a backup: one barrier for all of its contents, then each is written beside the others.
//!
//! It is whole or it is none. Nothing of it survives its coordinator: the connections are what holds commits
//! and logs, so an operation that is found begun has ended, and is said to have.

use super::{Live, Shared};
use crate::cluster::{Progressing, Refusal, RefusalCode};
use crate::coordinator::backup::barrier::{Barrier, Source, barrier};
use crate::coordinator::backup::place::{Place, PlaceError, manifest_in, room};
use crate::coordinator::backup::{BackupError, receive};
use crate::coordinator::site::Site;
use crate::coordinator::store::timestamp;
use crate::core::backup::{BackedUpContent, Cause, MANIFEST_SCHEMA, Manifest};
use crate::core::ids::Content;
use crate::core::operation::{Ended, Goal, GoalKind, Stage, Why};
use crate::core::report::{Phase, Progress};
use crate::net::NetError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Between two looks whether it was cancelled, at most.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why a directory is refused before anything is begun; `None` when it can take so many bytes.
pub(super) fn refused(dir: &str, bytes: u64) -> Option<Refusal> {
    let refusal = |code, cause: String, next: &str| {
        Some(Refusal { code, content: None, dbid: None, host: None, cause, next: next.into() })
    };
    match room(Path::new(dir)) {
        Ok(room) if room < bytes => {
            let cause = format!("{dir} has {} MiB free, the backup needs {}", room >> 20, bytes >> 20);
            refusal(RefusalCode::NoSpace, cause, "free space there, or choose another directory")
        }
        Ok(_) => None,
        Err(error) => refusal(RefusalCode::BackupDir, error.to_string(), "backup(\"/ANOTHER/DIR\")"),
    }
}

/// What ended a backup before it was whole.
enum Broken {
    Error(BackupError),
    Place(PlaceError),
    Cancelled,
    /// The coordinator that made it has ended.
    Left,
}

/// Makes the backup of a goal; every target has ended then.
pub(super) async fn run(shared: &Arc<Shared>, live: &Arc<Live>) {
    let goal = live.goal().clone();
    let made = if goal.targets.iter().any(|t| t.stage != Stage::Pending) {
        left(live, &goal).await
    } else {
        let making = Making { shared, live, goal: &goal };
        tokio::select! {
            made = making.make() => made,
            () = cancelled(live) => Err(Broken::Cancelled),
        }
    };
    if made.is_err() && !matches!(made, Err(Broken::Left)) {
        discard(live, &goal).await;
    }
    let mut goal = live.goal();
    match made {
        Ok(summary) => {
            goal.summary = summary;
            for target in &mut goal.targets {
                target.ended = Some(Ended::Done { how: "backed up".into(), note: String::new() });
            }
        }
        Err(broken) => end_all(&mut goal, &broken),
    }
}

/// What a coordinator that has ended left of it: the whole backup, when that ended after its manifest stood.
async fn left(live: &Live, goal: &Goal) -> Result<String, Broken> {
    let dir = PathBuf::from(&goal.dir);
    let found = tokio::task::spawn_blocking(move || manifest_in(&dir)).await;
    let Ok(Ok(manifest)) = found else { return Err(Broken::Left) };
    if manifest.operation != live.id {
        return Err(Broken::Left);
    }
    for content in &manifest.contents {
        let bytes = content.files.iter().map(|file| file.bytes).sum();
        tell(live, content.content, content.held_us, bytes, bytes);
    }
    Ok(summary(&manifest, &goal.dir))
}

/// Resolves when somebody wants it to end: half of a backup is none, so every way of asking means that.
async fn cancelled(live: &Live) {
    let mut flags = live.flags.subscribe();
    loop {
        {
            let goal = live.goal();
            if goal.cancelled || goal.stop_after_segment {
                return;
            }
        }
        // The time is for a flag that was raised before the subscription.
        let _ = tokio::time::timeout(LOOK_AGAIN, flags.changed()).await;
    }
}

/// Removes what was written, in the directory that this operation took.
async fn discard(live: &Live, goal: &Goal) {
    let place = live.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let Some(place) = place else { return };
    let removed = tokio::task::spawn_blocking(move || place.discard()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(op = live.id, dir = goal.dir, %error, "what is left of a backup could not be removed");
    }
}

/// The content that is to blame says why, the others that they are of no use without it.
fn end_all(goal: &mut Goal, broken: &Broken) {
    let blamed = match broken {
        Broken::Error(error) => Some(error.content()),
        Broken::Place(_) | Broken::Cancelled | Broken::Left => None,
    };
    for target in &mut goal.targets {
        target.ended = Some(match broken {
            Broken::Error(error) if blamed == Some(target.content) => ended(error),
            Broken::Error(_) => Ended::Cancelled { note: "the backup is whole, or it is none".into() },
            Broken::Place(error) => Ended::Failed { cause: error.to_string() },
            Broken::Cancelled => Ended::Cancelled { note: "nothing is left of it".into() },
            Broken::Left => Ended::Failed {
                cause: format!("the coordinator ended before it was whole; what is in {} is no backup", goal.dir),
            },
        });
    }
}

fn ended(error: &BackupError) -> Ended {
    let why = match error {
        BackupError::Missed { .. } => Why::BarrierMissed,
        BackupError::Ended { cause: Cause::GaveWay, .. } => Why::GaveWay,
        BackupError::Ended { cause: Cause::Damaged, .. } => Why::SourceDamaged,
        BackupError::NotServed { .. } | BackupError::Ended { cause: Cause::NotServing, .. } => Why::DoubleFault,
        _ => return Ended::Failed { cause: error.to_string() },
    };
    Ended::Refused { why, cause: error.to_string() }
}

struct Making<'a> {
    shared: &'a Arc<Shared>,
    live: &'a Arc<Live>,
    goal: &'a Goal,
}

impl Making<'_> {
    /// Everything; what is told at the end.
    async fn make(&self) -> Result<String, Broken> {
        self.begun();
        let place = self.prepare().await?;
        let me = self.shared.site.credentials();
        self.say_all("waiting for the barrier");
        let barrier = barrier(&me, || self.sources()).await.map_err(Broken::Error)?;
        #[cfg(test)]
        self.shared.store.doom.pass("behind the barrier").await;
        let (at_ms, window_us, tries) = (barrier.at_ms, barrier.window_us, barrier.tries);
        let contents = match self.receive_all(barrier, &place).await {
            Ok(contents) => contents,
            Err(error) => return Err(Broken::Error(self.explained(error).await)),
        };
        let manifest = self.manifest(contents, at_ms, window_us, tries);
        #[cfg(test)]
        self.shared.store.doom.pass("before the manifest").await;
        let summary = summary(&manifest, &self.goal.dir);
        let written = tokio::task::spawn_blocking(move || place.complete(&manifest)).await;
        written.unwrap_or_else(|gone| Err(PlaceError::Gone(gone.to_string()))).map_err(Broken::Place)?;
        // It is whole: nothing of it is removed from here on.
        self.take_place();
        Ok(summary)
    }

    /// A coordinator that finds it so finds no backup of its own making.
    fn begun(&self) {
        let goal = {
            let mut goal = self.live.goal();
            goal.targets.iter_mut().for_each(|target| target.stage = Stage::Streaming);
            goal.clone()
        };
        if let Err(error) = self.shared.store.save_goal(self.live.id, &goal) {
            tracing::error!(op = self.live.id, %error, "how far a goal is could not be written");
        }
    }

    async fn prepare(&self) -> Result<Arc<Place>, Broken> {
        let dir = PathBuf::from(&self.goal.dir);
        let contents: Vec<Content> = self.goal.targets.iter().map(|t| t.content).collect();
        let made = tokio::task::spawn_blocking(move || Place::prepare(&dir, &contents)).await;
        let place = made.unwrap_or_else(|gone| Err(PlaceError::Gone(gone.to_string()))).map_err(Broken::Place)?;
        let place = Arc::new(place);
        *self.live.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(place.clone());
        Ok(place)
    }

    fn take_place(&self) {
        self.live.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    /// The acting primaries, by the rows as they are now.
    fn sources(&self) -> Result<Vec<Source>, BackupError> {
        let source = |content: Content| {
            let not_served = |why: String| BackupError::NotServed { content, why };
            let row = self.shared.board.read(|k| k.row(content)).ok_or_else(|| not_served("it has no pair".into()))?;
            let dbid = row.primary.dbid;
            let segment = self.shared.places.row(dbid);
            let segment = segment.ok_or_else(|| not_served(format!("dbid {dbid} is not in the catalog")))?;
            Ok(Source { content, dbid, at: Site::endpoint(&segment) })
        };
        self.goal.targets.iter().map(|target| source(target.content)).collect()
    }

    async fn receive_all(&self, barrier: Barrier, place: &Arc<Place>) -> Result<Vec<BackedUpContent>, BackupError> {
        let GoalKind::Backup { rate_bytes } = self.goal.kind else { return Ok(Vec::new()) };
        let slots = Arc::new(Semaphore::new(self.goal.jobs.max(1)));
        let mut under_way = JoinSet::new();
        for held in barrier.contents {
            let (live, place, slots) = (self.live.clone(), place.clone(), slots.clone());
            under_way.spawn(async move {
                // The semaphore is never closed.
                let _slot = slots.acquire().await;
                let (content, held_us) = (held.content, held.held_us);
                let total = held.image.main_bytes.saturating_add(crate::core::backup::log_bytes(held.image.log_frames));
                let told = |bytes: u64| tell(&live, content, held_us, bytes, total);
                told(0);
                receive(held, &place, rate_bytes, told).await
            });
        }
        let mut contents = Vec::new();
        while let Some(received) = under_way.join_next().await {
            match received {
                Ok(content) => contents.push(content?),
                Err(error) => tracing::error!(op = self.live.id, %error, "a content was given up"),
            }
        }
        contents.sort_by_key(|content: &BackedUpContent| content.content);
        match self.goal.targets.iter().find(|t| !contents.iter().any(|c| c.content == t.content)) {
            Some(missing) => {
                Err(BackupError::NotServed { content: missing.content, why: "its files were not written".into() })
            }
            None => Ok(contents),
        }
    }

    /// A segment that is there, and has ended the connection without a word, has done so because its log was
    /// about to be full: it could not say so to one that took nothing.
    async fn explained(&self, error: BackupError) -> BackupError {
        let BackupError::Net { content, dbid, error: NetError::Closed { message } } = error else { return error };
        self.shared.prober.probe().await;
        let serves = self.shared.board.read(|k| {
            let acts = k.row(content).is_some_and(|row| row.primary.dbid == dbid);
            acts && k.answer(dbid).is_some_and(|r| r.phase != Phase::Nobody)
        });
        if !serves {
            return BackupError::Net { content, dbid, error: NetError::Closed { message } };
        }
        let message = "it ended the connection, as it does when its log is about to be full".into();
        BackupError::Ended { content, dbid, cause: Cause::GaveWay, message }
    }

    fn manifest(&self, contents: Vec<BackedUpContent>, at_ms: i64, window_us: u64, tries: u32) -> Manifest {
        let site = &self.shared.site;
        Manifest {
            schema: MANIFEST_SCHEMA,
            release: env!("CARGO_PKG_VERSION").into(),
            cluster: site.cluster.clone(),
            cluster_id: site.cluster_id.clone(),
            operation: self.live.id,
            made_by: self.live.owner.who(),
            barrier_ms: at_ms,
            barrier: timestamp(at_ms),
            window_us,
            tries,
            contents,
        }
    }

    fn say_all(&self, doing: &str) {
        self.live.progress.send_modify(|now: &mut Progressing| {
            now.elapsed_ms = self.live.elapsed_ms();
            now.contents.iter_mut().for_each(|line| line.doing = doing.into());
        });
    }
}

/// How far a content is, in the words of every other copy.
fn tell(live: &Live, content: Content, held_us: u64, bytes: u64, total: u64) {
    let copy = Progress { pause_open_us: Some(held_us), ..live.data_copy(bytes, total) };
    live.copies().insert(content, copy.clone());
    live.progress.send_modify(|now: &mut Progressing| {
        now.elapsed_ms = live.elapsed_ms();
        if let Some(line) = now.contents.iter_mut().find(|line| line.content == content) {
            line.finished = bytes >= total;
            line.doing = if line.finished { "written" } else { "data copy" }.into();
            line.progress = Some(copy);
        }
    });
}

fn summary(manifest: &Manifest, dir: &str) -> String {
    let ms = |us: u64| us as f64 / 1000.0;
    format!(
        "{} bytes of {} contents in {dir}, as of {}; commits waited {:.1} ms at most (all of it took {:.1} ms)",
        manifest.bytes(),
        manifest.contents.len(),
        manifest.barrier,
        ms(manifest.longest_hold_us()),
        ms(manifest.window_us),
    )
}
