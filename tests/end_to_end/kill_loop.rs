//! The kill loop: random faults under load, and at the end every id is accounted for.

use crate::hung::assert_pair_equal;
use crate::support::random::Random;
use crate::support::wait::secs;
use crate::support::{Cluster, Segment, Status, Writers, files, processes, wait_for, wait_for_some};
use std::path::Path;

const CONTENTS: [i64; 2] = [0, 1];
const ROUNDS: usize = 20;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    /// SIGSTOP, never woken: recovery has to get rid of it.
    Hang,
    /// SIGSTOP, woken when it was already given up: it has to get itself out of the way.
    HangAndWake,
}

#[test]
fn every_acknowledged_id_is_there_exactly_once_after_twenty_rounds_of_random_faults() {
    let cluster = Cluster::new(CONTENTS.len());
    let mut random = Random::from_environment();
    let writers = Writers::start(&cluster, &CONTENTS, 2);
    for round in 1..=ROUNDS {
        let content = random.one_of(&CONTENTS);
        let role = random.one_of(&["p", "m"]);
        let fault = random.one_of(&[Fault::Kill, Fault::Kill, Fault::Hang, Fault::HangAndWake]);
        let full = random.below(4) == 0;
        println!(
            "round {round}: {fault:?} of content {content}'s {role}, then {}",
            if full { "full" } else { "incremental" }
        );

        let victim = strike(&cluster, content, role, fault);
        CONTENTS.iter().for_each(|c| writers.wait_for_more(*c, 5, secs(30)));
        if full {
            cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", victim.dbid));
        } else {
            cluster.outcome("recover()");
        }
        let status = cluster.status();
        assert!(status.is_synchronized(), "after recovery: {status:?}");
        assert!(!processes::runs(victim.running()), "the former process is gone");
        if random.below(2) == 0 {
            cluster.outcome("rebalance()");
            assert!(cluster.status().is_balanced());
        }
        CONTENTS.iter().for_each(|c| writers.wait_for_more(*c, 5, secs(30)));
    }
    cluster.outcome("rebalance()");
    let ledger = writers.finish();
    println!("{} transactions acknowledged", ledger.acked());
    ledger.assert_held_by(&cluster);
    assert_pair_equal(&cluster);
    assert_both_sides_sound(&cluster, &ledger);
}

/// Strikes one member of a pair, and waits until the cluster has drawn its conclusion.
fn strike(cluster: &Cluster, content: i64, role: &str, fault: Fault) -> Segment {
    let pair = cluster.status().pair(content);
    let victim = if role == "p" { pair.primary } else { pair.mirror };
    match fault {
        Fault::Kill => processes::kill(victim.running()),
        Fault::Hang | Fault::HangAndWake => processes::stop(victim.running()),
    }
    let down = |status: &Status| status.segment(victim.dbid).status == "d";
    wait_for_some(&format!("dbid {} to be marked down", victim.dbid), secs(20), || Some(cluster.status()).filter(down));
    if matches!(fault, Fault::HangAndWake) {
        processes::resume(victim.running());
    }
    victim
}

/// With every process stopped, stock SQLite finds both copies sound and both with every acknowledged id.
fn assert_both_sides_sound(cluster: &Cluster, ledger: &crate::support::ledger::Ledger) {
    let segments = cluster.status().segments;
    cluster.lifecycle("stop", &[]).ok();
    wait_for("every process to end", secs(10), || processes::beneath(cluster.dir()).is_empty());
    for segment in segments {
        let datadir = Path::new(&segment.datadir);
        files::assert_sound(datadir);
        files::assert_only_known_files(datadir);
        let copy = files::copy(datadir);
        let mut statement = copy.sqlite.prepare("select id, count(*) from journal group by id").expect("the table");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        let found = rows.collect::<Result<_, _>>().expect("readable rows");
        let wrong = ledger.violations(segment.content, &found);
        assert!(
            wrong.is_empty(),
            "dbid {}: {} violations: {:#?}",
            segment.dbid,
            wrong.len(),
            &wrong[..wrong.len().min(9)]
        );
    }
    assert_control_files_are_documented();
}

fn assert_control_files_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let formats = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for name in files::CONTROL {
        assert!(formats.contains(name), "docs/formats.md does not name {name}");
    }
}
