//! What a test can leave behind: every test begins on a cluster on which nothing has happened yet.

use super::ui::TestUi;
use crate::cluster::{Cluster, PairHealth, SqlTarget, State};
use crate::script::{ScriptError, Session, SessionConfig};
use crate::shell::render::{Screens, Style};
use crate::shell::signals::Signals;
use std::rc::Rc;
use std::sync::Arc;

/// Brings a drill cluster back; run as a script, because a script is what can be read and typed.
const HEAL: &str = include_str!("heal.rhai");

/// Why a cluster is not fit to begin a test on; `None` when it is.
pub fn unfit(state: &State) -> Option<&'static str> {
    if !state.operational() {
        return Some("it is not operational");
    }
    let checks = [
        (state.down().is_empty(), "a segment is down"),
        (state.contents.iter().all(|c| c.health == PairHealth::Synchronized), "a pair is not synchronized"),
        (state.unbalanced().is_empty(), "segments are not in their preferred roles"),
        (state.hosts.iter().all(|h| h.alive), "a host does not answer"),
        (state.contents.iter().all(|c| c.operation.is_none()), "an operation is under way"),
        (state.maintenance.is_empty(), "a host is in maintenance"),
        (state.fts_paused_until_ms.is_none(), "FTS is paused"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
}

/// Everything that a test can change, as one text: processes, rows, epochs, operations, and what is stored. `None` when
/// the cluster is unfit, or does not answer.
pub fn traces(cluster: &dyn Cluster) -> Option<String> {
    const STORED: &str = "select count(*), group_concat(name) from sqlite_schema";
    const SETTINGS: &str = "select group_concat(name || '=' || value) from segsh_setting";
    let state = cluster.probe().ok()?;
    if unfit(&state).is_some() {
        return None;
    }
    let mut text = format!("{:?}", state.coordinator.pid);
    for segment in &state.segments {
        text.push_str(&format!("\n{:?} {:?}", segment.row, segment.alive.pid));
    }
    for content in &state.contents {
        let stored = cluster.sql(SqlTarget::Content(content.content), STORED, &[]).ok()?;
        text.push_str(&format!("\n{} {:?} {:?}", content.content, content.epoch, stored.rows));
    }
    let settings = cluster.sql(SqlTarget::Catalog, SETTINGS, &[]).ok()?;
    let newest = cluster.operations(1, None).ok()?.first().map(|o| o.id);
    text.push_str(&format!("\n{:?} {newest:?}", settings.rows));
    Some(text)
}

/// Brings a drill cluster back to where a test can begin: hosts answer, pairs are synchronized and in their preferred
/// roles, nothing is paused. Tables and settings stay as they are.
pub fn heal(cluster: Arc<dyn Cluster>, signals: &Signals) -> Result<(), Box<ScriptError>> {
    let screens = Screens::new(Style::default(), cluster.name());
    let mut session = Session::new(SessionConfig {
        cluster: Some(cluster),
        ui: Rc::new(TestUi::new(screens.clone(), signals.clone())),
        renderer: Rc::new(screens),
        // A site's rules are about its changes, and not about what ends a test.
        site_dir: None,
        system_dir: None,
        dry_run: false,
    });
    session.run_source("heal.rhai", HEAL).map(drop)
}
