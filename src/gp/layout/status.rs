//! `gpstate -s`: everything that is known of the coordinator and of each segment.

use super::{Resync, View, label};
use crate::cluster::Segment;
use crate::core::row::{Mode, Role, Status};
use crate::gp::page::{Page, TABLE, Table};

/// The coordinator's block, then one for each segment.
pub(super) fn status(view: &View) -> Page {
    let mut page = Page::default();
    page.info("Gathering data from segments...");
    page.rule(TABLE);
    page.info("-Master Configuration & Status");
    page.rule(TABLE);
    page.table(coordinator(view));
    page.rule(TABLE);
    page.info("Segment Instance Status Report");
    let mut table = Table::of_pairs("segments");
    for one in view.segments() {
        table.rule();
        segment(view, one, &mut table);
    }
    page.table(table);
    view.warn_when_unavailable(&mut page);
    if page.has_warnings() {
        page.exit = 1;
        page.boxed(&[
            "Warnings have been generated during status processing",
            "Check log file or review screen output",
        ]);
    }
    page
}

fn coordinator(view: &View) -> Table {
    let (state, about) = (view.state, view.about);
    let row = &state.coordinator_row;
    let dispatches = !view.is_probably_unavailable();
    let mut table = Table::of_pairs("master");
    table.pair(false, "Master host", &state.coordinator.host);
    match state.coordinator.pid {
        Some(pid) => table.pair(false, "Master postgres process ID", pid),
        None => table.pair(true, "Master postgres process ID", "Not found"),
    }
    table.pair(false, "Master data directory", &row.datadir);
    table.pair(false, "Master port", state.coordinator.port);
    table.pair(!dispatches, "Master current role", if dispatches { "dispatch" } else { "utility" });
    table.pair(false, "Greenplum current version", &about.release);
    table.pair(false, "Postgres version", &about.server_version);
    table.pair(false, "Master standby", "No master standby configured");
    table
}

fn segment(view: &View, segment: &Segment, table: &mut Table) {
    let row = &segment.row;
    table.section("Segment Info");
    table.inner_pair(false, "Hostname", &row.hostname);
    table.inner_pair(false, "Address", &row.address);
    table.inner_pair(false, "Datadir", &row.datadir);
    table.inner_pair(false, "Port", row.port);
    mirroring(view, segment, table);
    let host = view.state.host(&row.hostname);
    if let Some(host) = host.filter(|h| !h.alive) {
        table.section("Error Getting Segment Status");
        table.inner_pair(false, "Error Getting Segment Status", &host.cause);
    }
    if row.role == Role::Primary {
        copying(view, segment, table);
    }
    table.section("Status");
    if host.is_none_or(|h| h.alive) || segment.alive.alive {
        match segment.alive.pid {
            Some(pid) => table.inner_pair(!segment.alive.alive, "PID", pid),
            None => table.inner_pair(true, "PID", "Not found"),
        }
    }
    let is_down = row.status == Status::Down;
    table.inner_pair(is_down, "Configuration reports status as", if is_down { "Down" } else { "Up" });
    let (status, warning) = view.status(segment);
    let what = if row.role == Role::Mirror { "Segment status" } else { "Database status" };
    table.inner_pair(warning, what, status);
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "Primary",
        Role::Mirror => "Mirror",
    }
}

fn mirroring(view: &View, segment: &Segment, table: &mut Table) {
    let row = &segment.row;
    table.section("Mirroring Info");
    table.inner_pair(false, "Current role", role(row.role));
    table.inner_pair(false, "Preferred role", role(row.preferred_role));
    let primary_mode = view.acting(row.content, Role::Primary).map(|p| p.row.mode);
    match (row.role, primary_mode) {
        _ if !view.has_mirrors() => table.inner_pair(false, "Mirror status", "Physical replication not configured"),
        (Role::Mirror, Some(Mode::ChangeTracking)) => table.inner_pair(true, "Mirror status", "Out of Sync"),
        _ => table.inner_pair(false, "Mirror status", label(row.mode)),
    }
}

/// What only an acting primary knows.
fn copying(view: &View, segment: &Segment, table: &mut Table) {
    let row = &segment.row;
    if matches!(row.mode, Mode::ChangeTracking | Mode::Resynchronizing) {
        table.section("Change Tracking Info");
        table.inner_pair(false, "Change tracking data size", view.tracked(row.content));
    }
    if row.mode == Mode::Resynchronizing {
        let resync = Resync::of(view, row.content);
        table.section("Resynchronization Info");
        table.inner_pair(false, "Resynchronization mode", resync.mode);
        table.inner_pair(false, "Data synchronized", resync.synced);
        table.inner_pair(false, "Estimated total data to synchronize", resync.total);
        table.inner_pair(false, "Estimated resync progress with mirror", resync.progress);
        table.inner_pair(false, "Total resync objects", resync.total_objects);
        table.inner_pair(false, "Objects to resync", resync.objects_left);
        table.inner_pair(false, "Estimated resync end time", resync.ends);
    }
}
