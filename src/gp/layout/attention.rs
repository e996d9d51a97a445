//! `gpstate -e`: the pairs that need attention.

use super::{Resync, View};
use crate::cluster::Segment;
use crate::core::row::{Mode, Role, Status};
use crate::gp::page::{Page, TABLE, Table};

/// The sections that there is something to say in; nothing else.
pub(super) fn attention(view: &View) -> Page {
    let mut page = Page::default();
    if !view.has_mirrors() {
        page.info("Physical mirroring is not configured");
        view.warn_when_unavailable(&mut page);
        page.exit = 1;
        return page;
    }
    page.info("Gathering data from segments...");
    page.rule(TABLE);
    page.info("Segment Mirroring Status Report");
    let mut sections = Page::default();
    section(&mut sections, &["Segments with Primary and Mirror Roles Switched"], switched(view));
    section(&mut sections, &["Primaries in Change Tracking"], tracking(view));
    section(&mut sections, &["Segment Pairs in Resynchronization"], resynchronizing(view));
    section(
        &mut sections,
        &[
            "Downed Segments (this excludes mirrors whose primaries are in change tracking",
            "                  -- these, if any, are reported separately above",
            "                  also, this may include segments where status could not be retrieved)",
        ],
        downed(view),
    );
    view.warn_when_unavailable(&mut sections);
    page.exit = i32::from(!sections.lines().is_empty());
    page.append(sections);
    if page.exit == 0 {
        page.rule(TABLE);
        page.info("All segments are running normally");
    }
    page
}

fn section(page: &mut Page, title: &[&str], table: Option<Table>) {
    if let Some(table) = table {
        page.rule(TABLE);
        title.iter().for_each(|line| page.info(*line));
        page.table(table);
    }
}

/// The rows of these acting primaries, each with its mirror at the end; `None` without any.
fn pairs<'a>(
    view: &View<'a>,
    name: &'static str,
    middle: &[&'static str],
    concerns: impl Fn(&Segment) -> bool,
    cells: impl Fn(&Segment) -> Vec<String>,
) -> Option<Table> {
    let columns = [&["Current Primary", "Port"][..], middle, &["Mirror", "Port"]].concat();
    let mut table = Table::with_columns(name, &columns);
    let mut any = false;
    for primary in view.primaries().into_iter().filter(|p| concerns(p)) {
        any = true;
        let mut row = vec![primary.row.address.clone(), primary.row.port.to_string()];
        row.extend(cells(primary));
        if let Some(mirror) = view.acting(primary.row.content, Role::Mirror) {
            row.extend([mirror.row.address.clone(), mirror.row.port.to_string()]);
        }
        table.row(false, &row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    any.then_some(table)
}

fn switched(view: &View) -> Option<Table> {
    pairs(view, "switched", &[], |p| !p.is_preferred(), |_| Vec::new())
}

fn tracking(view: &View) -> Option<Table> {
    let is_tracking = |p: &Segment| p.row.mode == Mode::ChangeTracking;
    pairs(view, "change_tracking", &["Change tracking size"], is_tracking, |p| vec![view.tracked(p.row.content)])
}

fn resynchronizing(view: &View) -> Option<Table> {
    let middle = [
        "Resync mode",
        "Est. resync progress",
        "Total resync objects",
        "Objects to resync",
        "Data synced",
        "Est. total to sync",
        "Est. resync end time",
        "Change tracking size",
    ];
    let is_copied = |p: &Segment| p.row.mode == Mode::Resynchronizing;
    pairs(view, "resynchronizing", &middle, is_copied, |p| {
        let resync = Resync::of(view, p.row.content);
        let Resync { mode, progress, total_objects, objects_left, synced, total, ends } = resync;
        let tracked = view.tracked(p.row.content);
        vec![mode.into(), progress, total_objects, objects_left, synced, total, ends, tracked]
    })
}

/// What is down and is not told as the other half of a pair in change tracking.
fn downed(view: &View) -> Option<Table> {
    let mut table = Table::with_columns("down", &["Segment", "Port", "Config status", "Status"]);
    let mut any = false;
    for segment in view.segments() {
        let row = &segment.row;
        let (status, is_down) = view.status(segment);
        let primary_mode = view.acting(row.content, Role::Primary).map(|p| p.row.mode);
        let is_told = row.role == Role::Mirror && primary_mode == Some(Mode::ChangeTracking);
        if !is_down || is_told {
            continue;
        }
        any = true;
        let config = if row.status == Status::Up { "Up" } else { "Down" };
        table.row(false, &[&row.address, &row.port.to_string(), config, status]);
    }
    any.then_some(table)
}
