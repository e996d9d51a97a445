//! A plan: in full as a value, and in short before the question.

use super::format::{blocks, bytes, bytes_of, clock, contents, count, estimate_ms};
use super::layout::{Para, Table};
use super::places::Places;
use super::refusal::reason_lines;
use super::{Paint, Style};
use crate::cluster::estimate::Basis;
use crate::cluster::{Intent, Joined, Plan, PlanDamage, PlanStep, StepKind};
use crate::core::ids::Content;
use crate::core::row::PairRow;

/// Column where the facts below the steps begin.
const FACTS: usize = 11;
/// Where the second fact of a line begins, counted from the first.
const SECOND: usize = 36;

/// The whole screen.
pub fn render(plan: &Plan, damage: &PlanDamage, style: &Style) -> String {
    let places = Places::of(plan);
    let mut text = head(plan, style);
    if !plan.steps.is_empty() {
        text.push_str(&steps(plan, &places, style).render(style));
    }
    if !plan.refusals.is_empty() {
        text.push_str(&refused_head(plan, style));
        text.push_str(&reason_lines(&plan.refusals, style));
    }
    for joined in &plan.joined {
        text.push_str(&joined_line(joined, style));
    }
    text.push_str(&facts(plan, damage, &places, style));
    text.push_str(&next(plan, style));
    text
}

/// `plan 9f3c   recover, incrementally, in place   made 03:14:20 from state a81e`
fn head(plan: &Plan, style: &Style) -> String {
    let made = clock(plan.made_ms, style);
    let state: String = plan.state_id.chars().take(4).collect();
    Para::new(&format!("plan {}", plan.id), 1)
        .unit(3, &format!("{}, {}", plan.verb(), how(&plan.intent)), Paint::Strong)
        .unit(3, &format!("made {made} from state {state}"), Paint::Dim)
        .render(style)
}

fn how(intent: &Intent) -> String {
    match intent {
        Intent::Recover { .. } => "incrementally, in place".to_string(),
        Intent::Move { to, .. } => format!("full, {}", to.words()),
        Intent::FullRecover { in_place: false, .. } => "to a new copy".to_string(),
        Intent::FullRecover { in_place: true, .. } => "in place, overwriting".to_string(),
        Intent::Rebalance { .. } => "to the preferred roles".to_string(),
        Intent::Restart { mode, .. } => mode.word().to_string(),
        Intent::Verify { .. } => "both copies, online".to_string(),
        Intent::Backup { .. } => "as of one moment".to_string(),
        Intent::Restore { .. } => "replacing all that is there".to_string(),
        Intent::ForcePrimary { .. } => "an override, with the copy it holds".to_string(),
    }
}

/// Where a full copy is written is shown when there is room for it.
fn steps(plan: &Plan, places: &Places, style: &Style) -> Table {
    let with_directories = steps_table(plan, places, true);
    if with_directories.width() <= style.width { with_directories } else { steps_table(plan, places, false) }
}

fn steps_table(plan: &Plan, places: &Places, directories: bool) -> Table {
    let mut table = Table::new()
        .column("step", 2)
        .column("content", 2)
        .column("dbid", 2)
        .optional("source", 4)
        .column("target", 6)
        .optional("copy", 3)
        .optional("about", 0);
    for (i, step) in plan.steps.iter().enumerate() {
        let source = match step.kind {
            StepKind::Restart | StepKind::Write | StepKind::Replace => String::new(),
            _ => places.address(step.source),
        };
        let target = if let Some(to) = &step.to {
            places.new_place(to, directories)
        } else if directories && step.kind == StepKind::Full {
            places.directory(step.dbid)
        } else {
            places.address(step.dbid)
        };
        table.row(vec![
            (i + 1).to_string().into(),
            step.content.to_string().into(),
            step.dbid.to_string().into(),
            source.into(),
            target.into(),
            copy(step).into(),
            step.about_ms.map(estimate_ms).unwrap_or_default().into(),
        ]);
    }
    table
}

/// What a step copies, as far as anyone could say.
fn copy(step: &PlanStep) -> String {
    match step.kind {
        StepKind::Incremental => step.copy_blocks.map(blocks).unwrap_or_default(),
        StepKind::Full | StepKind::Move => step.total_bytes.map(bytes).unwrap_or_default(),
        StepKind::Compare | StepKind::Write => step.total_bytes.map(bytes).unwrap_or_default(),
        StepKind::Switch | StepKind::Restart | StepKind::Force | StepKind::Replace => String::new(),
    }
}

fn refused_head(plan: &Plan, style: &Style) -> String {
    let n = plan.refusals.len();
    let line = if plan.refuses {
        format!(" refused, so nothing is done ({n}):")
    } else {
        format!(" refused, left out ({n}):")
    };
    format!("{}\n", style.paint(Paint::Warn, &line))
}

fn joined_line(joined: &Joined, style: &Style) -> String {
    let percent = joined.percent.map(|p| format!(", {p} %")).unwrap_or_default();
    Para::new(&format!(" content {}  ", joined.content), 12)
        .words(&format!("already resynchronizing{percent}: left running, waited for"))
        .render(style)
}

/// What becomes of it when it is interrupted.
fn again(intent: &Intent) -> &'static str {
    match intent {
        Intent::Backup { .. } => "interrupted anywhere, nothing is left of it: run it again",
        Intent::Restore { .. } => {
            "interrupted before every content has its new copy, all is as it was; after that it goes on"
        }
        _ => "interrupted anywhere, run it again: nothing is copied twice",
    }
}

fn facts(plan: &Plan, damage: &PlanDamage, places: &Places, style: &Style) -> String {
    let mut text = String::new();
    let touched = touched(plan);
    if !touched.is_empty() {
        text.push_str(&pauses(plan, style));
        for basis in bases(plan) {
            text.push_str(&fact("times").words(&basis).render(style));
        }
        let exposed = exposed(plan, &touched);
        text.push_str(&fact("exposed").words(&exposed).render(style));
        text.push_str(&after(plan, places, style));
        text.push_str(&fact("again").words(again(&plan.intent)).render(style));
    }
    for note in &plan.notes {
        text.push_str(&fact("note").words(note).render(style));
    }
    text.push_str(&confirm(plan, damage).render(style));
    text
}

/// What the times of the copies count on, each once.
fn bases(plan: &Plan) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for step in &plan.steps {
        let (Some(basis), Some(rate)) = (step.about_basis, step.about_rate_bytes) else { continue };
        let rate = bytes(rate);
        let words = match basis {
            Basis::Cap => format!("capped at {rate} a second"),
            Basis::Measured => format!("{rate} a second, as measured at the last recovery"),
            Basis::Assumed => format!("{rate} a second assumed: no recovery of some size was measured yet"),
        };
        if !found.contains(&words) {
            found.push(words);
        }
    }
    found
}

/// How a plan leaves its contents with one copy while it runs.
fn exposed(plan: &Plan, touched: &[Content]) -> String {
    let which = contents(touched);
    let one = touched.len() == 1;
    let whose = if one { "its step ends" } else { "their step ends" };
    match plan.intent {
        Intent::Recover { .. } | Intent::Move { .. } | Intent::FullRecover { .. } => {
            let keep = if one { "keeps" } else { "keep" };
            format!("{which} {keep} a single copy until {whose}")
        }
        Intent::Verify { .. } => format!("{which} {} not, unless the copies differ", if one { "is" } else { "are" }),
        Intent::Backup { .. } => "none: nothing is changed".to_string(),
        Intent::Restore { .. } => format!("{which}: a single copy until the mirror is copied anew"),
        Intent::ForcePrimary { .. } => format!("{which}: a single copy until a full copy is made"),
        Intent::Rebalance { .. } | Intent::Restart { .. } => {
            let have = if one { "has" } else { "have" };
            format!("{which} {have} a single copy for a moment, until {whose}")
        }
    }
}

/// What will be asked, and how applying the plan would end.
fn confirm(plan: &Plan, damage: &PlanDamage) -> Para {
    let predicted = plan.predicted().word();
    let asked = asks(damage);
    let gap = SECOND.saturating_sub(asked.len()).max(3);
    fact("confirm").unit(0, &asked, Paint::Plain).unit(gap, &format!("result will be: {predicted}"), Paint::Plain)
}

fn fact(name: &str) -> Para {
    Para::new(&format!(" {name:<width$}", width = FACTS - 1), FACTS)
}

/// The contents of the steps, each once, in their order.
fn touched(plan: &Plan) -> Vec<Content> {
    let mut list: Vec<Content> = plan.steps.iter().map(|s| s.content).collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn pauses(plan: &Plan, style: &Style) -> String {
    let cancelled = plan.steps.iter().any(|s| s.cancels_sessions);
    let pauses = match plan.intent {
        Intent::Recover { .. } | Intent::Move { .. } | Intent::FullRecover { .. } => "2 for each content",
        Intent::Rebalance { .. } => "while the roles switch, then 2 more for each",
        Intent::Restart { .. } | Intent::ForcePrimary { .. } => "while each content restarts",
        Intent::Verify { .. } => "none",
        Intent::Backup { .. } => "commits, for a moment",
        Intent::Restore { .. } => "until each content is restored",
    };
    let sessions = if cancelled { "running statements   cancelled" } else { "sessions cancelled   0" };
    let gap = SECOND.saturating_sub(pauses.len()).max(3);
    fact("pauses").unit(0, pauses, Paint::Plain).unit(gap, sessions, Paint::Plain).render(style)
}

fn after(plan: &Plan, places: &Places, style: &Style) -> String {
    let mut para = fact("after");
    for (i, row) in plan.after.iter().enumerate() {
        let gap = if i == 0 { 0 } else { 5 };
        para = para.unit(gap, &after_row(row, places), Paint::Plain);
    }
    if plan.after.is_empty() {
        return String::new();
    }
    para.render(style)
}

/// `0: p,s,u sdw1  m,s,u sdw3`
fn after_row(row: &PairRow, places: &Places) -> String {
    let member = |letter: &str, m: &crate::core::row::Member| {
        format!("{letter},{},{} {}", m.mode.letter(), m.status.letter(), places.host(m.dbid))
    };
    let mut text = format!("{}: {}", row.content, member("p", &row.primary));
    if let Some(mirror) = &row.mirror {
        text.push_str("  ");
        text.push_str(&member("m", mirror));
    }
    text.push_str(places.switched(row.primary.dbid));
    text
}

fn asks(damage: &PlanDamage) -> String {
    match damage {
        PlanDamage::None => "nothing".to_string(),
        PlanDamage::Reversible => "y/N".to_string(),
        PlanDamage::TypeWord(word) => format!("type {word} (full copy)"),
        PlanDamage::TypeCluster(name) => format!("type {name} (the whole cluster)"),
    }
}

fn next(plan: &Plan, style: &Style) -> String {
    let steps: &[&str] = if plan.refuses || plan.is_empty() {
        &["state()"]
    } else {
        &["p.apply()", "p.save(\"FILE\")", "p.diff(other)"]
    };
    let mut para = Para::new("next: ", 6);
    for (i, step) in steps.iter().enumerate() {
        para = para.unit(if i == 0 { 0 } else { 3 }, step, Paint::Code);
    }
    para.render(style)
}

/// What is shown before the question: what is done to which segment, and what that costs.
pub fn question(plan: &Plan, style: &Style) -> String {
    let places = Places::of(plan);
    let mut text = question_head(plan, style);
    for step in &plan.steps {
        text.push_str(&question_step(step, &places, style));
    }
    text.push_str(&cost(plan, style));
    for joined in &plan.joined {
        text.push_str(&joined_line(joined, style));
    }
    if !plan.refusals.is_empty() {
        text.push_str(&refused_head(plan, style));
        text.push_str(&reason_lines(&plan.refusals, style));
    }
    for note in &plan.notes {
        text.push_str(&Para::new(" ", 1).words(note).render(style));
    }
    text
}

fn question_head(plan: &Plan, style: &Style) -> String {
    let n = plan.steps.len();
    let noun = match plan.intent {
        Intent::Recover { .. } | Intent::Move { .. } | Intent::FullRecover { .. } | Intent::ForcePrimary { .. } => {
            "segment"
        }
        Intent::Rebalance { .. }
        | Intent::Restart { .. }
        | Intent::Verify { .. }
        | Intent::Backup { .. }
        | Intent::Restore { .. } => "content",
    };
    let head = match plan.intent {
        _ if n == 0 => format!("{}: nothing new to begin", plan.verb()),
        Intent::Rebalance { .. } => format!("rebalance {} {}", count(n, noun), how(&plan.intent)),
        _ => format!("{} {}, {}", plan.verb(), count(n, noun), how(&plan.intent)),
    };
    format!("{}\n", style.paint(Paint::Strong, &head))
}

fn question_step(step: &PlanStep, places: &Places, style: &Style) -> String {
    let target = places.dbid(step.dbid);
    let para = Para::new(&format!(" content {}  ", step.content), 12);
    let source = places.dbid(step.source);
    let para = match step.kind {
        StepKind::Move => {
            let to = step.to.as_ref().map(|to| format!("to {}", places.new_place(to, true))).unwrap_or_default();
            let para = para.unit(0, &target, Paint::Plain).unit(2, &to, Paint::Plain);
            para.unit(2, &format!("from {source}"), Paint::Plain)
        }
        StepKind::Incremental | StepKind::Full | StepKind::Compare => {
            para.unit(0, &target, Paint::Plain).unit(2, &format!("from {source}"), Paint::Plain)
        }
        StepKind::Switch => {
            para.unit(0, &target, Paint::Plain).unit(2, &format!("takes over from {source}"), Paint::Plain)
        }
        StepKind::Force => para.unit(0, &target, Paint::Plain).unit(2, "shall serve", Paint::Bad),
        StepKind::Replace => para.unit(0, &target, Paint::Plain).unit(2, "what it holds is replaced", Paint::Bad),
        StepKind::Restart | StepKind::Write => para.unit(0, &target, Paint::Plain),
    };
    para.unit(3, &amount(step), Paint::Plain).render(style)
}

/// `307 blocks, 1.2 of 512 MiB`
fn amount(step: &PlanStep) -> String {
    match (step.kind, step.copy_blocks, step.total_bytes) {
        (StepKind::Incremental, Some(n), Some(total)) => {
            let size = bytes_of(n.saturating_mul(super::format::BLOCK_BYTES), total);
            format!("{}, {size}", count(usize::try_from(n).unwrap_or(0), "block"))
        }
        (StepKind::Incremental, Some(n), None) => {
            let counted = count(usize::try_from(n).unwrap_or(0), "block");
            format!("{counted}, {}", blocks(n))
        }
        (StepKind::Full | StepKind::Move | StepKind::Compare | StepKind::Write, _, Some(total)) => bytes(total),
        _ => step.about_ms.map(|ms| format!("about {}", estimate_ms(ms))).unwrap_or_default(),
    }
}

/// What the sessions of the cluster notice.
fn cost(plan: &Plan, style: &Style) -> String {
    let touched = touched(plan);
    if touched.is_empty() {
        return String::new();
    }
    let which = contents(&touched);
    let verb = if touched.len() == 1 { "pauses" } else { "pause" };
    let cancelled = plan.steps.iter().any(|s| s.cancels_sessions);
    let text = match (&plan.intent, cancelled) {
        (Intent::Recover { .. } | Intent::Move { .. } | Intent::FullRecover { .. }, false) => {
            format!("reads and writes of {which} pause twice; no session is cancelled")
        }
        (Intent::Restore { .. }, _) => format!("sessions on {which} are ended"),
        (Intent::Backup { .. }, _) => "commits wait for a moment; no session is cancelled".to_string(),
        (Intent::Verify { .. }, _) => "no session is paused or cancelled".to_string(),
        (Intent::ForcePrimary { .. }, _) => format!("sessions on {which} are ended"),
        (Intent::Restart { .. }, _) => {
            format!("{which} {verb} while it restarts; running statements are cancelled")
        }
        _ => format!(
            "{which} {verb} while the roles switch; running statements are cancelled, open \
             transactions fail"
        ),
    };
    Para::new(" ", 1).words(&text).render(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{full_plan, move_plan, plain, rebalance_plan, recover_plan};

    #[test]
    fn a_plan_in_full() {
        insta::assert_snapshot!(render(&recover_plan(), &PlanDamage::Reversible, &plain()));
    }

    #[test]
    fn a_plan_of_full_copies_with_something_left_out() {
        let plan = full_plan();
        insta::assert_snapshot!(render(&plan, &plan.damage("demo"), &plain()));
    }

    #[test]
    fn a_plan_to_another_host() {
        let plan = move_plan();
        insta::assert_snapshot!(render(&plan, &plan.damage("demo"), &plain()));
    }

    #[test]
    fn what_is_shown_before_a_move() {
        insta::assert_snapshot!(question(&move_plan(), &plain()));
    }

    #[test]
    fn what_is_shown_before_a_recovery() {
        insta::assert_snapshot!(question(&recover_plan(), &plain()));
    }

    #[test]
    fn what_is_shown_before_a_rebalance() {
        insta::assert_snapshot!(question(&rebalance_plan(), &plain()));
    }

    #[test]
    fn a_plan_without_places_names_dbids() {
        let mut plan = recover_plan();
        plan.places.clear();
        let text = question(&plan, &plain());
        assert!(text.contains("dbid 4  from dbid 8"), "{text}");
    }

    #[test]
    fn no_line_of_a_plan_is_wider_than_the_screen() {
        for mut plan in [full_plan(), move_plan(), recover_plan(), rebalance_plan()] {
            for place in &mut plan.places {
                place.host = "rack12-storage-0007.production".into();
                place.datadir = "/a/very/long/path".repeat(6);
            }
            let full = render(&plan, &plan.damage("demo"), &plain());
            for line in full.lines().chain(question(&plan, &plain()).lines()) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
