use super::room::LOG_ROOM_BYTES;
use super::*;
use crate::core::operation::{GoalKind, Target};
use crate::core::transition::{Event, Transition, apply, letters};

fn rows() -> Vec<SegmentRow> {
    use crate::coordinator::testing::row;
    vec![
        row(1, -1, Role::Primary, 5432, "cdw"),
        row(2, 0, Role::Primary, 6002, "sdw1"),
        row(3, 0, Role::Mirror, 7002, "sdw2"),
    ]
}

fn owner() -> Owner {
    Owner { user: "u".into(), host: "h".into(), pid: 1, ..Owner::default() }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CATALOG_FILE);
    Store::create(&path, &rows(), &[("gp_fts_probe_interval".into(), "5 s".into())]).unwrap();
    let store = Store::open(&path).unwrap();
    (dir, store)
}

fn change<'a>(transition: &'a Transition, recover: Option<(Dbid, &'a Owner)>) -> Change<'a> {
    Change {
        transition,
        reason: "why",
        evidence: &[],
        recover,
        full_copy: false,
        rate_bytes: None,
        serving_copy: None,
        copy_rate_bytes: None,
        place: None,
        at_ms: 1000,
    }
}

fn pair_of(store: &Store) -> PairRow {
    store.content(Content(0)).unwrap().pair.unwrap()
}

#[test]
fn a_catalog_says_what_it_was_made_from_and_is_made_once() {
    let (dir, store) = store();
    assert_eq!(store.rows().unwrap(), rows());
    assert_eq!(store.setting("gp_fts_probe_interval").unwrap(), "5s");
    assert_eq!(store.setting("gp_fts_probe_retries").unwrap(), "3");
    assert!(store.setting("gp_nonsense").is_err());
    let again = Store::create(&dir.path().join(CATALOG_FILE), &rows(), &[]);
    assert!(matches!(again, Err(StoreError::Exists { .. })));
}

#[test]
fn a_row_changes_only_from_the_whole_row_it_was_decided_on() {
    let (_dir, store) = store();
    let before = pair_of(&store);
    let lost = apply(&before, Event::MirrorLost).unwrap();
    assert_eq!(store.change(&change(&lost, None)).unwrap(), Changed::Done { row: lost.after, op: None });
    let late = apply(&before, Event::PrimaryLost).unwrap();
    assert_eq!(store.change(&change(&late, None)).unwrap(), Changed::Stale { row: lost.after });
    assert_eq!(letters(&pair_of(&store)), "p,c,u / m,s,d");
    // The letters are the same and the epoch is not: that is another row.
    let mut older = pair_of(&store);
    older.epoch = Epoch(1);
    let restarted = apply(&older, Event::PrimaryRestarted).unwrap();
    assert!(matches!(store.change(&change(&restarted, None)).unwrap(), Changed::Stale { .. }));
}

#[test]
fn roles_switch_and_preferred_roles_stay() {
    let (_dir, store) = store();
    let lost = apply(&pair_of(&store), Event::PrimaryLost).unwrap();
    store.change(&change(&lost, None)).unwrap();
    let of = |dbid| store.rows().unwrap().into_iter().find(|r| r.dbid == Dbid(dbid)).unwrap();
    assert_eq!((of(2).role, of(2).preferred_role, of(2).status), (Role::Mirror, Role::Primary, Status::Down));
    assert_eq!((of(3).role, of(3).preferred_role, of(3).status), (Role::Primary, Role::Mirror, Status::Up));
    assert_eq!(store.content(Content(0)).unwrap().serving_epoch, Epoch(2));
    assert_eq!(store.down_since().unwrap(), [(Dbid(2), 1000)]);
}

#[test]
fn every_changed_member_has_a_line_of_history_with_the_reason() {
    let (_dir, store) = store();
    let lines = |store: &Store| -> Vec<(i64, String)> {
        let db = store.lock();
        query(&db, "SELECT dbid, desc FROM gp_configuration_history ORDER BY number", |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap()
    };
    store.change(&change(&apply(&pair_of(&store), Event::PrimaryLost).unwrap(), None)).unwrap();
    let first = lines(&store);
    assert_eq!(first.iter().map(|l| l.0).collect::<Vec<_>>(), [3, 2]);
    assert!(first[0].1.contains("FTS") && first[0].1.contains("why"), "{first:?}");
    // A change of the epoch alone is a line as well.
    store.change(&change(&apply(&pair_of(&store), Event::PrimaryRestarted).unwrap(), None)).unwrap();
    assert_eq!(lines(&store).len(), 3);
}

#[test]
fn a_follow_up_goal_is_written_with_the_row_unless_an_operation_works_on_the_content() {
    let (_dir, store) = store();
    let me = owner();
    let lost = apply(&pair_of(&store), Event::LinkLost).unwrap();
    let Changed::Done { op: Some(op), .. } = store.change(&change(&lost, Some((Dbid(3), &me)))).unwrap() else {
        panic!("a goal")
    };
    let goal = store.operation(op).unwrap().unwrap().goal;
    assert_eq!((goal.kind.verb(), goal.targets[0].dbid), ("recover", Dbid(3)));
    for event in [Event::RecoveryBegins, Event::InSync] {
        store.change(&change(&apply(&pair_of(&store), event).unwrap(), None)).unwrap();
    }
    let again = apply(&pair_of(&store), Event::LinkLost).unwrap();
    let changed = store.change(&change(&again, Some((Dbid(3), &me)))).unwrap();
    assert_eq!(changed, Changed::Done { row: again.after, op: None });
    let held = store.begin(&Goal::new(GoalKind::Rebalance, vec![Target::new(Content(0), Dbid(3))]), &me, 1).unwrap();
    assert!(matches!(held, Begun::Held(holder) if holder.id == op));
}

#[test]
fn single_copy_lasts_from_the_loss_until_in_sync() {
    let (_dir, store) = store();
    let since = |store: &Store| store.content(Content(0)).unwrap().single_copy_since_ms;
    assert_eq!(since(&store), None);
    for (event, at_ms, expected) in [
        (Event::MirrorLost, 10, Some(10)),
        (Event::FullCopyBegins, 20, Some(10)),
        (Event::RecoveryBegins, 30, Some(10)),
        (Event::InSync, 40, None),
    ] {
        let transition = apply(&pair_of(&store), event).unwrap();
        store.change(&Change { at_ms, full_copy: true, ..change(&transition, None) }).unwrap();
        assert_eq!(since(&store), expected, "{event:?}");
        let row = store.content(Content(0)).unwrap();
        assert_eq!(row.must_copy_all, matches!(event, Event::FullCopyBegins | Event::RecoveryBegins));
        assert_eq!(row.full_copy, event == Event::RecoveryBegins);
    }
    assert_eq!(store.down_since().unwrap(), []);
}

#[test]
fn rows_that_make_no_pair_say_why_and_stop_nobody_else() {
    let (_dir, store) = store();
    store.lock().execute("UPDATE gp_segment_configuration SET role = 'm' WHERE dbid = 2", []).unwrap();
    let row = store.content(Content(0)).unwrap();
    assert!(row.pair.unwrap_err().contains("0 acting primaries"));
    assert_eq!(store.contents().unwrap().len(), 1);
}

#[test]
fn a_timestamp_is_the_civil_date() {
    assert_eq!(timestamp(0), "1970-01-01 00:00:00.000+00");
    assert_eq!(timestamp(951_782_400_123), "2000-02-29 00:00:00.123+00");
    assert_eq!(timestamp(1_798_761_599_999), "2026-12-31 23:59:59.999+00");
    assert_eq!(timestamp(-1), "1969-12-31 23:59:59.999+00");
}

#[test]
fn what_is_seen_and_decides_nothing_is_in_the_history_with_its_reason() {
    let (_dir, store) = store();
    store.note(Content(0), "double fault: both are gone", &["seen".into()], 5).unwrap();
    store.quarantine(Content(0), "dbid 2 obeyed a later epoch", &[], 6).unwrap();
    assert_eq!(
        store.history().unwrap(),
        ["FTS: content 0: double fault: both are gone", "FTS: content 0: quarantined: dbid 2 obeyed a later epoch"]
    );
    let about: Vec<i64> = query(&store.read(), "SELECT dbid FROM gp_configuration_history", |r| r.get(0)).unwrap();
    assert_eq!(about, [2, 2], "the acting primary's");
    // Whatever the rows say.
    store.lock().execute("UPDATE gp_segment_configuration SET role = 'm' WHERE content = 0", []).unwrap();
    store.note(Content(0), "double fault: again", &[], 7).unwrap();
    assert_eq!(store.history().unwrap().len(), 3);
}

#[test]
fn the_rate_of_the_last_copy_that_could_be_measured_outlives_the_coordinator() {
    let (dir, store) = store();
    let copy = |store: &Store, copy_rate_bytes| {
        for event in [Event::MirrorLost, Event::RecoveryBegins, Event::InSync] {
            let transition = apply(&pair_of(store), event).unwrap();
            store.change(&Change { copy_rate_bytes, ..change(&transition, None) }).unwrap();
        }
    };
    let rate = |store: &Store| store.content(Content(0)).unwrap().copy_rate_bytes;
    copy(&store, None);
    assert_eq!(rate(&store), None);
    copy(&store, Some(50 << 20));
    copy(&store, None);
    let path = dir.path().join(CATALOG_FILE);
    drop(store);
    assert_eq!(rate(&Store::open(&path).unwrap()), Some(50 << 20), "a copy too small to tell changes nothing");
}

#[test]
fn room_for_decisions_is_set_aside_and_kept_when_the_log_begins_anew() {
    use std::os::unix::fs::MetadataExt;
    let (dir, store) = store();
    assert!(store.set_room_aside().unwrap(), "run the tests on a file system with fallocate");
    let log = dir.path().join(format!("{CATALOG_FILE}-wal"));
    let blocks = || std::fs::metadata(&log).unwrap().blocks() * 512;
    assert!(blocks() >= LOG_ROOM_BYTES, "{}", blocks());
    store.event("begins", 1).unwrap();
    store.lock().query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    store.event("begins anew", 2).unwrap();
    assert!(blocks() >= LOG_ROOM_BYTES, "{}", blocks());
}
