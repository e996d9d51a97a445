//! A backup as the coordinator sees it: one barrier for all contents, all of it or nothing.

use super::*;
use crate::cluster::RefusalCode;
use crate::coordinator::testing::World;
use crate::coordinator::testing::doom::Doom;
use crate::core::backup::{Cause, FromBackup, Image, MANIFEST_FILE, Manifest, ToBackup, log_bytes};
use crate::core::ids::CopyId;
use crate::net::Framed;
use std::fs;
use std::path::Path;

const MAIN_BYTES: u64 = 2 * 4096;
const FRAMES: u64 = 1;

/// A stand-in segment's part: two pages and one frame, in chunks.
pub async fn serve(world: World, dbid: Dbid, mut framed: Framed) {
    let ended = |cause| FromBackup::Ended { cause, message: "the test said so".into() };
    let image = Image { copy: CopyId(1), epoch: Epoch(1), main_bytes: MAIN_BYTES, log_frames: FRAMES };
    let mut taking = None;
    while let Ok(message) = framed.recv::<ToBackup>().await {
        let answer = match message {
            ToBackup::Hold => FromBackup::Held { image },
            ToBackup::Release => {
                let mut inner = world.lock();
                if inner.late_holds > 0 {
                    inner.late_holds -= 1;
                    ended(Cause::TooLate)
                } else {
                    FromBackup::Released { held_us: 700 + dbid.0 as u64 }
                }
            }
            ToBackup::Take { copy, .. } => {
                taking = Some(copy);
                continue;
            }
            ToBackup::File { .. } => continue,
            ToBackup::Chunk => match framed.recv_bytes().await {
                Ok(_) => continue,
                Err(_) => return,
            },
            ToBackup::Keep => {
                let Some(copy) = taking.take() else { return };
                while world.lock().hold_fills {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                let mut inner = world.lock();
                if inner.fill_fails == Some(dbid) {
                    ended(Cause::Failed)
                } else {
                    inner.filled(dbid, copy);
                    FromBackup::Kept
                }
            }
            ToBackup::Stream { .. } => {
                if stream(&mut framed).await.is_err() {
                    return;
                }
                let ends = world.lock().stream_ends;
                ends.map_or(FromBackup::End, ended)
            }
        };
        if framed.send(&answer).await.is_err() {
            return;
        }
    }
}

async fn stream(framed: &mut Framed) -> Result<(), crate::net::NetError> {
    for (file, bytes) in [("main.db-wal", log_bytes(FRAMES)), ("main.db", MAIN_BYTES)] {
        framed.send(&FromBackup::File { file: file.into(), bytes }).await?;
        for part in vec![7; bytes as usize].chunks(3000) {
            framed.send(&FromBackup::Chunk).await?;
            framed.send_bytes(part).await?;
        }
    }
    Ok(())
}

fn backup(dir: &Path) -> Intent {
    let dir = dir.to_str().expect("a temporary path").to_owned();
    Intent::Backup { dir, selection: Selection::default(), rate_bytes: None, jobs: None }
}

/// A plan of both contents.
fn both(c: &Coordinator, dir: &Path) -> Plan {
    let mut plan = plan(c, backup(dir), P);
    plan.steps.push(PlanStep { content: Content(1), dbid: Dbid(3), ..plan.steps[0].clone() });
    plan
}

async fn made(c: &Coordinator, dir: &Path) -> Outcome {
    end(c, c.operations.begin(&both(c, dir), &owner()).unwrap()).await
}

fn manifest(dir: &Path) -> Manifest {
    Manifest::decode(&fs::read(dir.join(MANIFEST_FILE)).unwrap()).unwrap()
}

#[tokio::test]
async fn a_backup_has_every_content_and_a_missed_barrier_is_tried_again() {
    let cluster = Cluster::patient(2, "5s");
    let c = started(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    cluster.world.lock().late_holds = 1;
    let outcome = made(&c, &dir.path().join("b")).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(outcome.segments[1].copied_bytes, 4 * 4096, "two pages, and a frame that begins a third and a fourth");
    assert_eq!(outcome.segments[0].paused_us, [702]);
    let manifest = manifest(&dir.path().join("b"));
    assert_eq!((manifest.tries, manifest.contents.len(), manifest.operation), (2, 2, outcome.op.unwrap()));
    assert!(manifest.made_by.starts_with("u on h"), "{}", manifest.made_by);
    let names = |at: &Path| -> Vec<String> {
        let names = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names(&dir.path().join("b")), ["SHA256SUMS", "content0", "content1", "manifest.json"]);
    assert_eq!(fs::read(dir.path().join("b/content1/main.db")).unwrap(), vec![7; MAIN_BYTES as usize]);
    // A directory that holds a backup is never written to again.
    let again = c.operations.begin(&both(&c, &dir.path().join("b")), &owner()).unwrap();
    assert!(matches!(&again, Answer::Refused(r) if r[0].code == RefusalCode::BackupDir), "{again:?}");
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_none_and_leaves_nothing() {
    let cluster = Cluster::patient(2, "5s");
    let c = started(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("b");
    cluster.world.lock().late_holds = 100;
    let outcome = made(&c, &at).await;
    assert_eq!((outcome.status, outcome.refusals[0].code), (OutcomeStatus::Refused, RefusalCode::BarrierMissed));
    assert!(!at.exists());
    {
        let mut inner = cluster.world.lock();
        (inner.late_holds, inner.stream_ends) = (0, Some(Cause::GaveWay));
    }
    let outcome = made(&c, &at).await;
    assert_eq!((outcome.status, outcome.refusals[0].code), (OutcomeStatus::Refused, RefusalCode::BackupGaveWay));
    assert!(!at.exists());
    cluster.world.lock().stream_ends = Some(Cause::Damaged);
    let outcome = made(&c, &at).await;
    assert_eq!(outcome.refusals[0].code, RefusalCode::SourceDamaged, "{outcome:?}");
    cluster.world.lock().stream_ends = None;
    assert_eq!(made(&c, &at).await.status, OutcomeStatus::Done, "the same directory takes the next one");
}

#[tokio::test]
async fn a_coordinator_that_dies_leaves_no_backup_and_the_same_call_makes_one() {
    for strikes_at in 1.. {
        let cluster = Cluster::patient(2, "5s");
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("b");
        let doom = Doom::default();
        let c = Coordinator::start_doomed(cluster.site.clone(), cluster.hosts.clone(), doom.clone()).unwrap();
        end(&c, c.operations.begin_start(&owner()).unwrap()).await;
        doom.arm(strikes_at);
        let Answer::Begun { op, .. } = c.operations.begin(&both(&c, &at), &owner()).unwrap() else { panic!() };
        let struck = tokio::select! {
            _ = end(&c, Answer::Begun { op, joined: false }) => false,
            _ = doom.struck() => true,
        };
        if !struck {
            assert!(strikes_at > 2, "there are points to be killed at");
            return;
        }
        c.operations.abandon().await;
        drop(c);
        let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
        let outcome = end(&c, Answer::Begun { op, joined: false }).await;
        let is_whole = at.join(MANIFEST_FILE).exists();
        assert_eq!(outcome.status == OutcomeStatus::Done, is_whole, "{strikes_at}: {outcome:?}");
        assert_eq!(outcome.op, Some(op));
        let again = if is_whole { dir.path().join("again") } else { at };
        until(&c, "an answer", |c| c.board.read(|k| k.answer(P).is_some() && k.answer(Dbid(3)).is_some())).await;
        let outcome = made(&c, &again).await;
        assert_eq!(outcome.status, OutcomeStatus::Done, "{strikes_at}: {outcome:?}");
        assert_eq!(manifest(&again).contents.len(), 2);
    }
}

/// A backup of one content.
async fn of_one(dir: &Path) {
    let cluster = Cluster::patient(1, "5s");
    let c = started(&cluster).await;
    let outcome = end(&c, c.operations.begin(&plan(&c, backup(dir), P), &owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    c.operations.abandon().await;
}

/// What asks for it, and where the backup is for as long as that is kept.
async fn restore() -> (tempfile::TempDir, Intent) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("b");
    of_one(&at).await;
    (dir, restore_of(&at))
}

fn restore_of(dir: &Path) -> Intent {
    let dir = dir.to_str().expect("a temporary path").to_owned();
    Intent::Restore { dir, selection: Selection::default(), rate_bytes: None, jobs: None }
}

/// The copies of the primary and of its mirror.
fn copies(c: &Coordinator) -> [Option<CopyId>; 2] {
    [P, M].map(|dbid| c.board.read(|k| k.answer(dbid).map(|r| r.copy.copy)))
}

#[tokio::test]
async fn a_restore_gives_the_content_a_copy_that_nobody_had_and_makes_its_mirror_anew() {
    let cluster = Cluster::patient(1, "5s");
    let c = started(&cluster).await;
    let before = copies(&c);
    let (_dir, intent) = restore().await;
    let outcome = run(&c, intent, P).await;
    assert_eq!((outcome.status, outcome.segments[0].how.as_str()), (OutcomeStatus::Done, "restored"), "{outcome:?}");
    assert_eq!(row(&c), "p,s,u / m,s,u");
    let after = copies(&c);
    assert!(after[0] != before[0] && after[1] != before[1], "{before:?} {after:?}");
    assert_eq!(c.store.content(C0).unwrap().serving_copy, after[0]);
}

#[tokio::test]
async fn a_backup_with_one_byte_changed_in_any_file_changes_nothing() {
    let cluster = Cluster::patient(1, "5s");
    let c = started(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("b");
    of_one(&at).await;
    let before = c.board.read(|k| k.row(C0));
    for name in ["manifest.json", "SHA256SUMS", "content0/main.db", "content0/main.db-wal"] {
        let path = at.join(name);
        let whole = fs::read(&path).unwrap();
        for broken in [flipped(&whole), whole[..whole.len() - 1].to_vec(), [whole.clone(), vec![b' ']].concat()] {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            fs::write(&path, &broken).unwrap();
            let outcome = match c.operations.begin(&plan(&c, restore_of(&at), P), &owner()).unwrap() {
                Answer::Refused(refusals) => refusals[0].code,
                answer => end(&c, answer).await.refusals[0].code,
            };
            assert_eq!(outcome, RefusalCode::BackupDamaged, "{name}");
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(c.board.read(|k| k.row(C0)), before);
    assert_eq!(run(&c, restore_of(&at), P).await.status, OutcomeStatus::Done, "it was only that");
}

fn flipped(whole: &[u8]) -> Vec<u8> {
    let mut broken = whole.to_vec();
    broken[whole.len() / 2] ^= 0x10;
    broken
}

#[tokio::test]
async fn a_backup_of_another_number_of_contents_is_refused() {
    let cluster = Cluster::patient(2, "5s");
    let c = started(&cluster).await;
    let (_dir, intent) = restore().await;
    let answer = c.operations.begin(&plan(&c, intent, P), &owner()).unwrap();
    assert!(matches!(&answer, Answer::Refused(r) if r[0].next == "segsh init DIR --contents 1"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restore_goes_on_wherever_the_coordinator_was_killed() {
    let (_dir, intent) = restore().await;
    super::killed::killed_everywhere(super::killed::Kind::of_a_synchronized_pair(intent, P)).await;
}

/// A plan of both contents of a two-content cluster.
fn restore_both(c: &Coordinator, dir: &Path) -> Plan {
    Plan { intent: restore_of(dir), ..both(c, dir) }
}

/// What a restore that goes back must leave: rows, copies, and the copy that the catalog says served last.
fn standing(c: &Coordinator) -> Vec<(String, [Option<CopyId>; 2])> {
    let of = |content: i64, primary: i64| {
        let row = c.board.read(|k| k.row(Content(content))).map(|r| letters(&r)).unwrap_or_default();
        let copies = [primary, primary + 2].map(|n| c.board.read(|k| k.answer(Dbid(n)).map(|r| r.copy.copy)));
        (row, copies)
    };
    vec![of(0, 2), of(1, 3)]
}

#[tokio::test]
async fn a_restore_that_fails_in_one_content_leaves_every_content_with_what_it_had() {
    let cluster = Cluster::patient(2, "5s");
    let c = started(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("b");
    assert_eq!(made(&c, &at).await.status, OutcomeStatus::Done);
    let before = standing(&c);
    cluster.world.lock().fill_fails = Some(Dbid(3));
    let outcome = end(&c, c.operations.begin(&restore_both(&c, &at), &owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Partial, "{outcome:?}");
    let told = |n: usize| outcome.segments[n].note.clone();
    assert!(told(1).contains("the test said so") && told(1).contains("as it was"), "{}", told(1));
    assert!(told(0).contains("as it was"), "{}", told(0));
    assert_eq!(standing(&c), before, "{}", c.store.history().unwrap().join("\n"));
    // The directory beside is gone, too.
    let beside = |dir: &Path| dir.to_string_lossy().ends_with(crate::hosts::NEW_COPY_SUFFIX);
    assert!(!cluster.world.lock().dirs.keys().any(|dir| beside(dir)));
    cluster.world.lock().fill_fails = None;
    let outcome = end(&c, c.operations.begin(&restore_both(&c, &at), &owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert!(standing(&c).iter().zip(&before).all(|(now, old)| now.0 == old.0 && now.1[0] != old.1[0]));
}

#[tokio::test]
async fn a_restore_that_is_cancelled_before_all_is_there_leaves_everything_as_it_was() {
    let cluster = Cluster::patient(2, "5s");
    let c = started(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("b");
    assert_eq!(made(&c, &at).await.status, OutcomeStatus::Done);
    let before = standing(&c);
    cluster.world.lock().hold_fills = true;
    let answer = c.operations.begin(&restore_both(&c, &at), &owner()).unwrap();
    let Answer::Begun { op, .. } = answer else { panic!("{answer:?}") };
    until(&c, "both are being written", |_| {
        cluster.world.lock().procs.values().filter(|p| p.report.phase == Phase::Nobody).count() == 2
    })
    .await;
    assert!(c.operations.flag(op, false).unwrap());
    let outcome = end(&c, Answer::Begun { op, joined: false }).await;
    assert_eq!(outcome.status, OutcomeStatus::Cancelled, "{outcome:?}");
    assert_eq!(standing(&c), before, "{outcome:?}\n{}", c.store.history().unwrap().join("\n"));
    assert!(c.store.content(C0).unwrap().pair.is_ok());
}

#[tokio::test]
async fn a_content_that_nobody_can_serve_is_restored_too() {
    let cluster = Cluster::patient(1, "5s");
    let c = started(&cluster).await;
    let (_dir, intent) = restore().await;
    for dbid in [M, P] {
        cluster.world.kill(dbid);
        let config = cluster.site.segment_config(cluster.rows.iter().find(|r| r.dbid == dbid).unwrap());
        cluster.world.lock().dirs.remove(&config.datadir);
    }
    until(&c, "both to be missed", |c| c.board.read(|k| k.answer(P).is_none() && k.answer(M).is_none())).await;
    let outcome = run(&c, intent, P).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(row(&c), "p,s,u / m,s,u");
}
