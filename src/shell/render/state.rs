//! The `state()` screen: the header, the contents, the hosts, and what to do next for each content.

use super::format::{age_ms, blocks, bytes, contents, count, elapsed_ms, percent, remaining_ms, when};
use super::layout::{Cell, Para, Table, columns};
use super::{Paint, Style};
use crate::cluster::estimate::left_ms;
use crate::cluster::{ContentState, HostState, MaintenanceInfo, PairHealth, Segment, State, Warning};
use crate::core::ids::Content;
use crate::core::row::{Role, Status};

/// The whole screen.
pub fn render(state: &State, style: &Style) -> String {
    let mut text = header(state, style);
    text.push('\n');
    text.push_str(&contents_table(state, style));
    text.push('\n');
    text.push_str(&hosts_table(state, style));
    text.push('\n');
    text.push_str(&notes(state, style));
    text.push_str(&footer(state, style));
    text
}

/// With the coordinator down nobody has probed, so only the catalog's word counts.
fn is_down(state: &State, segment: &Segment) -> bool {
    if coordinator_down(state) { segment.row.status == Status::Down } else { segment.is_down() }
}

fn coordinator_down(state: &State) -> bool {
    state.coordinator.pid.is_none()
}

fn header(state: &State, style: &Style) -> String {
    let down = state.segments.iter().filter(|s| is_down(state, s)).count();
    let all = state.segments.len();
    let hosts = count(state.hosts.len(), "host");
    let size = format!("{}, {hosts}", count(state.contents.len(), "content"));
    let up = format!("{} of {} up", all - down, count(all, "segment"));
    let mut line = Para::new("", 1).unit(0, &state.cluster, Paint::Strong).unit(2, &size, Paint::Plain).unit(
        3,
        &up,
        if down > 0 { Paint::Warn } else { Paint::Plain },
    );
    for (text, paint) in warnings(state) {
        line = line.unit(3, &text, paint);
    }
    line.unit(age_gap(state), &age(state), Paint::Dim).render(style)
}

/// The screen sets the age apart by two blanks behind a warning and by three otherwise.
fn age_gap(state: &State) -> usize {
    if warnings(state).is_empty() { 3 } else { 2 }
}

/// `7 of 8 segments up` counts what the words below explain.
fn warnings(state: &State) -> Vec<(String, Paint)> {
    let mut found = Vec::new();
    if coordinator_down(state) {
        found.push(("COORDINATOR DOWN".to_string(), Paint::Bad));
    } else if !state.operational() {
        found.push(("NOT OPERATIONAL".to_string(), Paint::Bad));
    }
    // A content that lost both its members still has mode `c`, but nobody would call it one copy.
    let lost = state.double_fault();
    let single = state.single_copy().iter().filter(|c| !lost.contains(c)).count();
    if single > 0 {
        found.push((format!("{single} SINGLE COPY"), Paint::Warn));
    }
    found
}

fn age(state: &State) -> String {
    let age = age_ms(state.age_ms);
    if coordinator_down(state) { format!("last catalog, {age} old") } else { format!("probed {age} ago") }
}

/// How much a segment's cell says; less when the screen is too narrow for all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    WithDuration,
    DownOnly,
}

fn contents_table(state: &State, style: &Style) -> String {
    let full = Detail::WithDuration;
    let short = Detail::DownOnly;
    [side_by_side(state, full), side_by_side(state, short), stacked(state, full)]
        .into_iter()
        .find(|table| table.width() <= style.width)
        .unwrap_or_else(|| stacked(state, short))
        .render(style)
}

/// Primary and mirror of a content on one line.
fn side_by_side(state: &State, detail: Detail) -> Table {
    // A mirror that is down takes all the room there is; others stand as far apart as the rest.
    let is_mirror_down = |s: &Segment| s.row.role == Role::Mirror && is_down(state, s);
    let gap = if state.segments.iter().any(is_mirror_down) { 1 } else { 2 };
    let mut table = Table::new()
        .column("content", 2)
        .column("primary", 2)
        .column("mirror", gap)
        .column("pair", 3)
        .column("to copy", 0);
    for content in &state.contents {
        table.row(vec![
            content.content.to_string().into(),
            member(state, content.content, Role::Primary, detail),
            member(state, content.content, Role::Mirror, detail),
            pair(content),
            to_copy(state, content).into(),
        ]);
    }
    table
}

/// Two lines a content, for host names that leave no room side by side.
fn stacked(state: &State, detail: Detail) -> Table {
    let mut table =
        Table::new().column("content", 2).column("pair", 3).column("to copy", 2).column("primary, mirror below", 0);
    for content in &state.contents {
        table.row(vec![
            content.content.to_string().into(),
            pair(content),
            to_copy(state, content).into(),
            member(state, content.content, Role::Primary, detail),
        ]);
        let mirror = member(state, content.content, Role::Mirror, detail);
        if !mirror.text.is_empty() {
            table.row(vec!["".into(), "".into(), "".into(), mirror]);
        }
    }
    table
}

/// `4 sdw2:6004 * DOWN 2m10s`.
fn member(state: &State, content: Content, role: Role, detail: Detail) -> Cell {
    let Some(segment) = state.acting(content, role) else {
        return Cell::default();
    };
    let row = &segment.row;
    let mut text = format!("{} {}:{}", row.dbid, row.hostname, row.port);
    if !segment.is_preferred() {
        text.push_str(" *");
    }
    if !is_down(state, segment) {
        return text.into();
    }
    text.push_str(" DOWN");
    if let (Detail::WithDuration, Some(since)) = (detail, segment.down_since_ms) {
        text.push(' ');
        text.push_str(&short(elapsed_ms(state.time_ms - since)));
    }
    Cell::painted(text, Paint::Bad)
}

/// In a table `40 s` is one word: `40s`.
fn short(duration: String) -> String {
    match duration.strip_suffix(" s") {
        Some(seconds) => format!("{}s", seconds.split('.').next().unwrap_or(seconds)),
        None => duration,
    }
}

fn pair(content: &ContentState) -> Cell {
    let paint = match content.health {
        PairHealth::Synchronized => Paint::Good,
        PairHealth::NoMirror => Paint::Plain,
        PairHealth::Resynchronizing | PairHealth::ChangeTracking => Paint::Warn,
        PairHealth::DoubleFault | PairHealth::Lost | PairHealth::Quarantined => Paint::Bad,
    };
    Cell::painted(content.health.word(), paint)
}

/// What the mirror lacks: `1.2 MiB`, `88 MiB 38 %`, or all of it when only a full copy can help.
fn to_copy(state: &State, content: &ContentState) -> String {
    match content.health {
        PairHealth::ChangeTracking if content.incremental_impossible.is_some() => {
            let data = state.acting(content.content, Role::Primary).and_then(|p| p.data_bytes);
            data.map_or("full".to_string(), |n| format!("full {}", bytes(n)))
        }
        PairHealth::ChangeTracking | PairHealth::Resynchronizing => {
            let lacks = content.to_copy_blocks.or_else(|| left(content));
            let mut text = lacks.map(blocks).unwrap_or_default();
            if let Some(p) = &content.progress {
                text.push_str(&format!(" {} %", percent(p.copied_blocks, p.total_blocks)));
            }
            text.trim_start().to_string()
        }
        _ => String::new(),
    }
}

fn left(content: &ContentState) -> Option<i64> {
    let p = content.progress.as_ref()?;
    i64::try_from(p.total_blocks.saturating_sub(p.copied_blocks)).ok()
}

fn hosts_table(state: &State, style: &Style) -> String {
    let mut table = Table::new()
        .column("host", 3)
        .column("answers", 2)
        .column("primaries now / preferred", 3)
        .column("mirrors", 3)
        .column("segments down", 0);
    for host in &state.hosts {
        table.row(host_row(state, host));
    }
    table.render(style)
}

fn host_row(state: &State, host: &HostState) -> Vec<Cell> {
    let here = || state.segments.iter().filter(|s| s.row.hostname == host.host);
    let now = here().filter(|s| s.row.role == Role::Primary).count();
    let preferred = here().filter(|s| s.row.preferred_role == Role::Primary).count();
    let mirrors = here().filter(|s| s.row.role == Role::Mirror).count();
    let down = here().filter(|s| is_down(state, s)).count();
    let answers = match (coordinator_down(state), host.alive) {
        (true, _) => Cell::painted("?", Paint::Dim),
        (false, true) => "yes".into(),
        (false, false) => Cell::painted("NO", Paint::Bad),
    };
    let paint = if down > 0 { Paint::Bad } else { Paint::Plain };
    vec![
        host.host.clone().into(),
        answers,
        format!("{now} / {preferred}").into(),
        mirrors.to_string().into(),
        Cell::painted(down.to_string(), paint),
    ]
}

/// What is not as it should be, each with its next step.
fn notes(state: &State, style: &Style) -> String {
    if coordinator_down(state) {
        return coordinator_note(state, style);
    }
    let mut text: String = state.hosts.iter().filter(|h| !h.alive).map(|h| host_note(state, h, style)).collect();
    let notes: Vec<(String, String)> = state.contents.iter().map(|c| content_note(state, c, style)).collect();
    for (i, (words, next)) in notes.iter().enumerate() {
        text.push_str(words);
        // What is to be done about several contents in a row is said once, below the last.
        let again = notes[i + 1..].iter().find(|(words, _)| !words.is_empty()).is_some_and(|(_, n)| n == next);
        if !again {
            text.push_str(next);
        }
    }
    text.extend(state.warnings.iter().map(|w| warning_note(w, style)));
    text.extend(state.maintenance.iter().map(|m| maintenance_note(m, state, style)));
    if let Some(until) = state.fts_paused_until_ms {
        let left = remaining_ms(until - state.time_ms);
        let until = when(until, state.time_ms, style);
        text.push_str(&format!(" FTS is paused until {until} ({left} left): no failover happens before.\n"));
    }
    text
}

fn maintenance_note(maintenance: &MaintenanceInfo, state: &State, style: &Style) -> String {
    let lead = format!(" host {}  ", maintenance.host);
    let left = remaining_ms(maintenance.until_ms - state.time_ms);
    let until = when(maintenance.until_ms, state.time_ms, style);
    let MaintenanceInfo { owner, reason, .. } = maintenance;
    Para::new(&lead, columns(&lead))
        .words(&format!("in maintenance until {until} ({left} left), by {}: {reason}.", owner.user))
        .words("Nothing is recovered to it.")
        .render(style)
}

fn warning_note(warning: &Warning, style: &Style) -> String {
    let lead = format!(" content {}  ", warning.content);
    Para::new(&lead, columns(&lead))
        .words(&format!("{}: dbid {} on {}: {}.", warning.code.code(), warning.dbid, warning.host, warning.cause))
        .unit_below(&format!("next: {}", warning.next), Paint::Code)
        .render(style)
}

fn coordinator_note(state: &State, style: &Style) -> String {
    let seen = when(state.time_ms - state.age_ms, state.time_ms, style);
    Para::new(" ", 1)
        .words(&format!(
            "The coordinator on {} does not answer. This is its last catalog, written at {seen} \
             and read-only; what runs now is not known.",
            state.coordinator.host
        ))
        .unit_below("next: segsh start DIR", Paint::Code)
        .render(style)
}

fn host_note(state: &State, host: &HostState, style: &Style) -> String {
    let lead = format!(" host {}  ", host.host);
    let indent = columns(&lead).min(style.width / 2);
    let cause = if host.cause.is_empty() { "its agent does not answer" } else { &host.cause };
    let next = if state.drill {
        format!("next: fault::start_host(\"{}\")", host.host)
    } else {
        "next: bring the host back, then: segsh start DIR".to_string()
    };
    Para::new(&lead, indent).words(&format!("does not answer: {cause}.")).unit_below(&next, Paint::Code).render(style)
}

/// What is the matter with a content, and below it what is to be done.
fn content_note(state: &State, content: &ContentState, style: &Style) -> (String, String) {
    let lead = format!(" content {}  ", content.content);
    let para = Para::new(&lead, columns(&lead));
    let para = match content.health {
        PairHealth::ChangeTracking => tracking_note(state, content, para, style),
        PairHealth::Resynchronizing => resync_note(content, para),
        PairHealth::DoubleFault => double_fault_note(content, para, style),
        PairHealth::Lost => lost_note(content, para, style),
        PairHealth::Quarantined => {
            let why = content.quarantine.as_deref().unwrap_or("its rows are impossible");
            para.words(&format!("QUARANTINED: {why}. Nothing is decided for it."))
                .unit_below("next: help(\"quarantined\")", Paint::Code)
        }
        PairHealth::Synchronized | PairHealth::NoMirror if damaged_pages(state, content.content).is_some() => {
            damage_note(state, content, para)
        }
        PairHealth::Synchronized | PairHealth::NoMirror => match unanswered(state, content.content) {
            Some(cause) => para.words(&cause).unit(6, "next: probe()", Paint::Code),
            None => return Default::default(),
        },
    };
    para.render_apart(style)
}

/// The acting primary, when reads have met pages of it that fail their checksum, and how many.
fn damaged_pages(state: &State, content: Content) -> Option<(&Segment, usize)> {
    let primary = state.acting(content, Role::Primary)?;
    let pages = usize::try_from(primary.damaged_pages?).ok().filter(|pages| *pages > 0)?;
    Some((primary, pages))
}

/// Reads of those pages fail. Whether the mirror has them whole, only a comparison can tell.
fn damage_note(state: &State, content: &ContentState, para: Para) -> Para {
    let Some((primary, pages)) = damaged_pages(state, content.content) else { return para };
    let (dbid, pages) = (primary.row.dbid, count(pages, "page"));
    let para = para.words(&format!("DAMAGED: reads met {pages} of dbid {dbid} that failed their checksum."));
    let next = match content.health {
        PairHealth::NoMirror => "next: help(\"source_damaged\")".to_string(),
        _ => format!("next: verify(#{{ contents: [{}] }})", content.content),
    };
    para.unit_below(&next, Paint::Code)
}

/// A member that does not answer although the catalog still counts on it.
fn unanswered(state: &State, content: Content) -> Option<String> {
    let gone = state.segments.iter().find(|s| s.row.content == content && s.is_down())?;
    let cause = &gone.alive.cause;
    let cause = if cause.is_empty() { "no answer" } else { cause };
    let row = &gone.row;
    Some(format!("dbid {} on {}: {cause}.", row.dbid, row.hostname))
}

fn evidence(para: Para, content: Content, style: &Style) -> Para {
    if style.evidence {
        let call = format!("evidence: why(\"content {content}\")");
        para.unit(3, &call, Paint::Dim)
    } else {
        para
    }
}

fn tracking_note(state: &State, content: &ContentState, para: Para, style: &Style) -> Para {
    let since =
        content.single_copy_since_ms.map(|ms| format!(" since {}", when(ms, state.time_ms, style))).unwrap_or_default();
    let para = para.words(&format!("single copy{since}:{}", event(content)));
    let mut para = evidence(para, content.content, style);
    let mirror = state.acting(content.content, Role::Mirror);
    if let Some(op) = content.operation {
        return para.unit_below(&format!("operation {op} works on it      next: wait"), Paint::Code);
    }
    if let Some(why) = &content.source_damaged {
        para = para.words(&format!("The acting primary is damaged: {why}."));
        return para.unit_below("next: help(\"source_damaged\")", Paint::Code);
    }
    let host_gone = mirror.and_then(|m| state.host(&m.row.hostname)).is_some_and(|h| !h.alive);
    let step = match (&content.incremental_impossible, mirror) {
        (Some(why), Some(mirror)) => {
            para = para.words(&format!("Incremental recovery is impossible: {why}."));
            format!("full_recover(#{{ dbids: {} }})", mirror.row.dbid)
        }
        _ => "recover()".to_string(),
    };
    let first = if host_gone { "when the host is back: " } else { "" };
    para = para.unit_below(&format!("next: {first}{step}"), Paint::Code);
    if unbalanced(state, content.content) {
        para = para.unit(5, "then, at a quiet time: rebalance()", Paint::Code);
    }
    para
}

/// The coordinator's words about what happened, as the end of a sentence.
fn event(content: &ContentState) -> String {
    let event = content.last_event.trim().trim_end_matches('.');
    if event.is_empty() { " changes are tracked.".to_string() } else { format!(" {event}.") }
}

fn unbalanced(state: &State, content: Content) -> bool {
    state.unbalanced().iter().any(|s| s.row.content == content)
}

fn resync_note(content: &ContentState, para: Para) -> Para {
    let about = content
        .progress
        .as_ref()
        .and_then(left_ms)
        .map(|ms| format!(", about {}", remaining_ms(ms)))
        .unwrap_or_default();
    let para = para.words(&format!("single copy until synchronized{about}"));
    match content.held.filter(|held| held.reached) {
        Some(held) => para
            .words(&format!("; a drill holds it at the {}", held.stage.word()))
            .unit_below(&format!("next: fault::release({})", content.content), Paint::Code),
        None => para.unit(6, "next: wait", Paint::Code),
    }
}

fn double_fault_note(content: &ContentState, para: Para, style: &Style) -> Para {
    // The event begins with the very words.
    let event = event(content).replace("double fault: ", "");
    let para = para.words(&format!("DOUBLE FAULT, no member can serve:{event}"));
    let para = evidence(para, content.content, style);
    para.unit_below("next: procedure(\"recover_double_fault\")", Paint::Code)
}

/// Without a mirror there is nobody to take over: the whole system stands still for this content.
fn lost_note(content: &ContentState, para: Para, style: &Style) -> Para {
    let event = event(content);
    let para = para.words(&format!("DOWN:{}", event.replace("not operational: ", "")));
    let para = evidence(para, content.content, style);
    para.unit_below("next: procedure(\"recover_without_mirroring\")", Paint::Code)
}

fn footer(state: &State, style: &Style) -> String {
    let rows = "catalog rows: state().rows";
    let out = state.unbalanced();
    if out.is_empty() {
        return format!(" {}\n", style.paint(Paint::Dim, rows));
    }
    // Rebalancing is all or nothing, so it is proposed here only when nothing stands in its way;
    // otherwise the content's own note has it as the later step.
    let ready = state.contents.iter().all(|c| c.health == PairHealth::Synchronized) && state.down().is_empty();
    let mut para = Para::new(" ", 3).words("* not in its preferred role");
    if ready {
        let mut list: Vec<Content> = out.iter().map(|s| s.row.content).collect();
        list.dedup();
        list.sort_unstable();
        list.dedup();
        let which = format!("({})", contents(&list));
        para = para.words(&which).unit(3, "next: rebalance()", Paint::Code);
    }
    para.unit(5, rows, Paint::Dim).render(style)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
