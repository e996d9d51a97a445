//! `gpstate -b`, and `gpstate` alone: counts.

use super::View;
use crate::cluster::Segment;
use crate::core::row::{Role, Status};
use crate::gp::page::{Page, Table};

/// Counts by preferred role. What they call files and locks of a postmaster is here the lock of a data directory,
/// which its process holds for as long as it lives.
pub(super) fn summary(view: &View) -> Page {
    let mut table = Table::of_pairs("summary");
    table.rule();
    let coordinator = if view.state.coordinator.pid.is_some() { "Active" } else { "Down" };
    table.pair(view.state.coordinator.pid.is_none(), "Master instance", coordinator);
    table.pair(false, "Master standby", "No master standby configured");
    table.pair(false, "Total segment instance count from metadata", view.state.segments.len());
    table.rule();
    for (role, name) in [(Role::Primary, "Primary"), (Role::Mirror, "Mirror")] {
        table.section(&format!("{name} Segment Status"));
        table.rule();
        let segments = view.preferring(role);
        if role == Role::Mirror && segments.is_empty() {
            table.section("Mirrors not configured on this array");
        } else {
            counts(view, &segments, &name.to_lowercase(), &mut table);
        }
        if role == Role::Mirror && !segments.is_empty() {
            let acting = segments.iter().filter(|s| s.row.role == Role::Primary).count();
            table.pair(acting > 0, "Total number mirror segments acting as primary segments", acting);
            table.pair(false, "Total number mirror segments acting as mirror segments", segments.len() - acting);
        }
        table.rule();
    }
    let mut page = Page::default();
    page.info("Gathering data from segments...");
    page.info("Greenplum instance status summary");
    page.exit = i32::from(table.has_warnings());
    page.table(table);
    page
}

fn counts(view: &View, segments: &[&Segment], name: &str, table: &mut Table) {
    let failed = segments.iter().filter(|s| s.row.status == Status::Down).count();
    // A process that is there and does not answer holds its lock; of a host that does not answer nobody knows.
    let locked = segments.iter().filter(|s| s.alive.alive || (view.host_answers(s) && s.alive.pid.is_some())).count();
    let answering = segments.iter().filter(|s| s.alive.alive).count();
    table.pair(false, &format!("Total {name} segments"), segments.len());
    table.pair(false, &format!("Total {name} segment valid (at master)"), segments.len() - failed);
    table.pair(failed > 0, &format!("Total {name} segment failures (at master)"), failed);
    for (what, found) in [
        ("of postmaster.pid files", locked),
        ("of postmaster.pid PIDs", locked),
        ("of /tmp lock files", locked),
        ("postmaster processes", answering),
    ] {
        let missing = segments.len() - found;
        table.pair(missing > 0, &format!("Total number {what} missing"), missing);
        table.pair(false, &format!("Total number {what} found"), found);
    }
}
