//! What `gprecoverseg` shows before it asks.

use super::page::{Page, Table};
use crate::cluster::{Plan, PlanStep, Segment, State, StepKind};
use crate::core::row::Role;

/// The dashes around and between what is to be recovered.
const DASHES: usize = 57;

/// The question of a recovery.
pub const RECOVER: &str = "Continue with segment recovery procedure";
/// The question of a rebalance.
pub const REBALANCE: &str = "Continue with segment rebalance procedure";

/// A question as it stands on the terminal, below an empty line.
pub fn prompt(question: &str) -> String {
    format!("\n{question} Yy|Nn (default=N):\n> ")
}

/// What an answer means; `None` asks again. Enter is no.
pub fn answer(line: &str) -> Option<bool> {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// What will be recovered, and from where. `listed` says that a file named it.
pub fn recovery(state: &State, plan: &Plan, listed: bool) -> Page {
    let mut page = Page::default();
    page.info("Greenplum instance recovery parameters");
    page.rule(DASHES);
    page.info(match listed {
        true => "Recovery from configuration -i option supplied",
        false => "Recovery type              = Standard",
    });
    for (at, step) in plan.steps.iter().enumerate() {
        page.rule(DASHES);
        page.info(format!("Recovery {} of {}", at + 1, plan.steps.len()));
        page.rule(DASHES);
        page.table(one_recovery(state, step));
    }
    page.rule(DASHES);
    page
}

fn one_recovery(state: &State, step: &PlanStep) -> Table {
    let mut table = Table::of_pairs("recovery");
    let is_full = matches!(step.kind, StepKind::Full | StepKind::Move);
    let mode = if is_full { "Full" } else { "Incremental" };
    table.pair(false, "Synchronization mode", mode);
    for (what, dbid) in [("Failed", step.dbid), ("Recovery Source", step.source)] {
        if let Some(segment) = state.segment(dbid) {
            instance(&mut table, what, segment);
        }
    }
    table.pair(false, "Recovery Target", "in-place");
    table
}

fn instance(table: &mut Table, what: &str, segment: &Segment) {
    let row = &segment.row;
    table.pair(false, &format!("{what} instance host"), &row.hostname);
    table.pair(false, &format!("{what} instance address"), &row.address);
    table.pair(false, &format!("{what} instance directory"), &row.datadir);
    table.pair(false, &format!("{what} instance port"), row.port);
    let link = row.replication_port.map(|port| port.to_string()).unwrap_or_default();
    table.pair(false, &format!("{what} instance replication port"), link);
}

/// Both members of every pair whose roles are to be returned.
pub fn rebalance(state: &State, plan: &Plan) -> Page {
    let mut page = Page::default();
    page.info("Greenplum instance recovery parameters");
    page.rule(DASHES);
    page.info("Recovery type              = Rebalance");
    let members: Vec<&Segment> =
        (plan.steps.iter()).flat_map(|step| [step.source, step.dbid]).filter_map(|dbid| state.segment(dbid)).collect();
    for (at, segment) in members.iter().enumerate() {
        page.rule(DASHES);
        page.info(format!("Unbalanced segment {} of {}", at + 1, members.len()));
        page.rule(DASHES);
        let mut table = Table::of_pairs("unbalanced");
        instance(&mut table, "Unbalanced", segment);
        table.pair(false, "Balanced role", role(segment.row.preferred_role));
        table.pair(false, "Current role", role(segment.row.role));
        page.table(table);
    }
    page.rule(DASHES);
    page
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "Primary",
        Role::Mirror => "Mirror",
    }
}

/// What is said before a rebalance is asked for.
pub fn rebalance_warning() -> Page {
    let mut page = Page::default();
    page.warn("This operation will cancel queries that are currently executing.");
    page.warn("Connections to the database however will not be interrupted.");
    page
}

/// The asterisks of the last box.
const STARS: usize = 66;

/// The last words of what goes on in the background.
fn boxed(lines: &[&str]) -> Page {
    let mut page = Page::default();
    page.info("*".repeat(STARS));
    lines.iter().for_each(|line| page.info(*line));
    page.info("*".repeat(STARS));
    page
}

/// How a recovery of so many segments ended, each that failed with its reason.
pub fn recovered(count: usize, failed: &[(String, String)]) -> Page {
    let mut page = Page::default();
    page.info("Process results...");
    for (segment, reason) in failed {
        page.warn(format!("Failed to start segment.  Segment: {segment}: REASON: {reason}"));
    }
    if failed.len() < count {
        page.info("Done updating primaries");
        page.append(boxed(RECOVERING));
    }
    page
}

/// How a rebalance ended, each segment that failed with its reason.
pub fn rebalanced(failed: &[(String, String)]) -> Page {
    if failed.is_empty() {
        return boxed(REBALANCED);
    }
    let mut page = Page::default();
    page.exit = 1;
    for (segment, reason) in failed {
        page.warn(format!("Failed to rebalance segment.  Segment: {segment}: REASON: {reason}"));
    }
    page
}

/// A recovery whose copies go on.
const RECOVERING: &[&str] = &[
    "Updating segments for resynchronization is completed.",
    "For segments updated successfully, resynchronization will continue in the background.",
    "",
    "Use  gpstate -s  to check the resynchronization progress.",
];

/// A rebalance whose copies go on.
const REBALANCED: &[&str] = &[
    "The rebalance operation has completed successfully.",
    "There is a resynchronization running in the background to bring all",
    "segments in sync.",
    "",
    "Use gpstate -e to check the resynchronization progress.",
];
