//! backup(): a consistent cut across contents, taken while writing goes on.

use crate::support::wait::{secs, wait_for};
use crate::support::wire::Wire;
use crate::support::{Cluster, processes};
use rusqlite::{Connection, OpenFlags};
use segsh::core::backup::{MANIFEST_FILE, Manifest, SUMS_FILE};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

const WRITERS: usize = 4;

/// A writer's rows go to content 0 and content 1 by turns, each after the one before was acknowledged: in a
/// consistent cut they are a prefix.
struct Alternating {
    stop: Arc<AtomicBool>,
    /// Rows acknowledged by each writer.
    acked: Arc<Vec<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Alternating {
    fn start(cluster: &Cluster) -> Alternating {
        for content in [0, 1] {
            cluster.content(content).run("create table if not exists steps(writer int not null, step int not null)");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let acked: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
        let write = |writer: usize| {
            let (stop, acked, socket) = (stop.clone(), acked.clone(), cluster.socket());
            std::thread::spawn(move || {
                let connect = |content: usize| Wire::connect(&socket, &format!("content{content}")).expect("a session");
                let mut sessions = [connect(0), connect(1)];
                for step in 1_u64.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let insert = format!("insert into steps values ({writer}, {step})");
                    let wire = &mut sessions[(step % 2) as usize];
                    // Some in a transaction of their own.
                    let sql = if step % 5 == 0 { format!("begin; {insert}; commit") } else { insert };
                    let reply = wire.query(&sql).unwrap_or_else(|lost| panic!("writer {writer}: {lost:?}"));
                    assert!(reply.error.is_none(), "writer {writer}: {:?}", reply.error);
                    acked[writer].store(step, Ordering::SeqCst);
                }
            })
        };
        let threads = (0..WRITERS).map(write).collect();
        let writers = Alternating { stop, acked, threads };
        writers.wait_for_more(20);
        writers
    }

    fn acked(&self) -> Vec<u64> {
        self.acked.iter().map(|acked| acked.load(Ordering::SeqCst)).collect()
    }

    fn wait_for_more(&self, steps: u64) {
        let goal: Vec<u64> = self.acked().iter().map(|acked| acked + steps).collect();
        wait_for("the writers to go on", secs(30), || self.acked().iter().zip(&goal).all(|(now, goal)| now >= goal));
    }

    fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().expect("a writer never fails"));
    }
}

/// A content of a backup as anybody can look at it: copied first, because SQLite writes to what it opens.
fn opened(backup: &Path, content: i64, to: &Path) -> Connection {
    let to = to.join(format!("content{content}"));
    std::fs::create_dir_all(&to).expect("a directory");
    for entry in std::fs::read_dir(backup.join(format!("content{content}"))).expect("the content's directory") {
        let entry = entry.expect("an entry");
        let copy = to.join(entry.file_name());
        std::fs::copy(entry.path(), &copy).expect("a copy");
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    }
    Connection::open_with_flags(to.join("main.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database")
}

/// The steps that a backup holds of each writer, in their order.
fn steps(backup: &Path) -> BTreeMap<usize, Vec<u64>> {
    let to = tempfile::tempdir().expect("a directory");
    let mut all: BTreeMap<usize, Vec<u64>> = (0..WRITERS).map(|writer| (writer, Vec::new())).collect();
    for content in [0, 1] {
        let connection = opened(backup, content, to.path());
        let check: String = connection.query_row("pragma integrity_check", [], |r| r.get(0)).expect("an answer");
        assert_eq!(check, "ok", "content {content}");
        let mut rows = connection.prepare("select writer, step from steps").expect("the table");
        let rows = rows.query_map([], |r| Ok((r.get::<_, i64>(0)? as usize, r.get::<_, i64>(1)? as u64)));
        for row in rows.expect("rows") {
            let (writer, step) = row.expect("a row");
            all.get_mut(&writer).expect("a writer of ours").push(step);
        }
    }
    all.values_mut().for_each(|steps| steps.sort_unstable());
    all
}

/// Each writer's rows are a prefix over both contents: with all that was acknowledged before, and nothing that
/// was sent after.
fn assert_consistent_cut(backup: &Path, before: &[u64], after: &[u64]) {
    for (writer, steps) in steps(backup) {
        let whole: Vec<u64> = (1..=steps.len() as u64).collect();
        assert_eq!(steps, whole, "writer {writer}: no gap, nothing twice");
        let last = steps.len() as u64;
        assert!(last >= before[writer], "writer {writer}: {last} of {} acknowledged before", before[writer]);
        assert!(last <= after[writer] + 1, "writer {writer}: {last}, and {} was acknowledged after", after[writer]);
    }
}

fn manifest(backup: &Path) -> Manifest {
    let text = std::fs::read(backup.join(MANIFEST_FILE)).expect("a manifest");
    Manifest::decode(&text).expect("a manifest of ours")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path")
}

fn refusal_code(cluster: &Cluster, code: &str) -> Value {
    let ran = cluster.segsh(&["--json", "-e", code]).exits(4);
    ran.json()["value"]["refusals"][0]["code"].clone()
}

#[test]
fn a_backup_under_load_is_a_consistent_cut_and_says_for_how_long_commits_waited() {
    let cluster = Cluster::new(2);
    let dir = tempfile::tempdir().expect("a directory");
    let writers = Alternating::start(&cluster);
    for n in 0..3 {
        let backup: PathBuf = dir.path().join(n.to_string());
        let before = writers.acked();
        let outcome = cluster.outcome(&format!("backup({:?})", text(&backup)));
        let after = writers.acked();
        assert_consistent_cut(&backup, &before, &after);
        let manifest = manifest(&backup);
        println!("{}; tries {}", outcome["message"], manifest.tries);
        assert!(manifest.longest_hold_us() < 1_000_000 && manifest.contents.len() == 2);
        assert_eq!(outcome["segments"][0]["paused_us"][0].as_u64(), Some(manifest.contents[0].held_us), "{outcome:#}");
        // Anybody can check it, without us.
        let mut check = std::process::Command::new("sha256sum");
        let checked = check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(&backup).output();
        assert!(checked.expect("coreutils").status.success());
        writers.wait_for_more(10);
    }
    let taken = format!("backup({:?})", text(&dir.path().join("0")));
    assert_eq!(refusal_code(&cluster, &taken), "backup_dir");
    assert_eq!(refusal_code(&cluster, "backup(\"here\")"), "backup_dir", "not an absolute path");
    assert!(cluster.status().is_synchronized(), "a backup changes nothing");
    writers.finish();
    // What is read keeps the log from being emptied: a backup that takes too long gives way before that is full.
    let slow = dir.path().join("slow");
    let mut session = cluster.content(0);
    session.run("create table big(b blob)");
    let ten = "insert into big with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) \
               select randomblob(1000000) from n";
    (0..3).for_each(|_| drop(session.run(ten)));
    std::thread::scope(|scope| {
        let backup = format!("backup({:?}, #{{ rate: \"1 MiB/s\" }})", text(&slow));
        let cluster = &cluster;
        let backing_up = scope.spawn(move || refusal_code(cluster, &backup));
        wait_for("the backup to begin", secs(10), || slow.exists());
        for _ in (0..20).take_while(|_| !backing_up.is_finished()) {
            session.run(ten);
        }
        assert_eq!(backing_up.join().expect("no panic"), "backup_gave_way");
    });
    assert!(!slow.exists(), "nothing is left of it");
    // A content that nobody serves can't be backed up, and the directory is as it was.
    let pair = cluster.status().pair(1);
    processes::kill(pair.mirror.running());
    processes::kill(pair.primary.running());
    let none = dir.path().join("none");
    assert_eq!(refusal_code(&cluster, &format!("backup({:?})", text(&none))), "double_fault");
    assert!(!none.exists());
}

/// Every file of a backup, by its path relative to it.
fn files(backup: &Path) -> Vec<PathBuf> {
    let manifest = manifest(backup);
    let data = manifest.files().map(|file| file.name.clone()).collect::<Vec<_>>();
    [MANIFEST_FILE, SUMS_FILE].into_iter().map(str::to_owned).chain(data).map(PathBuf::from).collect()
}

/// Flips a bit in the middle of a file, or flips it back.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file of the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    std::fs::write(path, bytes).expect("it is ours");
}

fn restored(cluster: &Cluster, code: &str) {
    let ran = cluster.segsh(&["--json", "--yes=restore", "-e", code]).ok();
    let outcome = &ran.json()["value"];
    assert_eq!(outcome["status"], "done", "{outcome:#}");
    println!("{code}: {} ms", outcome["elapsed_ms"]);
}

#[test]
fn a_backup_is_restored_into_a_new_cluster_and_a_damaged_one_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let backup = dir.path().join("b");
    {
        let old = Cluster::new(2);
        let writers = Alternating::start(&old);
        let before = writers.acked();
        old.outcome(&format!("backup({:?})", text(&backup)));
        assert_consistent_cut(&backup, &before, &writers.acked());
        writers.finish();
    }
    let held = steps(&backup);
    let new = Cluster::new(2);
    let restore = format!("restore({:?})", text(&backup));
    let before = new.decisions();
    for name in files(&backup) {
        flip(&backup.join(&name));
        let ran = new.segsh(&["--json", "--yes=restore", "-e", &restore]).exits(4);
        assert_eq!(ran.json()["value"]["refusals"][0]["code"], "backup_damaged", "{}: {}", name.display(), ran.stdout);
        flip(&backup.join(&name));
    }
    assert_eq!(new.decisions(), before, "nothing was changed");

    // It takes the cluster's name, or a word that says what it does.
    new.segsh(&["--yes", "-e", &restore]).exits(4);
    let procedure = format!("import \"std/recreate_from_backup\" as p; p::run(#{{ from: {:?} }})", text(&backup));
    new.segsh(&["--yes=restore", "-e", &procedure]).ok();
    let again = dir.path().join("again");
    new.outcome(&format!("backup({:?})", text(&again)));
    assert_eq!(steps(&again), held, "what was restored is what was backed up");
    assert!(new.status().is_synchronized());

    // What it holds by now is not replaced unless that is said.
    assert_eq!(refusal_code(&new, &restore), "not_empty");
    new.content(1).run("create table later(id int)");
    restored(&new, &format!("restore({:?}, #{{ overwrite: true }})", text(&backup)));
    assert_eq!(new.content(1).number("select count(*) from sqlite_master where name = 'later'"), 0);
    new.outcome("verify()");

    // What is on neither segment of a content any more is recreated, and all goes back to the same moment.
    new.content(0).run("create table later(id int)");
    lose(&new, 1);
    let refused = new.segsh(&["--json", "--yes=restore", "-e", &procedure]).exits(5);
    assert_eq!(refused.json()["value"]["code"], "not_operational", "{}", refused.stdout);
    assert!(refused.json()["value"]["next"].as_str().is_some_and(|next| next.contains("recover_double_fault")));
    let from = format!("from={}", text(&backup));
    new.segsh(&["run", "recreate_from_backup", "--set", &from, "--set", "overwrite=true", "--yes=restore"]).ok();
    let once_more = dir.path().join("once-more");
    new.outcome(&format!("backup({:?})", text(&once_more)));
    assert_eq!(steps(&once_more), held);
    assert_eq!(new.content(0).number("select count(*) from sqlite_master where name = 'later'"), 0);
    assert!(new.status().is_synchronized() && beside(&new).is_empty(), "{:?}", beside(&new));
}

/// The data directories of a cluster whose name passes.
fn data_dirs(cluster: &Cluster, passes: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = |dir: PathBuf| std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    let all = entries(cluster.dir().join("hosts")).filter(|host| host.is_dir()).flat_map(entries);
    all.filter(|dir| dir.file_name().and_then(|n| n.to_str()).is_some_and(&passes)).collect()
}

/// What is left of new copies.
fn beside(cluster: &Cluster) -> Vec<PathBuf> {
    data_dirs(cluster, |name| name.ends_with(".new"))
}

/// Both segments of a content are killed, and their disks are gone.
fn lose(cluster: &Cluster, content: i64) {
    let pair = cluster.status().pair(content);
    processes::kill(pair.mirror.running());
    processes::kill(pair.primary.running());
    for dir in data_dirs(cluster, |name| name.starts_with(&format!("c{content}-"))) {
        std::fs::remove_dir_all(dir).expect("it is ours");
    }
}
