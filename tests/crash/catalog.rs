//! The coordinator's catalog: after every crash it is one of the states it was committed in, no older
//! than the last one acknowledged.
//!
//! In production the catalog is on SQLite's own VFS, below which nothing safe can stand to record it. So
//! the real [`Store`] is opened, by a file name that is a URI, on the VFS of the segments over the same
//! recording storage: the store's own pragmas, its transactions, SQLite's automatic checkpoints and the
//! one at closing are recorded as they are. What differs is below SQLite's log: the first page, the
//! page checksums, and where the log's index lives, which no crash leaves behind anyway. The files that
//! SQLite's own VFS makes are looked at in `system_files.rs`.

use crate::check::{Found, Standing, digest};
use crate::explore::{explore, explore_some, seeds};
use crate::image::Image;
use crate::life::{self, LIFE, Step, perform};
use crate::order::Order;
use crate::recording::Recording;
use crate::session::{Recorded, State, unique_name};
use rusqlite::Connection;
use segsh::coordinator::store::{Store, StoreError};
use segsh::core::ids::Content;
use segsh::segment::vfs;
use std::path::PathBuf;
use std::sync::Arc;

/// After these steps the coordinator is stopped and started again: closing empties the log.
const RESTARTED_AFTER: [usize; 2] = [9, 22];

/// The catalog's file on a registered VFS.
fn uri(vfs: &str) -> PathBuf {
    PathBuf::from(format!("file:main.db?vfs={vfs}"))
}

/// What the catalog says, as far as a property needs it.
#[derive(Debug, PartialEq)]
struct Said {
    /// The epochs of contents 0 and 1.
    epochs: [u64; 2],
    /// The history's lines, oldest first.
    history: Vec<String>,
}

fn said(store: &Store, reader: &Connection) -> Said {
    let mut lines = reader.prepare("SELECT desc FROM gp_configuration_history ORDER BY number").expect("a table");
    let history = lines.query_map([], |r| r.get(0)).expect("a query").collect::<Result<_, _>>().expect("lines");
    Said { epochs: [0, 1].map(|content| life::pair(store, content).epoch.0), history }
}

/// Holds one step to what the catalog promises of it.
fn judge_step(n: usize, before: &Said, after: &Said) {
    assert!(after.epochs.iter().zip(before.epochs).all(|(after, before)| *after >= before), "step {n}: {after:?}");
    assert!(after.history.starts_with(&before.history), "step {n}: the history only grows");
    let new = &after.history[before.history.len()..];
    let told = matches!(LIFE[n], Step::Row(..) | Step::RowAndGoal(..) | Step::Note(..) | Step::Quarantine(..));
    assert_eq!(!new.is_empty(), told, "step {n}: what happens is written with its history: {new:?}");
    assert!(new.iter().all(|line| line.ends_with(&life::reason(n))), "step {n}: {new:?}");
}

fn lived() -> Recorded {
    let recording = Arc::new(Recording::default());
    let name = unique_name();
    let vfs = vfs::register(&name, recording.clone()).expect("a VFS");
    let path = uri(&name);
    let mut states = Vec::new();
    let mut keep = |begun: usize| {
        let reader = vfs::open(&vfs).expect("a connection");
        let digest = digest(&reader).expect("tables");
        states.push(State { begun, acknowledged: recording.position(), digest });
    };
    let begun = recording.position();
    Store::create(&path, &life::rows(), &[]).expect("a catalog");
    keep(begun);
    let mut store = Store::open(&path).expect("a catalog");
    for n in 0..LIFE.len() {
        let before = said(&store, &vfs::open(&vfs).expect("a connection"));
        let begun = recording.position();
        perform(&store, n);
        if life::changes_nothing(n) {
            assert_eq!(recording.position(), begun, "step {n} writes nothing");
        } else {
            keep(begun);
        }
        judge_step(n, &before, &said(&store, &vfs::open(&vfs).expect("a connection")));
        if RESTARTED_AFTER.contains(&n) {
            drop(store);
            store = Store::open(&path).expect("the catalog again");
        }
    }
    drop(store);
    Recorded { name: "catalog", ops: recording.ops(), states, look }
}

fn look(run: &Recorded, image: Image) -> Found {
    match standing(run, image) {
        Ok(standing) => Found::State(standing),
        Err(why) => Found::Corrupt(why),
    }
}

/// Opens the catalog as a coordinator does that starts, reads all of it, and writes to it.
fn standing(run: &Recorded, image: Image) -> Result<Option<Standing>, String> {
    let name = unique_name();
    let vfs = vfs::register(&name, Arc::new(Recording::on(image))).map_err(|e| format!("not a database: {e}"))?;
    let store = match Store::open(&uri(&name)) {
        Ok(store) => store,
        // Its making had not been committed.
        Err(StoreError::Version { found: 0, .. }) => return Ok(None),
        Err(e) => return Err(format!("does not open: {e}")),
    };
    let reader = vfs::open(&vfs).map_err(|e| e.to_string())?;
    if crate::check::pragma(&reader, "integrity_check")? != "ok" {
        return Err("the integrity check fails".into());
    }
    for content in store.contents().map_err(|e| format!("contents: {e}"))? {
        content.pair.map_err(|why| format!("content {}: {why}", content.content))?;
    }
    store.active().map_err(|e| format!("operations: {e}"))?;
    let digest = digest(&reader).map_err(|e| e.to_string())?;
    let number = (run.states.iter().rposition(|s| s.digest == digest))
        .ok_or("a mixture: the tables are those of no committed state")?;
    store.note(Content(0), "after the crash", &[], 0).map_err(|e| format!("takes no write: {e}"))?;
    Ok(Some(Standing { number, digest }))
}

#[test]
fn the_catalog_is_a_committed_state_after_every_crash() {
    let run = lived();
    let mut distinct: Vec<_> = run.states.iter().map(|s| s.digest).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), run.states.len(), "each step is a state of its own");
    let mut wrong = Vec::new();
    for order in Order::SOUND {
        wrong.extend(explore(&run, order, seeds()).examples);
    }
    assert!(wrong.is_empty(), "crash images that no crash may leave:\n{}", wrong.join("\n"));
    let control = explore_some(&run, Order::PerFile, seeds(), 5);
    assert!(control.lost > 0 && control.corrupt > 0, "without barriers nothing went wrong: {control}");
}
