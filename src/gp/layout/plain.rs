//! `gpstate -Q`, `-f`, `-i` and `-p`: one short table each.

use super::View;
use crate::core::row::Status;
use crate::gp::page::{PORTS, Page, QUICK, Table, WIDE};

/// `-Q`: what the catalog alone says.
pub(super) fn quick(view: &View) -> Page {
    let mut page = Page::default();
    page.info("-Quick Greenplum database status from Master instance only");
    page.rule(QUICK);
    let down: Vec<_> = view.segments().into_iter().filter(|s| s.row.status == Status::Down).collect();
    let up = view.state.segments.len() - down.len();
    page.info(format!("# of up segments, from configuration table     = {up}"));
    if !down.is_empty() {
        page.exit = 1;
        page.info(format!("# of down segments, from configuration table   = {}", down.len()));
        let mut table = Table::with_columns("down", &["Down Segment", "Datadir", "Port"]);
        for segment in down {
            let row = &segment.row;
            table.row(false, &[&row.address, &row.datadir, &row.port.to_string()]);
        }
        page.table(table);
    }
    page.rule(QUICK);
    page
}

/// `-f`: a coordinator has no standby here.
pub(super) fn standby() -> Page {
    let mut page = Page::default();
    page.info("Standby master instance not configured");
    page.rule(WIDE);
    page.info("-pg_stat_replication");
    page.rule(WIDE);
    page.info("No entries found.");
    page.rule(WIDE);
    page
}

/// `-i`: the release that each process runs.
pub(super) fn versions(view: &View) -> Page {
    let mut page = Page::default();
    page.info("Loading version information");
    let mut table = Table::with_columns("versions", &["Host", "Datadir", "Port", "Version"]);
    let own = &view.state.coordinator_row;
    table.row(false, &[&own.address, &own.datadir, &own.port.to_string(), &view.about.release]);
    let (mut unknown, mut different) = (false, false);
    for segment in view.segments() {
        let row = &segment.row;
        let release = segment.release.as_ref().filter(|_| segment.alive.alive).map(|r| format!("segsh {r}"));
        let shown = release.as_deref().unwrap_or("unable to retrieve version");
        unknown |= release.is_none();
        different |= release.as_ref().is_some_and(|r| *r != view.about.release);
        table.row(release.is_none(), &[&row.address, &row.datadir, &row.port.to_string(), shown]);
    }
    page.table(table);
    if different {
        page.warn("Versions for some segments do not match.  Review table above for details.");
    }
    if unknown {
        page.warn("Unable to retrieve version data from all segments.  Review table above for details.");
    }
    if !different && !unknown {
        page.info("All segments are running the same software version");
    }
    // A segment that is down cannot be asked; only releases that differ are a finding.
    page.exit = i32::from(different);
    page
}

/// `-p`: ports.
pub(super) fn ports(view: &View) -> Page {
    let mut page = Page::default();
    let own = &view.state.coordinator_row;
    page.info(format!("-Master segment instance  {}  port = {}", own.datadir, own.port));
    page.info("-Segment instance port assignments");
    page.rule(PORTS);
    let mut table = Table::with_columns("ports", &["Host", "Datadir", "Port"]);
    for segment in view.segments() {
        let row = &segment.row;
        table.row(false, &[&row.address, &row.datadir, &row.port.to_string()]);
    }
    page.table(table);
    page
}
