//! `gpstate`: looks, shows, changes nothing.

use super::{Run, Step};
use crate::gp::gpstate::{ABOUT, OPTIONS, obtaining, parse};
use crate::gp::layout::show;
use crate::script::json::state_json;

pub(super) fn run(run: &Run) -> Step {
    let asked = parse(run.words)?;
    if run.begin(&asked.given, ABOUT, OPTIONS)? {
        return Ok(());
    }
    let state = run.probed()?;
    run.page(obtaining(&run.about));
    run.tell("layout", asked.layout.letter().into());
    run.tell("state", state_json(&state));
    run.page(show(asked.layout, &state, &run.about, run.stamp.utc_offset_s));
    Ok(())
}
