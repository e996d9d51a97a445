//! `gpstop`: primaries, then mirrors, then the coordinator; with `-r` everything again.

use super::{Run, Step, start};
use crate::cluster::{
    Control, Intent, Observer, Outcome, OutcomeStatus, Progressing, Selection, State, StopHow, plan as planned,
};
use crate::core::report::StopMode;
use crate::core::row::Role;
use crate::gp::failure::Failure;
use crate::gp::gpstop::{ABOUT, Asked, OPTIONS, QUESTION, commencing, parameters, parse, phase, summary};
use crate::gp::line::Line;
use crate::script::api::hooks;
use crate::script::context::now_ms;
use crate::script::json::{outcome_json, state_json};
use crate::script::thrown::Thrown;

/// Nobody is waited for: theirs does not either, and `segsh stop --mode smart` does.
const CONNECTED: &str = "There are other connections to this instance, shutdown mode smart aborted";

/// Said before the question: a stop that is smart or fast is neither then.
const NOBODY_ASKS: &str = "The coordinator does not run: segments that do will be killed, and replay their logs at the \
                           next start";

pub(super) fn run(run: &Run) -> Step {
    let asked = parse(run.words)?;
    if run.begin(&asked.given, ABOUT, OPTIONS)? {
        return Ok(());
    }
    run.info("Gathering information and validating the environment...");
    run.info("Obtaining Segment details from master...");
    run.info(format!("Greenplum Version: '{}'", run.about.release));
    let state = run.context.state()?;
    run.tell("state", state_json(&state));
    if asked.reload {
        return reload(run, &state);
    }
    run.page(parameters(&state, &asked));
    if state.coordinator.pid.is_none() && !asked.coordinator_only {
        run.line(Line::warning(NOBODY_ASKS));
    }
    let how = confirmed(run, &asked, &state)?;
    let Some(how) = how else { return Ok(()) };
    let outcome = stop(run, &asked, &state, &how)?;
    match asked.coordinator_only {
        false => run.page(summary(&state, &outcome)),
        true if outcome.status == OutcomeStatus::Done => {}
        true => return Err(Failure::failed(outcome.message).next(outcome.next).into()),
    }
    if asked.restart {
        run.info("Restarting System...");
        start::after_a_stop(run, &state)?;
    }
    Ok(())
}

/// Asks; `None` in a dry run, which ends here.
fn confirmed(run: &Run, asked: &Asked, state: &State) -> Step<Option<StopHow>> {
    let context = run.context;
    if asked.restart {
        let intent = Intent::Restart { selection: Selection::default(), mode: asked.mode };
        if let Some(veto) = hooks::before(context, &planned(state, &intent, now_ms()), state)? {
            return Err(Failure::failed(veto.cause).next(veto.next).into());
        }
    }
    if context.only_names(|| format!("gpstop({:?})", run.words.join(" "))) {
        return Ok(None);
    }
    let confirmed = run.confirmed(asked.given.has("a"), QUESTION)?;
    context.confirmed.replace(confirmed.into());
    let within_ms = u64::try_from(asked.timeout_s).ok().map(|s| s.saturating_mul(1000));
    Ok(Some(StopHow { mode: asked.mode, coordinator_only: asked.coordinator_only, within_ms }))
}

fn stop(run: &Run, asked: &Asked, state: &State, how: &StopHow) -> Step<Outcome> {
    let cluster = run.context.cluster()?;
    // A coordinator that does not answer has no clients.
    let sessions = match state.coordinator.pid {
        Some(_) => cluster.sessions().map_err(Thrown::from)?,
        None => 0,
    };
    if sessions > 0 && asked.mode == StopMode::Smart {
        run.line(Line::warning(CONNECTED));
        let says = format!("Active connections. Aborting shutdown... ({sessions})");
        return Err(Failure::expected(says).next("gpstop -M fast").into());
    }
    run.page(commencing(state, asked.mode, sessions));
    // Nobody is connected: who comes now, comes too late, and must not keep the stop from its end.
    let mode = if asked.mode == StopMode::Smart { StopMode::Fast } else { asked.mode };
    let mut phases = Phases { run, state, said: Vec::new() };
    let outcome = cluster.stop_all(&StopHow { mode, ..*how }, &mut phases).map_err(Thrown::from)?;
    let is_asked = !phases.said.is_empty();
    run.tell("outcome", outcome_json(&outcome));
    if run.context.ui.interrupted() {
        return Err(interrupted(is_asked).into());
    }
    if state.coordinator.pid.is_none() && outcome.segments.is_empty() && outcome.message == "nothing ran" {
        let says = "postmaster.pid file does not exist.  is Greenplum instance already stopped?";
        return Err(Failure::expected(says).next("gpstart").into());
    }
    Ok(outcome)
}

/// Ctrl-C: what the coordinator was asked for goes on; what this process would have done does not.
fn interrupted(is_asked: bool) -> Thrown {
    let left = if is_asked {
        "segments and coordinator are stopping, and go on doing so; the hosts' processes are left"
    } else {
        "the coordinator was not asked yet; what was begun ends with this process"
    };
    Thrown::interrupted_saying(left).next("segsh stop")
}

fn reload(run: &Run, state: &State) -> Step {
    if run.context.only_names(|| "gpstop(\"-u\")".into()) {
        return Ok(());
    }
    run.context.cluster()?.reload().map_err(Thrown::from)?;
    run.info("Signalling all postmaster processes to reload");
    run.info("Settings count as soon as they are written; the password file was read again");
    for segment in state.segments.iter().filter(|s| s.is_down()) {
        let row = &segment.row;
        let says = format!("segment is not running: dbid {} on {} directory {}", row.dbid, row.hostname, row.datadir);
        run.line(Line::warning(says));
        run.exit.set(1);
    }
    Ok(())
}

/// Says each phase once, when its first segment is asked to stop.
struct Phases<'r, 'c> {
    run: &'r Run<'c>,
    state: &'r State,
    said: Vec<Role>,
}

impl Observer for Phases<'_, '_> {
    fn progress(&mut self, now: &Progressing) -> Control {
        for line in &now.contents {
            let Some(role) = self.state.segment(line.dbid).map(|s| s.row.role) else { continue };
            if !self.said.contains(&role) {
                self.said.push(role);
                self.run.info(phase(role));
            }
        }
        if self.run.context.ui.interrupted() { Control::Detach } else { Control::KeepWatching }
    }
}
