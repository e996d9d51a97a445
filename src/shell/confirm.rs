//! Confirmation in proportion to damage, and what `--yes` covers without asking.

use crate::cluster::{Intent, Plan, StepKind};
use crate::script::ui::Damage;
use std::collections::BTreeSet;

/// What `--yes=LIST` may name beyond the y/N class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    FullRecover,
    Restore,
    Restart,
    /// `segsh adopt --serve`: a copy is served that the records do not prove to be the last one.
    Adopt,
    /// A segment is made the acting primary that its row does not allow.
    ForcePrimary,
}

impl Grant {
    /// Every grant there is.
    pub const ALL: [Grant; 5] = [Grant::FullRecover, Grant::Restore, Grant::Restart, Grant::Adopt, Grant::ForcePrimary];

    /// The word on the command line, which is the verb it allows.
    pub fn word(self) -> &'static str {
        match self {
            Grant::FullRecover => "full_recover",
            Grant::Restore => "restore",
            Grant::Restart => "restart",
            Grant::Adopt => "adopt",
            Grant::ForcePrimary => "force_primary",
        }
    }

    /// The grant a word names.
    pub fn parse(word: &str) -> Option<Grant> {
        Grant::ALL.into_iter().find(|g| g.word() == word)
    }
}

/// What is allowed before anyone is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct YesPolicy {
    /// `--yes` was given, with or without a list.
    pub yes: bool,
    /// What its list names.
    pub grants: BTreeSet<Grant>,
    /// The verb that the command line itself is: `restart` for `segsh restart`, [`PROCEDURE`] for
    /// `segsh run NAME`.
    pub verb: Option<String>,
}

/// The verb of `segsh run NAME`: whoever names a procedure names the calls it is documented to make.
pub const PROCEDURE: &str = "procedure";

impl YesPolicy {
    /// Whether a plan needs no question. One that was joined of several is as grave as its gravest
    /// step in the eyes of a person; here its full copies must be covered by themselves.
    pub fn covers_plan(&self, plan: &Plan, damage: &Damage) -> Result<(), String> {
        // What rebuilds a segment elsewhere copies everything, whatever it is called by.
        let verb = if let Intent::Move { .. } = plan.intent { Grant::FullRecover.word() } else { plan.verb() };
        self.covers(verb, damage)?;
        let full = plan.steps.iter().find(|step| matches!(step.kind, StepKind::Full | StepKind::Move));
        match (full, damage) {
            (Some(step), Damage::TypeCluster(_)) => {
                let host = plan.place(step.dbid).map(|place| place.host.clone()).unwrap_or_default();
                self.covers(Grant::FullRecover.word(), &Damage::TypeWord(host))
            }
            _ => Ok(()),
        }
    }

    /// Whether a call needs no question; if it does, the flag that would cover it.
    pub fn covers(&self, verb: &str, damage: &Damage) -> Result<(), String> {
        let grant = Grant::parse(verb).filter(|_| *damage != Damage::Reversible);
        if self.yes {
            let named = match self.verb.as_deref() {
                // A full copy types a word of its own, wherever it comes from.
                Some(PROCEDURE) => !matches!(damage, Damage::TypeWord(_)),
                // An override is named twice: as the command, and as what is said yes to.
                _ if grant == Some(Grant::ForcePrimary) => false,
                own => own == Some(verb),
            };
            let granted = grant.is_some_and(|g| self.grants.contains(&g));
            if *damage == Damage::Reversible || named || granted {
                return Ok(());
            }
        }
        Err(match (grant, damage) {
            (Some(grant), _) => format!("--yes={}", grant.word()),
            (None, Damage::Reversible) => "--yes".to_string(),
            (None, _) => "no flag covers it: run it at a terminal".to_string(),
        })
    }
}

/// The question itself.
pub fn prompt(damage: &Damage) -> String {
    match damage {
        Damage::Reversible => "Go on? [y/N] ".to_string(),
        Damage::TypeWord(word) => format!("Type {word} to go on: "),
        Damage::TypeCluster(name) => {
            format!("This concerns the whole cluster. Type its name, {name}, to go on: ")
        }
    }
}

/// Whether an answer says yes. What is to be typed must be typed exactly.
pub fn is_yes(damage: &Damage, answer: &str) -> bool {
    let answer = answer.trim();
    match damage {
        Damage::Reversible => matches!(answer, "y" | "Y" | "yes" | "Yes" | "YES"),
        Damage::TypeWord(word) | Damage::TypeCluster(word) => answer == word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Damage {
        Damage::TypeWord("sdw2".into())
    }

    fn everything() -> Damage {
        Damage::TypeCluster("demo".into())
    }

    #[test]
    fn without_yes_nothing_is_covered_and_the_flag_is_named() {
        let policy = YesPolicy::default();
        assert_eq!(policy.covers("recover", &Damage::Reversible), Err("--yes".into()));
        assert_eq!(policy.covers("full_recover", &full()), Err("--yes=full_recover".into()));
        assert_eq!(policy.covers("restart", &everything()), Err("--yes=restart".into()));
    }

    #[test]
    fn yes_covers_the_reversible_and_what_the_command_line_names() {
        let mut policy = YesPolicy { yes: true, ..YesPolicy::default() };
        assert_eq!(policy.covers("rebalance", &Damage::Reversible), Ok(()));
        assert!(policy.covers("restart", &everything()).is_err());
        policy.verb = Some("restart".into());
        assert_eq!(policy.covers("restart", &everything()), Ok(()));
        assert!(policy.covers("full_recover", &full()).is_err());
    }

    #[test]
    fn yes_to_a_procedure_covers_its_restart_and_no_full_copy() {
        let verb = Some(PROCEDURE.to_string());
        let mut policy = YesPolicy { yes: true, verb, ..YesPolicy::default() };
        assert_eq!(policy.covers("restart", &everything()), Ok(()));
        assert_eq!(policy.covers("recover", &Damage::Reversible), Ok(()));
        assert_eq!(policy.covers("full_recover", &full()), Err("--yes=full_recover".into()));
        assert_eq!(policy.covers("recover", &full()), Err("no flag covers it: run it at a terminal".into()));
        policy.yes = false;
        assert!(policy.covers("restart", &everything()).is_err());
    }

    #[test]
    fn a_full_copy_does_not_hide_behind_a_restart_in_one_question() {
        use crate::shell::render::samples::full_plan;
        let joined = crate::cluster::Plan {
            intent: crate::cluster::Intent::Restart {
                selection: crate::cluster::Selection::default(),
                mode: crate::core::report::StopMode::Fast,
            },
            ..full_plan()
        };
        let verb = Some(PROCEDURE.to_string());
        let mut policy = YesPolicy { yes: true, verb, ..YesPolicy::default() };
        assert_eq!(policy.covers_plan(&joined, &everything()), Err("--yes=full_recover".into()));
        policy.grants.insert(Grant::FullRecover);
        assert_eq!(policy.covers_plan(&joined, &everything()), Ok(()));
    }

    #[test]
    fn a_list_covers_what_it_names_and_the_reversible() {
        let policy = YesPolicy { yes: true, grants: [Grant::FullRecover].into(), verb: None };
        assert_eq!(policy.covers("full_recover", &full()), Ok(()));
        assert_eq!(policy.covers("recover", &Damage::Reversible), Ok(()));
        assert!(policy.covers("restart", &everything()).is_err());
    }

    #[test]
    fn only_the_exact_word_confirms_a_full_copy() {
        assert!(is_yes(&full(), " sdw2 "));
        for no in ["y", "yes", "sdw", "SDW2", ""] {
            assert!(!is_yes(&full(), no), "{no}");
        }
        assert!(is_yes(&Damage::Reversible, "y"));
        assert!(!is_yes(&Damage::Reversible, ""));
        assert!(!is_yes(&Damage::Reversible, "yo"));
    }
}
