//! The row of a content whose catalog is lost, from what its copies say of themselves.
//!
//! Nothing is guessed: either the records prove who holds every acknowledged commit, or a
//! [`Disagreement`] says which of them do not fit together. What proves what:
//!
//! - Both copies were in sync with each other in the very epoch that both obeyed last. Then nobody was
//!   ever granted to go on alone (R1 raises the epoch for that), and a commit needed both (R2): the pair is
//!   s/s, and whichever returns first serves (R5).
//! - Otherwise the one that acted last, under the highest epoch, serves alone. Whoever acts was chosen by a
//!   row that held then, and rows are chosen so that it held every acknowledged commit (R4).
//! - A copy that knows the other one to have been further than that one's own record says proves that the
//!   other directory is an older state of itself, such as one restored from a backup.

use super::format::Meta;
use super::ids::{Content, CopyId, Dbid, Epoch};
use super::pair::binding::Binding;
use super::report::CopyState;
use super::row::{Member, Mode, PairRow, Role, Status};
use thiserror::Error;

/// What one data directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub dbid: Dbid,
    /// The role that the segment's configuration prefers; `None` when it does not say.
    pub preferred: Option<Role>,
    /// `None`: the copy's identity was removed, as before a full copy. Nothing but that can follow.
    pub copy: Option<CopyRecord>,
}

/// A copy's own records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRecord {
    pub meta: Meta,
    /// The marker says consistent, and the files stand under their names (R4).
    pub whole: bool,
    /// Files that changed since the last clean end, by name.
    pub touched: Vec<String>,
    /// What the map of changes is bound to; `None` when it is missing or damaged.
    pub binding: Option<Binding>,
    /// Blocks of 4 KiB that the map names.
    pub dirty_blocks: u64,
    /// It stands beside its name: a full copy that has not got it yet.
    pub beside: bool,
}

/// A row that the records prove, and what the catalog keeps beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    pub row: PairRow,
    /// The copy that serves next.
    pub serving_copy: CopyId,
    /// A full copy was begun and did not end, or only one can make the mirror equal.
    pub must_copy_all: bool,
    /// Why, in a sentence.
    pub why: String,
    /// What an override gives up, in a sentence; empty without one.
    pub may_be_lost: String,
}

/// Records that do not prove a row.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("content {content}: {what}")]
pub struct Disagreement {
    pub content: Content,
    pub what: String,
    /// What each record says, a line a copy.
    pub records: Vec<String>,
    /// Copies that could serve if a person says so.
    pub could_serve: Vec<Dbid>,
}

/// Why a cluster can't be adopted: one of the reasons, which are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// In a sentence, with the directory or the content it is about.
    pub what: String,
    /// What the records say, a line each.
    pub records: Vec<String>,
    /// What can be done, as it would be typed; empty when there is nothing to name.
    pub next: String,
}

impl Complaint {
    /// A complaint without records.
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Complaint {
        Complaint { what: what.into(), records: Vec::new(), next: next.into() }
    }
}

/// What the records of a content's one or two directories prove. `serve` is the typed override: this copy
/// is taken for the last one, whatever the others say.
pub fn prove(content: Content, witnesses: &[Witness], serve: Option<Dbid>) -> Result<Proven, Disagreement> {
    let case = Case { content, witnesses };
    match (witnesses, serve.filter(|dbid| witnesses.iter().any(|w| w.dbid == *dbid))) {
        (_, Some(dbid)) => case.overridden(dbid),
        ([one], None) => case.alone(one),
        ([a, b], None) => case.pair(a, b),
        _ => Err(case.disagree(format!("{} directories hold copies of it; it has one or two", witnesses.len()))),
    }
}

struct Case<'a> {
    content: Content,
    witnesses: &'a [Witness],
}

/// A member of a pair that has a copy, with the other one.
#[derive(Clone, Copy)]
struct Side<'a> {
    dbid: Dbid,
    copy: &'a CopyRecord,
    other: &'a Witness,
}

impl<'a> Case<'a> {
    fn alone(&self, one: &Witness) -> Result<Proven, Disagreement> {
        let Some(copy) = one.copy.as_ref().filter(|c| c.whole) else {
            return Err(self.disagree(format!("its only copy, dbid {}, is not whole", one.dbid)));
        };
        if let Some(peer) = copy.meta.peer {
            return Err(self.disagree(format!(
                "dbid {} was in sync with copy {} in epoch {}, and no directory was named that holds it",
                one.dbid, peer.copy, peer.generation
            )));
        }
        Ok(Proven {
            row: PairRow {
                content: self.content,
                epoch: self.above_all(),
                primary: Member { dbid: one.dbid, mode: Mode::Synchronized, status: Status::Up },
                mirror: None,
            },
            serving_copy: copy.meta.copy,
            must_copy_all: false,
            why: format!("dbid {} is its only copy and has no mirror", one.dbid),
            may_be_lost: String::new(),
        })
    }

    fn pair(&self, a: &'a Witness, b: &'a Witness) -> Result<Proven, Disagreement> {
        let side =
            |me: &'a Witness, other: &'a Witness| me.copy.as_ref().map(|copy| Side { dbid: me.dbid, copy, other });
        match (side(a, b), side(b, a)) {
            (None, None) => Err(self.disagree("neither directory says which copy it holds".into())),
            // Its identity was removed, which is done while the other one serves.
            (Some(only), None) | (None, Some(only)) => self.serves(only, "the other directory is being copied anew"),
            (Some(a), Some(b)) => match in_sync(a, b) {
                Some(epoch) => Ok(self.synchronized(a, b, epoch)),
                None => self.who_acted_last(a, b),
            },
        }
    }

    /// Both hold every acknowledged commit. The epoch stays that of their link: it is what says that these
    /// two states belong together, and the first grant goes above it.
    fn synchronized(&self, a: Side, b: Side, epoch: Epoch) -> Proven {
        let rank = |side: &Side, witness: &Witness| {
            (side.copy.touched.is_empty(), side.copy.meta.acted, witness.preferred == Some(Role::Primary))
        };
        // Of the two, one that nobody touched; then the one that served; then the one that prefers to.
        let (primary, mirror) = if rank(&b, a.other) > rank(&a, b.other) { (b, a) } else { (a, b) };
        let up = |dbid| Member { dbid, mode: Mode::Synchronized, status: Status::Up };
        let touched = match (primary.copy.touched.is_empty(), mirror.copy.touched.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("; files of dbid {} changed since it was stopped", mirror.dbid),
            (false, _) => format!("; files of dbid {} changed since it was stopped", primary.dbid),
        };
        Proven {
            row: PairRow { content: self.content, epoch, primary: up(primary.dbid), mirror: Some(up(mirror.dbid)) },
            serving_copy: primary.copy.meta.copy,
            must_copy_all: false,
            why: format!("both copies were in sync in epoch {epoch}, the last that either obeyed{touched}"),
            may_be_lost: String::new(),
        }
    }

    fn who_acted_last(&self, a: Side, b: Side) -> Result<Proven, Disagreement> {
        for (knows, old) in [(a, b), (b, a)] {
            if let Some(since) = knows_further(knows, old) {
                // Whoever went on alone since that sync went on last: the other one could act again only
                // after another sync with it.
                if knows.copy.meta.acted > knows.copy.meta.generation {
                    return self.serves(knows, &format!("the directory of dbid {} is an older state", old.dbid));
                }
                return Err(self.disagree(format!(
                    "the directory of dbid {} is an older state of its copy: dbid {} was in sync with it in epoch \
                     {since}, and its own record ends at epoch {}",
                    old.dbid, knows.dbid, old.copy.meta.epoch
                )));
            }
        }
        match a.copy.meta.acted.cmp(&b.copy.meta.acted) {
            std::cmp::Ordering::Greater => self.serves(a, "it served last"),
            std::cmp::Ordering::Less => self.serves(b, "it served last"),
            std::cmp::Ordering::Equal if a.copy.meta.acted > Epoch::default() => {
                let epoch = a.copy.meta.acted;
                Err(self.disagree(format!("both copies say that they served under epoch {epoch}")))
            }
            std::cmp::Ordering::Equal => self.by_what_they_obeyed(a, b),
        }
    }

    /// Neither record says under which epoch its copy served, as an earlier release wrote them.
    fn by_what_they_obeyed(&self, a: Side, b: Side) -> Result<Proven, Disagreement> {
        if a.copy.meta.peer.map(|p| p.copy) != Some(b.copy.meta.copy) && !is_bound(a, b) && !is_bound(b, a) {
            return Err(self.disagree("the two copies do not know each other".into()));
        }
        for (one, other) in [(a, b), (b, a)] {
            // It began the recovery that the other one obeyed last, so it was the acting primary then.
            let pending =
                one.copy.binding.filter(|b| b.copy == other.copy.meta.copy).and_then(|b| b.pending_generation);
            if pending == Some(other.copy.meta.epoch) && one.copy.meta.epoch >= other.copy.meta.epoch {
                return self.serves(one, "it was copying to the other one");
            }
        }
        for (ahead, behind) in [(a, b), (b, a)] {
            // The one behind was never granted to go on alone since both were in sync.
            let (more, less) = (&ahead.copy.meta, &behind.copy.meta);
            if more.epoch > less.epoch && less.generation == less.epoch && more.generation == less.generation {
                return self.serves(ahead, "it obeyed a later epoch, and the other one stopped while in sync");
            }
        }
        Err(self.disagree("the records do not say which of the two copies served last".into()))
    }

    /// One copy serves alone.
    fn serves(&self, side: Side, why: &str) -> Result<Proven, Disagreement> {
        if !side.copy.whole {
            return Err(
                self.disagree(format!("dbid {} would have to serve ({why}), and its copy is not whole", side.dbid))
            );
        }
        let other = side.other.copy.as_ref();
        let lacks_only_changes =
            other.is_some_and(|o| o.whole && o.meta.generation == side.copy.meta.generation && side.knows(o.meta.copy));
        // A full copy that was interrupted stands beside its name, or has no identity yet.
        let must_copy_all = other.is_none_or(|o| !o.whole && (o.beside || !side.explains(o)));
        Ok(self.alone_row(
            side,
            if lacks_only_changes { Mode::Synchronized } else { Mode::Resynchronizing },
            must_copy_all,
            format!("dbid {} serves alone: {why} (epoch {})", side.dbid, side.copy.meta.epoch),
        ))
    }

    fn alone_row(&self, side: Side, mirror: Mode, must_copy_all: bool, why: String) -> Proven {
        Proven {
            row: PairRow {
                content: self.content,
                epoch: self.above_all(),
                primary: Member { dbid: side.dbid, mode: Mode::ChangeTracking, status: Status::Up },
                mirror: Some(Member { dbid: side.other.dbid, mode: mirror, status: Status::Down }),
            },
            serving_copy: side.copy.meta.copy,
            must_copy_all,
            why,
            may_be_lost: String::new(),
        }
    }

    /// A person says which copy is the last one. The other one may have gone on without it, so only a full
    /// copy can make them equal.
    fn overridden(&self, dbid: Dbid) -> Result<Proven, Disagreement> {
        let me = self.witnesses.iter().find(|w| w.dbid == dbid);
        let Some((me, copy)) = me.and_then(|w| Some((w, w.copy.as_ref().filter(|c| c.whole)?))) else {
            return Err(self.disagree(format!("the copy of dbid {dbid} is not whole: nothing can make it serve")));
        };
        let mut may_be_lost = format!("whatever was committed after epoch {}", copy.meta.epoch);
        match self.witnesses.iter().find(|w| w.dbid != dbid) {
            None => {
                let alone = CopyRecord { meta: Meta { peer: None, ..copy.meta.clone() }, ..copy.clone() };
                let proven = self.alone(&Witness { copy: Some(alone), ..me.clone() })?;
                let why = format!("override: dbid {dbid} serves, without a mirror");
                Ok(Proven { why, may_be_lost, ..proven })
            }
            Some(other) => {
                if let Some(theirs) = &other.copy {
                    may_be_lost = format!(
                        "what dbid {} holds and dbid {dbid} does not: it obeyed epoch {}, dbid {dbid} epoch {}; its map \
                         names {} blocks",
                        other.dbid, theirs.meta.epoch, copy.meta.epoch, theirs.dirty_blocks
                    );
                }
                let side = Side { dbid, copy, other };
                let why = format!("override: dbid {dbid} serves, whatever dbid {} says", other.dbid);
                Ok(Proven { may_be_lost, ..self.alone_row(side, Mode::Resynchronizing, true, why) })
            }
        }
    }

    /// The first epoch that nobody has obeyed, nor was about to.
    fn above_all(&self) -> Epoch {
        let copies = self.witnesses.iter().filter_map(|w| w.copy.as_ref());
        let epochs = copies.flat_map(|c| {
            let pending = c.binding.and_then(|b| b.pending_generation);
            let peer = c.meta.peer.map(|p| p.generation);
            [Some(c.meta.epoch), Some(c.meta.generation), Some(c.meta.acted), pending, peer]
        });
        epochs.flatten().max().unwrap_or_default().next()
    }

    fn disagree(&self, what: String) -> Disagreement {
        let could_serve = self.witnesses.iter().filter(|w| w.copy.as_ref().is_some_and(|c| c.whole));
        Disagreement {
            content: self.content,
            what,
            records: self.witnesses.iter().map(describe).collect(),
            could_serve: could_serve.map(|w| w.dbid).collect(),
        }
    }
}

impl Side<'_> {
    fn knows(self, copy: CopyId) -> bool {
        self.copy.meta.peer.is_some_and(|p| p.copy == copy) || self.copy.binding.is_some_and(|b| b.copy == copy)
    }

    /// Whether the tracked changes explain this copy of the other one.
    fn explains(self, other: &CopyRecord) -> bool {
        self.copy.binding.is_some_and(|b| b.explains(other.meta.copy_state()).is_ok())
    }
}

/// The epoch in which both were in sync with each other and which neither has left; `None` otherwise.
fn in_sync(a: Side, b: Side) -> Option<Epoch> {
    let epoch = a.copy.meta.epoch;
    let holds = |one: Side, other: Side| {
        let peer = CopyState { copy: other.copy.meta.copy, generation: epoch };
        one.copy.whole
            && (one.copy.meta.epoch, one.copy.meta.generation) == (epoch, epoch)
            && one.copy.meta.peer == Some(peer)
    };
    (holds(a, b) && holds(b, a)).then_some(epoch)
}

/// The epoch in which `knows` was in sync with the other copy, if that one's record ends before it.
fn knows_further(knows: Side, old: Side) -> Option<Epoch> {
    let peer = knows.copy.meta.peer.filter(|p| p.copy == old.copy.meta.copy)?;
    (old.copy.meta.epoch < peer.generation).then_some(peer.generation)
}

fn is_bound(one: Side, other: Side) -> bool {
    one.knows(other.copy.meta.copy)
}

fn describe(witness: &Witness) -> String {
    let Some(copy) = &witness.copy else {
        return format!("dbid {}: no identity; a full copy was about to be made", witness.dbid);
    };
    let meta = &copy.meta;
    let peer = meta.peer.map_or("with nobody".into(), |p| format!("with copy {} of epoch {}", p.copy, p.generation));
    let acted = if meta.acted == Epoch::default() { "no record".into() } else { format!("epoch {}", meta.acted) };
    let whole = if copy.whole { "whole" } else { "not whole" };
    format!(
        "dbid {}: copy {}, {whole}, obeyed epoch {}, served last: {acted}, in sync in epoch {} {peer}, {} blocks marked",
        witness.dbid, meta.copy, meta.epoch, meta.generation, copy.dirty_blocks
    )
}

#[cfg(test)]
mod tests;
