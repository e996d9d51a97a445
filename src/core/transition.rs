//! The transitions of a pair's row, as data.
//!
//! This is the only place that knows how a row may change. The prober and the operations name an
//! [`Event`]; [`apply`] says what the row becomes, or that the event means nothing in that state. The
//! table ([`TABLE`]) is data, so that the documentation is generated from what the code does.

use super::ids::{Dbid, Epoch};
use super::row::{Member, Mode, PairRow, Pairing, Status};
use serde::{Deserialize, Serialize};

/// What can happen to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The primary reports that its mirror is gone.
    MirrorLost,
    /// The primary is gone, or sick, and the mirror answered that it is ready (R4).
    PrimaryLost,
    /// The link ended, and both processes are alive.
    LinkLost,
    /// The acting primary's process is a new one, which is nobody until it is told (R5).
    PrimaryRestarted,
    /// The mirror process is started and its copy can be made equal.
    RecoveryBegins,
    /// The primary claims that the mirror is in sync.
    InSync,
    /// Everything will be copied: the target's identity is about to be removed.
    FullCopyBegins,
    /// A verification found blocks that differ.
    DifferenceFound,
    /// A rebalance drained the primary, which exited with both copies synced.
    Drained,
    /// A person makes the mirror serve, though its row does not allow it.
    OverridePromotes,
    /// A person makes the acting primary serve with the copy it holds, whatever is known of another.
    OverrideAccepts,
    /// A backup's copy, whole and beside the content's own, replaces it: the row speaks of it from now on.
    Restored,
}

impl Event {
    /// Every event, in the table's order.
    pub const ALL: &'static [Event] = &[
        Event::MirrorLost,
        Event::PrimaryLost,
        Event::LinkLost,
        Event::PrimaryRestarted,
        Event::RecoveryBegins,
        Event::InSync,
        Event::FullCopyBegins,
        Event::DifferenceFound,
        Event::Drained,
        Event::OverridePromotes,
        Event::OverrideAccepts,
        Event::Restored,
    ];

    /// The event in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Event::MirrorLost => "mirror lost",
            Event::PrimaryLost => "primary lost, mirror ready",
            Event::LinkLost => "link lost with both alive",
            Event::PrimaryRestarted => "acting primary restarted",
            Event::RecoveryBegins => "recovery begins, mirror process started",
            Event::InSync => "primary claims in sync",
            Event::FullCopyBegins => "full copy begins, target's identity removed",
            Event::DifferenceFound => "verify found a difference",
            Event::Drained => "rebalance: primary drained and exited",
            Event::OverridePromotes => "override: the mirror shall serve",
            Event::OverrideAccepts => "override: the acting primary shall serve",
            Event::Restored => "restore: the backup's copy is whole",
        }
    }

    /// Whether no copy but one can be equal to what serves from here on: any other is made anew, by a full copy.
    pub fn leaves_one_copy(self) -> bool {
        self.is_override() || self == Event::Restored
    }

    /// Whether a person overrides what the rows and the records allow: it lifts a quarantine, and the other
    /// copy can only be made equal by a full copy.
    pub fn is_override(self) -> bool {
        matches!(self, Event::OverridePromotes | Event::OverrideAccepts)
    }
}

/// Who may write a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    Fts,
    Operation,
}

/// What a transition does to the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The primary goes on alone and tracks changes; the mirror is down and keeps its mode.
    TrackChanges,
    /// The mirror becomes the primary and tracks changes; the old primary is a mirror, down.
    SwitchRoles,
    /// Both are resynchronizing, both are up.
    Resynchronize,
    /// Both are synchronized.
    Synchronize,
    /// The downed mirror is marked for a full copy: mode `r`.
    MarkMirror,
    /// The mirror becomes the primary, alone; the old primary is down and marked for a full copy.
    TakeOver,
    /// The primary goes on alone; the mirror is down and marked for a full copy.
    GoOnAlone,
    /// No letter changes.
    Nothing,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub before: Pairing,
    pub event: Event,
    pub effect: Effect,
    /// Whether the epoch rises: a promotion, a grant of tracking, a start of a recovery, a restart (R1).
    pub raises: bool,
    /// Whether a recovery is begun at once, as a goal written with the row.
    pub recover: bool,
    pub by: Writer,
    /// Why the row becomes what it becomes.
    pub why: &'static str,
}

macro_rules! rules {
    ($($before:ident + $event:ident => $effect:ident $(, $flag:ident)* ; $by:ident: $why:literal)*) => {
        &[$(Rule {
            before: Pairing::$before,
            event: Event::$event,
            effect: Effect::$effect,
            raises: rules!(@has raises $($flag)*),
            recover: rules!(@has recover $($flag)*),
            by: Writer::$by,
            why: $why,
        }),*]
    };
    (@has $flag:ident) => { false };
    (@has raises raises $($rest:ident)*) => { true };
    (@has recover recover $($rest:ident)*) => { true };
    (@has $flag:ident $other:ident $($rest:ident)*) => { rules!(@has $flag $($rest)*) };
}

/// Every legal transition; what is not here does not happen.
pub const TABLE: &[Rule] = rules! {
    Synchronized + MirrorLost => TrackChanges, raises; Fts:
        "the mirror is gone, so the primary goes on alone and tracks what the mirror misses"
    Synchronized + PrimaryLost => SwitchRoles, raises; Fts:
        "the primary is gone and the mirror holds every acknowledged commit, so the mirror takes over"
    Synchronized + LinkLost => TrackChanges, raises, recover; Fts:
        "the link ended and is never resumed, so the mirror is recovered over a new one at once"
    Synchronized + PrimaryRestarted => TrackChanges, raises, recover; Fts:
        "the acting primary is a new process, whose old link is gone, so the mirror is recovered at once"
    Synchronized + DifferenceFound => TrackChanges, raises; Operation:
        "the copies differ, so the mirror must not take over until it is recovered"
    Synchronized + Drained => SwitchRoles, raises, recover; Fts:
        "the primary was drained to switch the roles; both copies were synced when it exited"
    Resynchronizing + MirrorLost => TrackChanges, raises; Fts:
        "the mirror is gone before it was in sync, so the primary goes on alone and tracks changes"
    Resynchronizing + LinkLost => TrackChanges, raises; Fts:
        "the link ended before the mirror was in sync, so the primary goes on alone and tracks changes"
    Resynchronizing + PrimaryRestarted => TrackChanges, raises; Fts:
        "the acting primary is a new process, so the recovery ended before the mirror was in sync"
    Resynchronizing + InSync => Synchronize; Fts:
        "the primary claims that both copies are equal"
    ChangeTracking + RecoveryBegins => Resynchronize, raises; Operation:
        "the mirror process is started and is copied to"
    ChangeTracking + FullCopyBegins => MarkMirror; Operation:
        "only a full copy can follow from here on"
    ChangeTracking + PrimaryRestarted => Nothing, raises; Fts:
        "the acting primary is a new process and goes on alone"
    Synchronized + OverridePromotes => TakeOver, raises; Operation:
        "a person has the mirror serve with the copy it holds"
    Resynchronizing + OverridePromotes => TakeOver, raises; Operation:
        "a person has the mirror serve with the copy it holds"
    ChangeTracking + OverridePromotes => TakeOver, raises; Operation:
        "a person has the mirror serve with the copy it holds, which lacks changes"
    Synchronized + OverrideAccepts => GoOnAlone, raises; Operation:
        "a person has the acting primary serve with the copy it holds"
    Resynchronizing + OverrideAccepts => GoOnAlone, raises; Operation:
        "a person has the acting primary serve with the copy it holds"
    ChangeTracking + OverrideAccepts => GoOnAlone, raises; Operation:
        "a person has the acting primary serve with the copy it holds"
    Mirrorless + OverrideAccepts => Nothing, raises; Operation:
        "a person has the only segment serve with the copy it holds"
    Synchronized + Restored => GoOnAlone, raises; Operation:
        "the content holds what a backup holds, and no copy of before serves any more"
    Resynchronizing + Restored => GoOnAlone, raises; Operation:
        "the content holds what a backup holds, and no copy of before serves any more"
    ChangeTracking + Restored => GoOnAlone, raises; Operation:
        "the content holds what a backup holds, and no copy of before serves any more"
    Mirrorless + Restored => Nothing, raises; Operation:
        "the content holds what a backup holds, and no copy of before serves any more"
    Mirrorless + PrimaryRestarted => Nothing, raises; Fts:
        "the acting primary is a new process"
};

/// The rule of an event in a row's state; `None` when the event means nothing there.
pub fn rule(row: &PairRow, event: Event) -> Option<&'static Rule> {
    let before = row.pairing()?;
    TABLE.iter().find(|r| r.before == before && r.event == event)
}

/// A row after an event, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub event: Event,
    pub before: PairRow,
    pub after: PairRow,
    pub rule: &'static Rule,
}

impl Transition {
    /// The segment that is to be recovered at once, if the rule says so.
    pub fn recover(&self) -> Option<Dbid> {
        self.after.mirror.filter(|_| self.rule.recover).map(|m| m.dbid)
    }

    /// Whether another process than before serves the content from here on: a promotion or a restart.
    pub fn changes_server(&self) -> bool {
        matches!(self.event, Event::PrimaryLost | Event::PrimaryRestarted | Event::Drained)
            || self.event.leaves_one_copy()
    }
}

/// Applies an event to a row. `None`: it means nothing there, or the row is an impossible one.
pub fn apply(row: &PairRow, event: Event) -> Option<Transition> {
    let rule = rule(row, event)?;
    let mut after = match rule.effect {
        Effect::TrackChanges => track_changes(row)?,
        Effect::SwitchRoles => switch_roles(row)?,
        Effect::Resynchronize => both(row, Mode::Resynchronizing)?,
        Effect::Synchronize => both(row, Mode::Synchronized)?,
        Effect::MarkMirror => mark_mirror(row)?,
        Effect::TakeOver => mark_mirror(&switch_roles(row)?)?,
        Effect::GoOnAlone => mark_mirror(&track_changes(row)?)?,
        Effect::Nothing => *row,
    };
    if rule.raises {
        after.epoch = row.epoch.next();
    }
    Some(Transition { event, before: *row, after, rule })
}

/// The same for an override, whose epoch is above whatever any member was seen to have obeyed.
pub fn apply_above(row: &PairRow, event: Event, seen: Epoch) -> Option<Transition> {
    let mut transition = apply(row, event).filter(|_| event.is_override())?;
    transition.after.epoch = transition.after.epoch.max(seen.next());
    Some(transition)
}

fn track_changes(row: &PairRow) -> Option<PairRow> {
    let mirror = row.mirror?;
    Some(PairRow {
        primary: Member { mode: Mode::ChangeTracking, ..row.primary },
        mirror: Some(Member { status: Status::Down, ..mirror }),
        ..*row
    })
}

fn switch_roles(row: &PairRow) -> Option<PairRow> {
    let mirror = row.mirror?;
    Some(PairRow {
        primary: Member { dbid: mirror.dbid, mode: Mode::ChangeTracking, status: Status::Up },
        mirror: Some(Member { dbid: row.primary.dbid, mode: row.primary.mode, status: Status::Down }),
        ..*row
    })
}

fn both(row: &PairRow, mode: Mode) -> Option<PairRow> {
    let mirror = row.mirror?;
    Some(PairRow {
        primary: Member { mode, ..row.primary },
        mirror: Some(Member { mode, status: Status::Up, ..mirror }),
        ..*row
    })
}

fn mark_mirror(row: &PairRow) -> Option<PairRow> {
    let mirror = row.mirror?;
    Some(PairRow { mirror: Some(Member { mode: Mode::Resynchronizing, ..mirror }), ..*row })
}

/// A row in the catalog's letters: `p,c,u / m,s,d`.
pub fn letters(row: &PairRow) -> String {
    let of = |role: &str, m: &Member| format!("{role},{},{}", m.mode.letter(), m.status.letter());
    match &row.mirror {
        Some(mirror) => format!("{} / {}", of("p", &row.primary), of("m", mirror)),
        None => of("p", &row.primary),
    }
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::from("| before | event | after | epoch | by | why |\n|---|---|---|---|---|---|\n");
    for rule in TABLE {
        let before = example(rule.before);
        let after = apply(&before, rule.event).map(|t| letters(&t.after)).unwrap_or_default();
        let switched =
            if matches!(rule.effect, Effect::SwitchRoles | Effect::TakeOver) { ", roles switched" } else { "" };
        let recovery = if rule.recover { ", then recovery at once" } else { "" };
        let epoch = if rule.raises { "+1" } else { "same" };
        let by = match rule.by {
            Writer::Fts => "FTS",
            Writer::Operation => "operation",
        };
        text.push_str(&format!(
            "| {} | {} | {after}{switched}{recovery} | {epoch} | {by} | {} |\n",
            letters(&before),
            rule.event.words(),
            rule.why
        ));
    }
    text
}

fn example(pairing: Pairing) -> PairRow {
    use super::ids::Content;
    let member = |dbid, mode, status| Member { dbid: Dbid(dbid), mode, status };
    let (mode, mirror) = match pairing {
        Pairing::Synchronized => (Mode::Synchronized, Some((Mode::Synchronized, Status::Up))),
        Pairing::Resynchronizing => (Mode::Resynchronizing, Some((Mode::Resynchronizing, Status::Up))),
        Pairing::ChangeTracking => (Mode::ChangeTracking, Some((Mode::Synchronized, Status::Down))),
        Pairing::Mirrorless => (Mode::Synchronized, None),
    };
    PairRow {
        content: Content(0),
        epoch: Epoch(1),
        primary: member(2, mode, Status::Up),
        mirror: mirror.map(|(mode, status)| member(3, mode, status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Content;

    const PAIRINGS: [Pairing; 4] =
        [Pairing::Synchronized, Pairing::Resynchronizing, Pairing::ChangeTracking, Pairing::Mirrorless];

    /// Every row that can be written down, the impossible ones included.
    fn every_row() -> Vec<PairRow> {
        let mut rows = Vec::new();
        for &pm in Mode::ALL {
            for &ps in Status::ALL {
                let primary = Member { dbid: Dbid(2), mode: pm, status: ps };
                rows.push(PairRow { content: Content(0), epoch: Epoch(7), primary, mirror: None });
                for &mm in Mode::ALL {
                    for &ms in Status::ALL {
                        let mirror = Some(Member { dbid: Dbid(3), mode: mm, status: ms });
                        rows.push(PairRow { content: Content(0), epoch: Epoch(7), primary, mirror });
                    }
                }
            }
        }
        rows
    }

    #[test]
    fn every_transition_ends_in_a_legal_row_of_the_same_two_members() {
        for row in every_row() {
            for &event in Event::ALL {
                let Some(t) = apply(&row, event) else {
                    continue;
                };
                assert!(row.pairing().is_some(), "an impossible row never changes: {row:?}");
                assert!(t.after.pairing().is_some(), "{event:?} of {} gave {}", letters(&row), letters(&t.after));
                let mut before = vec![row.primary.dbid];
                before.extend(row.mirror.map(|m| m.dbid));
                let mut after = vec![t.after.primary.dbid];
                after.extend(t.after.mirror.map(|m| m.dbid));
                before.sort();
                after.sort();
                assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn the_epoch_rises_by_one_except_at_in_sync_and_full_copy_begins() {
        for row in every_row() {
            for &event in Event::ALL {
                let Some(t) = apply(&row, event) else {
                    continue;
                };
                let same = matches!(event, Event::InSync | Event::FullCopyBegins);
                let expected = if same { row.epoch } else { row.epoch.next() };
                assert_eq!(t.after.epoch, expected, "{event:?}");
            }
        }
    }

    #[test]
    fn the_contract_s_table_line_by_line() {
        let lines: &[(&str, Event, Option<&str>, bool)] = &[
            ("p,s,u / m,s,u", Event::MirrorLost, Some("p,c,u / m,s,d"), false),
            ("p,s,u / m,s,u", Event::PrimaryLost, Some("p,c,u / m,s,d"), false),
            ("p,s,u / m,s,u", Event::LinkLost, Some("p,c,u / m,s,d"), true),
            ("p,s,u / m,s,u", Event::PrimaryRestarted, Some("p,c,u / m,s,d"), true),
            ("p,s,u / m,s,u", Event::DifferenceFound, Some("p,c,u / m,s,d"), false),
            ("p,s,u / m,s,u", Event::Drained, Some("p,c,u / m,s,d"), true),
            ("p,s,u / m,s,u", Event::RecoveryBegins, None, false),
            ("p,s,u / m,s,u", Event::InSync, None, false),
            ("p,s,u / m,s,u", Event::FullCopyBegins, None, false),
            ("p,r,u / m,r,u", Event::MirrorLost, Some("p,c,u / m,r,d"), false),
            ("p,r,u / m,r,u", Event::LinkLost, Some("p,c,u / m,r,d"), false),
            ("p,r,u / m,r,u", Event::PrimaryRestarted, Some("p,c,u / m,r,d"), false),
            ("p,r,u / m,r,u", Event::InSync, Some("p,s,u / m,s,u"), false),
            ("p,r,u / m,r,u", Event::PrimaryLost, None, false),
            ("p,r,u / m,r,u", Event::Drained, None, false),
            ("p,r,u / m,r,u", Event::FullCopyBegins, None, false),
            ("p,c,u / m,s,d", Event::RecoveryBegins, Some("p,r,u / m,r,u"), false),
            ("p,c,u / m,r,d", Event::RecoveryBegins, Some("p,r,u / m,r,u"), false),
            ("p,c,u / m,s,d", Event::FullCopyBegins, Some("p,c,u / m,r,d"), false),
            ("p,c,u / m,r,d", Event::FullCopyBegins, Some("p,c,u / m,r,d"), false),
            ("p,c,u / m,s,d", Event::PrimaryRestarted, Some("p,c,u / m,s,d"), false),
            ("p,c,u / m,r,d", Event::PrimaryRestarted, Some("p,c,u / m,r,d"), false),
            ("p,c,u / m,s,d", Event::PrimaryLost, None, false),
            ("p,c,u / m,s,d", Event::MirrorLost, None, false),
            ("p,s,u", Event::PrimaryRestarted, Some("p,s,u"), false),
            ("p,s,u", Event::PrimaryLost, None, false),
            ("p,s,u", Event::MirrorLost, None, false),
        ];
        for (before, event, after, recover) in lines {
            let row = every_row().into_iter().find(|r| letters(r) == *before).expect("a row of these letters");
            let got = apply(&row, *event);
            assert_eq!(got.map(|t| letters(&t.after)).as_deref(), *after, "{before} + {event:?}");
            assert_eq!(got.is_some_and(|t| t.recover().is_some()), *recover, "{before} + {event:?}");
        }
    }

    #[test]
    fn an_override_leaves_one_member_alone_and_its_epoch_is_above_all_that_was_obeyed() {
        for row in every_row() {
            for event in Event::ALL.iter().copied().filter(|e| e.is_override()) {
                let Some(t) = apply_above(&row, event, Epoch(40)) else {
                    continue;
                };
                assert_eq!(t.after.epoch, Epoch(41));
                let alone = if row.mirror.is_some() { "p,c,u / m,r,d" } else { "p,s,u" };
                assert_eq!(letters(&t.after), alone);
                assert_eq!(apply_above(&row, event, Epoch(3)).unwrap().after.epoch, row.epoch.next());
            }
            assert_eq!(apply_above(&row, Event::PrimaryRestarted, Epoch(40)), None, "only an override names an epoch");
        }
    }

    #[test]
    fn only_a_promotion_switches_the_roles() {
        for row in every_row() {
            for &event in Event::ALL {
                let Some(t) = apply(&row, event) else {
                    continue;
                };
                let switched = t.after.primary.dbid != row.primary.dbid;
                let promotes = matches!(event, Event::PrimaryLost | Event::Drained | Event::OverridePromotes);
                assert_eq!(switched, promotes, "{event:?}");
            }
        }
    }

    #[test]
    fn no_pairing_has_two_rules_for_one_event_and_every_rule_says_why() {
        for before in PAIRINGS {
            for &event in Event::ALL {
                assert!(TABLE.iter().filter(|r| r.before == before && r.event == event).count() <= 1);
            }
        }
        assert!(TABLE.iter().all(|r| !r.why.is_empty()));
        assert_eq!(markdown().lines().count(), TABLE.len() + 2);
    }

    #[test]
    fn the_document_has_this_table() {
        let document = include_str!("../../docs/architecture.md");
        assert!(document.contains(&markdown()), "docs/architecture.md should have:\n{}", markdown());
    }
}
