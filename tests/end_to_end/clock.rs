//! Calendars that are set while everything runs. Durations are monotonic: nothing is decided by them.

use crate::hung::assert_pair_equal;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, processes};

const HOUR: i64 = 3600;

#[test]
fn an_hour_forward_and_back_on_any_process_fails_nobody_over() {
    let (cluster, shim, _network) = Cluster::on_shim(1, &[]);
    let (before, decided) = (cluster.status(), cluster.decisions());
    let pair = before.pair(0);
    let writers = Writers::start(&cluster, &[0], 2);
    for pid in [before.coordinator.pid.expect("it runs"), pair.primary.running(), pair.mirror.running()] {
        for seconds in [HOUR, -HOUR, 0] {
            shim.shift_clock(pid, seconds);
            cluster.eval("probe()").ok();
            writers.wait_for_more(0, 10, secs(30));
        }
    }
    let after = cluster.status();
    assert_eq!(after.pids(), before.pids(), "everybody is who it was");
    assert!(after.is_synchronized() && after.is_balanced());
    assert_eq!(cluster.decisions(), decided);
    let ledger = writers.finish();
    assert_eq!(ledger.acked(), ledger.attempts.len(), "no statement failed: {}", ledger.summary());
    ledger.assert_held_by(&cluster);
}

#[test]
fn the_history_keeps_its_own_order_when_the_calendar_goes_back() {
    let (cluster, shim, _network) = Cluster::on_shim(1, &[]);
    let before = cluster.status();
    let pair = before.pair(0);
    let coordinator = before.coordinator.pid.expect("it runs");
    shim.shift_clock(coordinator, HOUR);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    shim.shift_clock(coordinator, -HOUR);
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    let order = "select group_concat(substr(\"desc\", instr(\"desc\", 'mode '), 6), ' ') from \
                 (select \"desc\" from gp_configuration_history where dbid = DBID order by number)";
    let sql = order.replace("DBID", &pair.primary.dbid.to_string());
    assert_eq!(cluster.catalog().rows(&sql), ["mode c mode r mode s mode c mode r mode s"]);
    let backwards = "select count(*) from gp_configuration_history a join gp_configuration_history b \
                     on a.number < b.number and a.time > b.time";
    assert!(cluster.catalog().number(backwards) > 0, "the calendar did go back");
    assert_pair_equal(&cluster);
}

#[test]
fn a_pause_lasts_as_long_as_was_said_whatever_the_calendar_says() {
    let (cluster, shim, _network) = Cluster::on_shim(1, &[]);
    let status = cluster.status();
    let coordinator = status.coordinator.pid.expect("it runs");
    cluster.script("fts_pause(\"10m\")").ok();
    shim.shift_clock(coordinator, HOUR);
    let left = "let s = state(); print(s.fts_paused_until_ms - s.time_ms)";
    let left: i64 = cluster.script(left).ok().text().parse().expect("a number");
    assert!((500_000..=600_000).contains(&left), "{left} ms are left");
    let pair = status.pair(0);
    processes::kill(pair.primary.running());
    cluster.eval("probe()").ok();
    assert_eq!(cluster.status().pair(0).primary.dbid, pair.primary.dbid);
    cluster.script("fts_resume()").ok();
    assert_eq!(cluster.status().pair(0).primary.dbid, pair.mirror.dbid);
}
