//! A restore's own parts: the backup is looked at before anything is changed, and sent to where it belongs.

use super::{Live, Shared};
use crate::cluster::{Progressing, Refusal, RefusalCode};
use crate::coordinator::backup::check::{Damage, checked, described};
use crate::coordinator::backup::send::Sending;
use crate::coordinator::site::Site;
use crate::core::backup::Manifest;
use crate::core::ids::{Content, Dbid};
use crate::core::operation::{Came, Ended, GoalKind, Others, Stage, Target, Why};
use crate::net::Identity;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Room that a new copy leaves on its file system.
const ROOM_LEFT_BYTES: u64 = 32 << 20;
/// Between two looks whether the restore goes back.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a backup says of itself, or why it is refused. Reads no file of a content.
pub(in crate::coordinator) fn manifest(dir: &str) -> Result<Manifest, Refusal> {
    if !Path::new(dir).is_absolute() {
        let cause = format!("{dir} is not an absolute path: the directory is the coordinator's");
        return Err(Refusal { next: "restore(\"/WHOLE/PATH\")".into(), ..damaged(cause) });
    }
    described(Path::new(dir)).map_err(|damage| damaged(damage.to_string()))
}

fn damaged(cause: String) -> Refusal {
    let next = "choose another backup".to_owned();
    Refusal { code: RefusalCode::BackupDamaged, content: None, dbid: None, host: None, cause, next }
}

/// Why a restore is refused before it is begun.
pub(super) fn refused(shared: &Shared, dir: &str) -> Option<Refusal> {
    let manifest = match manifest(dir) {
        Ok(manifest) => manifest,
        Err(refusal) => return Some(refusal),
    };
    let ours: Vec<Content> = shared.board.read(|k| k.contents.keys().copied().collect());
    let theirs: Vec<Content> = manifest.contents.iter().map(|content| content.content).collect();
    (ours != theirs).then(|| {
        let cause = format!("the backup has {} contents, this cluster {}", theirs.len(), ours.len());
        let next = format!("segsh init DIR --contents {}", theirs.len());
        Refusal { next, ..damaged(cause) }
    })
}

/// Looks at every byte of the backup, and whether there is room for it, before anything is changed; ends every
/// target when it can't be. One that was begun by an earlier coordinator was looked at then, and is judged again
/// as it is sent.
pub(super) async fn check(shared: &Shared, live: &Live) {
    let (dir, targets) = {
        let goal = live.goal();
        (PathBuf::from(&goal.dir), goal.targets.clone())
    };
    if targets.iter().any(|t| t.stage != Stage::Pending) {
        return;
    }
    live.progress.send_modify(|now: &mut Progressing| {
        now.elapsed_ms = live.elapsed_ms();
        now.contents.iter_mut().for_each(|line| line.doing = "checking the backup".into());
    });
    let looking = tokio::task::spawn_blocking(move || checked(&dir));
    let manifest = tokio::select! {
        checked = looking => match checked {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(damage)) => return refuse_all(live, None, Why::BackupDamaged, &damage.to_string()),
            Err(gone) => return refuse_all(live, None, Why::BackupDamaged, &gone.to_string()),
        },
        // Every target says so itself.
        () = given_up(live) => return,
    };
    for target in &targets {
        let needed = bytes_of(&manifest, target.content).saturating_add(ROOM_LEFT_BYTES);
        let Some((segment, host)) = shared.places.segment(target.dbid) else { continue };
        // A host that does not answer is told of by the target.
        let Ok(free) = host.free_bytes(Path::new(&segment.datadir)).await else { continue };
        if free < needed {
            let cause = format!(
                "{} has {} MiB free, a new copy beside {} needs {}",
                segment.hostname,
                free >> 20,
                segment.datadir,
                needed >> 20
            );
            return refuse_all(live, Some(target.content), Why::NoSpace, &cause);
        }
    }
}

/// What a content takes in a data directory.
fn bytes_of(manifest: &Manifest, content: Content) -> u64 {
    let files = manifest.contents.iter().filter(|c| c.content == content).flat_map(|c| &c.files);
    files.fold(0, |all, file| all.saturating_add(file.bytes))
}

/// Ends every target before anything is begun: the one to blame says why, or all do.
fn refuse_all(live: &Live, blamed: Option<Content>, why: Why, cause: &str) {
    for target in &mut live.goal().targets {
        target.ended = Some(match blamed.is_none_or(|content| content == target.content) {
            true => Ended::Refused { why, cause: cause.into() },
            false => Ended::Cancelled { note: "a backup is restored whole, or not at all".into() },
        });
    }
}

/// Resolves when the restore goes back, because somebody wants that or because a content failed.
async fn given_up(live: &Live) {
    loop {
        if live.goal().others() == Others::GaveUp {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Writes what the backup holds of a content to the process that is to serve it.
pub(super) async fn fill(shared: &Shared, live: &Live, target: &Target, dbid: Dbid) -> Came {
    let (dir, kind) = {
        let goal = live.goal();
        (PathBuf::from(&goal.dir), goal.kind)
    };
    let (GoalKind::Restore { rate_bytes }, Some(copy)) = (kind, target.copy) else {
        return Came::Failed("nothing is to be restored".into());
    };
    let Some(epoch) = shared.board.read(|k| k.row(target.content)).map(|row| row.epoch) else {
        return Came::Failed("its rows are impossible".into());
    };
    let Some(segment) = shared.places.row(dbid) else {
        return Came::Failed(format!("dbid {dbid} is on no host of this cluster"));
    };
    let at = dir.clone();
    let manifest: Result<Manifest, Damage> = match tokio::task::spawn_blocking(move || described(&at)).await {
        Ok(manifest) => manifest,
        Err(gone) => return Came::Failed(gone.to_string()),
    };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(damage) => return Came::Failed(format!("the backup is damaged: {damage}")),
    };
    let Some(content) = manifest.contents.iter().find(|c| c.content == target.content) else {
        return Came::Failed("the backup does not hold it".into());
    };
    let total = bytes_of(&manifest, target.content);
    let sending = Sending {
        me: &shared.site.credentials(),
        to: (Site::endpoint(&segment), Identity::Segment(dbid)),
        dir: &dir,
        content,
        copy,
        epoch,
        rate_bytes,
    };
    let sent = tokio::select! {
        sent = sending.all(|bytes| tell(live, target.content, bytes, total)) => sent,
        // The target looks again, and goes back.
        () = given_up(live) => return Came::Stale,
    };
    match sent {
        Ok(()) => {
            shared.prober.kick(Some(dbid));
            Came::Fine
        }
        Err(error) => Came::Failed(error.to_string()),
    }
}

fn tell(live: &Live, content: Content, bytes: u64, total: u64) {
    let copy = live.data_copy(bytes, total);
    live.progress.send_modify(|now: &mut Progressing| {
        now.elapsed_ms = live.elapsed_ms();
        if let Some(line) = now.contents.iter_mut().find(|line| line.content == content) {
            line.doing = "writing what the backup holds".into();
            line.progress = Some(copy);
        }
    });
}
