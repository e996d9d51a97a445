//! A restore's own parts: the backup is looked at before anything is changed, and sent to where it belongs.

use super::{Live, Shared};
use crate::cluster::{Progressing, Refusal, RefusalCode};
use crate::coordinator::backup::check::{Damage, checked, described};
use crate::coordinator::backup::send::Sending;
use crate::coordinator::site::Site;
use crate::core::backup::Manifest;
use crate::core::ids::{Content, Dbid};
use crate::core::operation::{Came, Ended, GoalKind, Stage, Target, Why};
use crate::core::report::{Progress, Stage as CopyStage};
use crate::net::Identity;
use std::path::{Path, PathBuf};

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// What a backup says of itself, or why it is refused. Reads no file of a content.
pub(in crate::coordinator) fn manifest(dir: &str) -> Result<Manifest, Refusal> {
    if !Path::new(dir).is_absolute() {
        return Err(damaged(format!("{dir} is not an absolute path: the directory is the coordinator's")));
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

/// Looks at every byte of the backup before anything is changed; ends every target when it is damaged. One that
/// was begun by an earlier coordinator was looked at then, and is judged again as it is sent.
pub(super) async fn check(live: &Live) {
    let (dir, is_fresh) = {
        let goal = live.goal();
        (PathBuf::from(&goal.dir), goal.targets.iter().all(|t| t.stage == Stage::Pending))
    };
    if !is_fresh {
        return;
    }
    live.progress.send_modify(|now: &mut Progressing| {
        now.elapsed_ms = live.elapsed_ms();
        now.contents.iter_mut().for_each(|line| line.doing = "checking the backup".into());
    });
    let checked = tokio::task::spawn_blocking(move || checked(&dir)).await;
    let damage = match checked {
        Ok(Ok(_)) => return,
        Ok(Err(damage)) => damage.to_string(),
        Err(gone) => gone.to_string(),
    };
    let mut goal = live.goal();
    for target in &mut goal.targets {
        target.ended = Some(Ended::Refused { why: Why::BackupDamaged, cause: damage.clone() });
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
    let total = content.files.iter().map(|file| file.bytes).sum();
    let sending = Sending {
        me: &shared.site.credentials(),
        to: (Site::endpoint(&segment), Identity::Segment(dbid)),
        dir: &dir,
        content,
        copy,
        rate_bytes,
    };
    match sending.all(|bytes| tell(live, target.content, bytes, total)).await {
        Ok(()) => {
            shared.prober.kick(Some(dbid));
            Came::Fine
        }
        Err(error) => Came::Failed(error.to_string()),
    }
}

fn tell(live: &Live, content: Content, bytes: u64, total: u64) {
    let copy = Progress {
        stage: CopyStage::DataCopy,
        total_blocks: total.div_ceil(BLOCK),
        copied_blocks: bytes.div_ceil(BLOCK),
        files_created: 0,
        files_dropped: 0,
        pause_open_us: None,
        pause_claim_us: None,
        elapsed_ms: u64::try_from(live.elapsed_ms()).unwrap_or_default(),
        rate_bytes: None,
    };
    live.progress.send_modify(|now: &mut Progressing| {
        now.elapsed_ms = live.elapsed_ms();
        if let Some(line) = now.contents.iter_mut().find(|line| line.content == content) {
            line.doing = "writing what the backup holds".into();
            line.progress = Some(copy);
        }
    });
}
