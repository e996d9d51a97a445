//! What has to hold in every state, and what has to be reached in some.

use crate::disk::{BLOCKS, EVERY_BLOCK};
use crate::pair::{Pair, is_alone};
use crate::world::{Job, Node, Process, World};
use segsh::core::pair::primary::Mirroring;
use segsh::core::pair::replica::Files;
use segsh::core::report::Phase;
use segsh::core::row::Pairing;
use segsh::core::track::FileId;
use stateright::Property;

pub const NO_LOSS: &str = "acknowledged commits survive on the acting primary";
pub const BOTH_HOLD: &str = "while the row says s/s both copies hold every acknowledged commit";
pub const ONE_ALONE: &str = "at most one process can acknowledge alone";
pub const ONLY_ITS_LINK: &str = "only a mirror applies frames, and those of its current epoch";
pub const MARKED: &str = "dirty and unsynced contain every difference";
pub const IDENTICAL: &str = "an idle pair in sync is identical";
pub const EPOCHS_RISE: &str = "epochs only rise";
pub const FAILED_OVER: &str = "the mirror takes over";
pub const RECOVERED: &str = "the former primary is being recovered";
pub const IN_SYNC_AGAIN: &str = "the pair is in sync again after it";
pub const COMMITTED: &str = "every commit is acknowledged";

pub fn all() -> Vec<Property<Pair>> {
    vec![
        Property::always(NO_LOSS, |_, w: &World| acting(w).is_none_or(|(node, _)| holds(node.disk.now.commits(), w))),
        Property::always(BOTH_HOLD, |_, w: &World| {
            w.row.pairing() != Some(Pairing::Synchronized) || w.happened.restores > 0 || both_hold(w)
        }),
        Property::always(ONE_ALONE, |_, w: &World| alone(w) <= 1),
        Property::always(ONLY_ITS_LINK, |_, w: &World| !w.foreign_write),
        Property::always(MARKED, |_, w: &World| every_difference_is_marked(w)),
        Property::always(IDENTICAL, |_, w: &World| idle_pair_is_identical(w)),
        Property::always(EPOCHS_RISE, |_, w: &World| !w.epoch_fell),
        Property::sometimes(FAILED_OVER, |p: &Pair, w: &World| failed_over(p, w) && acting(w).is_some()),
        Property::sometimes(RECOVERED, |p: &Pair, w: &World| {
            failed_over(p, w) && acting(w).is_some_and(|(_, p)| p.replica.phase() == Phase::Resynchronizing)
        }),
        Property::sometimes(IN_SYNC_AGAIN, |p: &Pair, w: &World| {
            failed_over(p, w) && w.row.pairing() == Some(Pairing::Synchronized)
        }),
        Property::sometimes(COMMITTED, |p: &Pair, w: &World| {
            w.acknowledged.count_ones() == u32::from(p.bounds.commits)
        }),
    ]
}

fn failed_over(pair: &Pair, w: &World) -> bool {
    w.row.primary.dbid != pair.start.row.primary.dbid
}

fn holds(commits: u8, w: &World) -> bool {
    commits & w.acknowledged == w.acknowledged
}

/// The process that serves by the row's word.
fn acting(w: &World) -> Option<(&Node, &Process)> {
    let node = &w.nodes[w.primary()];
    let obeys = |p: &&Process| p.replica.acting().is_ok() && p.replica.meta().epoch == w.row.epoch;
    node.processes.iter().find(obeys).map(|p| (&**node, p))
}

fn both_hold(w: &World) -> bool {
    w.nodes.iter().all(|node| holds(node.disk.durable.commits(), w))
}

fn alone(w: &World) -> usize {
    let processes = w.nodes.iter().flat_map(|node| &node.processes);
    processes.filter(|p| p.replica.fenced().is_none() && is_alone(p.replica.phase())).count()
}

/// Before a link carries data the mirror's contribution counts, and its log is copied whole. A copy that
/// the map is not bound to is refused.
fn every_difference_is_marked(w: &World) -> bool {
    let Some((node, process)) = acting(w) else { return true };
    let Ok(acting) = process.replica.acting() else { return true };
    let mirror = &w.nodes[1 - w.primary()].disk;
    let map = node.disk.map.clone().map(|stored| node.disk.meta.map_in_force(stored));
    let explained = map.is_some_and(|map| map.binding.explains(mirror.meta.copy_state()).is_ok());
    if !explained || process.report().map_unusable.is_some() {
        return true;
    }
    let mut marked = acting.primary().possibly_different();
    let linked = matches!(acting.primary().mirroring(), Mirroring::Resync | Mirroring::InSync);
    if !linked {
        marked.union(&mirror.pages_named_by_log().unwrap_or_default());
        marked.mark_whole(FileId::Wal, 1);
    }
    let ours = node.disk.now;
    let theirs = if linked { vec![mirror.now, mirror.durable] } else { vec![mirror.now] };
    EVERY_BLOCK.into_iter().all(|(file, block)| {
        let same = theirs.iter().all(|theirs| theirs.block(file, block) == ours.block(file, block));
        same || marked.is_dirty(file, block)
    })
}

fn idle_pair_is_identical(w: &World) -> bool {
    let Some((node, process)) = acting(w) else { return true };
    let Ok(acting) = process.replica.acting() else { return true };
    let quiet = acting.primary().mirroring() == Mirroring::InSync
        && process.job == Job::Idle
        && process.noted == 0
        && acting.link().is_some_and(|link| link.queued_bytes() == 0 && link.unanswered_barriers() == 0)
        && w.links.iter().all(|c| c.to_mirror.is_empty() && c.to_primary.is_empty())
        && w.links.iter().any(|c| !c.preparing && !c.cut && !c.primary_done && !c.mirror_done);
    let mirror = &w.nodes[1 - w.primary()].disk;
    !quiet || (0..BLOCKS).all(|b| node.disk.durable.main[b] == mirror.durable.main[b]) && same_log(node, mirror)
}

fn same_log(node: &Node, mirror: &crate::disk::Disk) -> bool {
    node.disk.durable.log == mirror.durable.log && node.disk.now == mirror.now
}
