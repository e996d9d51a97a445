//! `segsh adopt`: a catalog made again from what stopped segments keep.

use super::super::{Exit, Invocation};
use super::lifecycle::make_password_file;
use super::tell::Tell;
use crate::cluster::{Outcome, OutcomeStatus, SegmentOutcome};
use crate::cluster_dir::{Adoption, survey};
use crate::coordinator::{PASSWORD_FILE, create_adopted_catalog};
use crate::core::ids::Dbid;
use crate::core::transition::letters;
use crate::script::Thrown;
use crate::script::ui::Damage;
use crate::shell::confirm::{Grant, is_yes, prompt};
use crate::shell::output::say;
use crate::shell::render::adopt::{adopted, refused};
use crate::shell::terminal::{self, Typed, ask};
use std::path::PathBuf;
use std::time::Instant;

/// Looks, shows, asks, and makes the catalog; the process's exit code.
pub fn adopt(invocation: &Invocation, dirs: &[PathBuf], dry_run: bool, serve: &[i64]) -> i32 {
    let tell = Tell::new(invocation);
    let began = Instant::now();
    let serve: Vec<Dbid> = serve.iter().copied().map(Dbid).collect();
    let adoption = match survey(dirs, &serve) {
        Ok(adoption) => adoption,
        Err(complaints) => {
            let said = refused(&complaints, &terminal::stderr_style());
            say(&said);
            let message = said.lines().map(str::trim).collect::<Vec<_>>().join("; ");
            return tell.failure(Thrown::with_exit("refused", Exit::Refused.process_code(), message));
        }
    };
    let shown = adopted(
        adoption.handle().name(),
        &adoption.rows,
        &adoption.contents,
        &adoption.notes,
        &terminal::stdout_style(),
    );
    if !invocation.quiet || dry_run {
        tell.text(&shown);
    }
    let document = document(&adoption);
    if dry_run {
        return tell.value("adoption", document, Exit::Done.process_code());
    }
    if let Err(code) = confirmed(invocation, &tell, adoption.handle().name(), !serve.is_empty()) {
        return code;
    }
    let owner = super::owner::owner();
    let outcome = outcome(&adoption, began);
    let made = adoption.carry_out(&|adoption| {
        let config = adoption.handle().config();
        if !config.dir.join(PASSWORD_FILE).exists() {
            make_password_file(config).map_err(|e| format!("{PASSWORD_FILE}: {e}"))?;
        }
        create_adopted_catalog(adoption, &owner, &outcome).map_err(|e| e.to_string())
    });
    match made {
        Ok(handle) => {
            say(&format!("{} has a catalog again: {}", handle.name(), outcome.message));
            say(&format!("next: segsh start {}", handle.dir().display()));
            tell.value("adoption", document, Exit::Done.process_code())
        }
        Err(error) => tell.dir_failed(&error),
    }
}

/// Asks as `destroy` does. `--yes` covers what the command line itself names; an override it must name.
fn confirmed(invocation: &Invocation, tell: &Tell, name: &str, overrides: bool) -> Result<(), i32> {
    let policy = &invocation.policy;
    if policy.yes && (!overrides || policy.grants.contains(&Grant::Adopt)) {
        return Ok(());
    }
    if !terminal::is_interactive() {
        let flag = if overrides { "--yes=adopt" } else { "--yes" };
        let message = format!("declined: making a catalog needs the cluster's name typed at a terminal, or {flag}");
        return Err(tell.failed("declined", Exit::Refused, &message, flag));
    }
    let damage = Damage::TypeCluster(name.to_owned());
    match ask(&prompt(&damage)) {
        Typed::Line(line) if is_yes(&damage, &line) => Ok(()),
        Typed::Interrupted => {
            Err(tell.failed("interrupted", Exit::Interrupted, "interrupted: nothing was changed", ""))
        }
        Typed::Line(_) | Typed::Ended => {
            Err(tell.failed("declined", Exit::Refused, "declined: nothing was changed", ""))
        }
    }
}

/// What the audit log keeps of it.
fn outcome(adoption: &Adoption, began: Instant) -> Outcome {
    let segments = adoption.rows.iter().filter(|row| row.content.0 >= 0).map(|row| {
        let proven = adoption.contents.iter().find(|p| p.row.content == row.content);
        let note = proven.map(|p| [p.why.as_str(), p.may_be_lost.as_str()].join("; may be lost: "));
        SegmentOutcome {
            pair: proven.map(|p| letters(&p.row)).unwrap_or_default(),
            note: note.unwrap_or_default().trim_end_matches("; may be lost: ").to_owned(),
            ..SegmentOutcome::of(row, OutcomeStatus::Done, "adopted")
        }
    });
    let segments: Vec<_> = segments.collect();
    Outcome {
        verb: "adopt".into(),
        status: OutcomeStatus::Done,
        op: None,
        message: format!("{} contents, {} segments", adoption.contents.len(), segments.len()),
        segments,
        refusals: Vec::new(),
        elapsed_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        next: format!("segsh start {}", adoption.handle().dir().display()),
    }
}

/// The same as one JSON document.
fn document(adoption: &Adoption) -> serde_json::Value {
    let contents = adoption.contents.iter().map(|p| {
        serde_json::json!({
            "content": p.row.content, "epoch": p.row.epoch, "row": letters(&p.row), "primary": p.row.primary.dbid,
            "mirror": p.row.mirror.map(|m| m.dbid), "must_copy_all": p.must_copy_all, "why": p.why,
            "may_be_lost": p.may_be_lost,
        })
    });
    serde_json::json!({
        "cluster": adoption.handle().name(), "rows": adoption.rows,
        "contents": contents.collect::<Vec<_>>(), "notes": adoption.notes,
    })
}
