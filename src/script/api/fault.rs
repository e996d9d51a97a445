//! `fault::`: faults for drills. They exist on demo clusters and those made for drills.

use super::binding::api;
use super::state::SegmentRecord;
use crate::cluster::{Cluster, Fault};
use crate::core::ids::{Content, Dbid};
use crate::core::report::Stage;
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::near::is_it;
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Dynamic, ImmutableString, Module};
use std::rc::Rc;
use std::sync::Arc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "kill", &[&["segment: Segment"]], "()", "SIGKILL of a segment's process; drill clusters only.",
        "fault::kill(state().content(0).primary)", namespace: "fault", changes: true
    ),
    entry!(
        "stop_host", &[&["host: string"]], "()",
        "SIGKILL of a host's agent and of every segment on it; drill clusters only.",
        "fault::stop_host(\"sdw1\")", namespace: "fault", changes: true
    ),
    entry!(
        "start_host", &[&["host: string"]], "()",
        "Starts a host's agent again; its segments stay down until recovered.",
        "fault::start_host(\"sdw1\")", namespace: "fault", changes: true
    ),
    entry!(
        "hold", &[&["content: int", "stage: string"]], "()",
        "A content's recovery, or its next one, waits at \"preparation\", \"data_copy\", \"flat_files\" or \"claim\" \
         until fault::release(); drill clusters only.",
        "fault::hold(0, \"data_copy\")", namespace: "fault", changes: true
    ),
    entry!(
        "release", &[&["content: int"]], "()", "What fault::hold() made wait goes on.",
        "fault::release(0)", namespace: "fault", changes: true
    ),
];

/// The stages at which a recovery can be held, as scripts write them.
const STAGES: [Stage; 4] = [Stage::Preparation, Stage::DataCopy, Stage::FlatFiles, Stage::Claimed];

fn spelled(stage: Stage) -> String {
    stage.word().replace(' ', "_")
}

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "fault::kill", 0, |c, s: Dynamic| { kill(c, &s) });
    api!(module, context, "fault::stop_host", 0, |c, h: ImmutableString| { stop_host(c, &h) });
    api!(module, context, "fault::start_host", 0, |c, h: ImmutableString| { start_host(c, &h) });
    api!(module, context, "fault::hold", 0, |c, content: i64, stage: ImmutableString| hold(c, content, &stage));
    api!(module, context, "fault::release", 0, |c, content: i64| { release(c, content) });
}

/// `fault::hold(content, stage)`.
fn hold(context: &Context, content: i64, stage: &str) -> Thrower {
    let cluster = drill(context, "fault::hold")?;
    let Some(found) = STAGES.into_iter().find(|s| spelled(*s) == stage) else {
        let names = STAGES.map(spelled);
        let near = is_it(stage, names.iter().map(String::as_str));
        return Err(Thrown::script("bad_option", format!("fault::hold(): there is no stage `{stage}`{near}"))
            .next(format!("stages: {}", names.join(", "))));
    };
    if !context.only_names(|| format!("fault::hold({content}, {stage:?})")) {
        cluster.fault(&Fault::Hold(Content(content), found))?;
    }
    Ok(Dynamic::UNIT)
}

/// `fault::release(content)`.
fn release(context: &Context, content: i64) -> Thrower {
    let cluster = drill(context, "fault::release")?;
    if !context.only_names(|| format!("fault::release({content})")) {
        cluster.fault(&Fault::Release(Content(content)))?;
    }
    Ok(Dynamic::UNIT)
}

/// The cluster, when it is one for drills.
pub(super) fn drill<'a>(context: &'a Context, function: &str) -> Thrower<&'a Arc<dyn Cluster>> {
    let cluster = context.cluster()?;
    if cluster.is_drill() {
        return Ok(cluster);
    }
    let message = format!("{function}() is for drill clusters, and {} is none", cluster.name());
    Err(Thrown::with_exit("not_drill", 4, message).next("help(\"not_drill\")"))
}

/// `fault::kill(segment)`. A bare number is refused: it could be a content.
pub(super) fn kill(context: &Context, target: &Dynamic) -> Thrower {
    let cluster = drill(context, "fault::kill")?;
    let Some(segment) = target.read_lock::<SegmentRecord>() else {
        return Err(not_a_segment(target));
    };
    let dbid: Dbid = segment.0.row.dbid;
    if context.only_names(|| format!("fault::kill(state().segment({dbid}))")) {
        return Ok(Dynamic::UNIT);
    }
    cluster.fault(&Fault::Kill(dbid))?;
    Ok(Dynamic::UNIT)
}

fn not_a_segment(target: &Dynamic) -> Thrown {
    if target.is_int() {
        let both = format!("fault::kill(state().segment({target})) or fault::kill(state().content({target}).primary)");
        return Thrown::script("bare_number", format!("fault::kill({target}): content or dbid? Write {both}"))
            .next(both);
    }
    Thrown::script("type_mismatch", format!("fault::kill() takes a segment, not {}", target.type_name()))
        .next("fault::kill(state().content(0).primary)")
}

/// `fault::stop_host(name)`.
pub(super) fn stop_host(context: &Context, host: &str) -> Thrower {
    let cluster = drill(context, "fault::stop_host")?;
    if !context.only_names(|| format!("fault::stop_host({host:?})")) {
        cluster.fault(&Fault::StopHost(host.to_string()))?;
    }
    Ok(Dynamic::UNIT)
}

/// `fault::start_host(name)`.
pub(super) fn start_host(context: &Context, host: &str) -> Thrower {
    let cluster = drill(context, "fault::start_host")?;
    if !context.only_names(|| format!("fault::start_host({host:?})")) {
        cluster.fault(&Fault::StartHost(host.to_string()))?;
    }
    Ok(Dynamic::UNIT)
}
