//! What a segment makes of the row it is told: a total function of what it is and what it hears.

use crate::core::ids::{Dbid, Epoch};
use crate::core::report::{Order, Phase};
use crate::core::row::{Mode, Role, Status};

/// What the segment is when it hears the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub dbid: Dbid,
    pub phase: Phase,
    /// The highest epoch obeyed, durably.
    pub epoch: Epoch,
}

/// What it does then. Every variant that takes on a role first makes the epoch durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obedience {
    /// Nothing to do, or nothing it may do.
    Nothing,
    /// A nobody becomes the acting primary, alone (R5).
    Serve { mirrorless: bool },
    /// A fresh process waits for its one link (R3).
    AwaitLink,
    /// A mirror takes over, in the order of R3.
    Promote,
    /// The mirror was declared lost: the link is closed.
    CloseLink,
    /// The acting primary goes on alone.
    TrackAlone,
    /// The acting primary opens a link to its mirror.
    Resynchronize,
    /// The only way a primary is demoted (R7).
    Exit,
}

/// What to do with an order. A lower epoch is never obeyed; the same epoch changes nobody's role.
pub fn obey(me: Standing, order: &Order) -> Obedience {
    let row = &order.row;
    if row.epoch < me.epoch {
        return Obedience::Nothing;
    }
    let newer = row.epoch > me.epoch;
    let Some(role) = row.role_of(me.dbid) else { return Obedience::Nothing };
    let alone = row.primary.mode == Mode::ChangeTracking || row.mirror.is_none();
    let copying = row.primary.mode == Mode::Resynchronizing && row.mirror.is_some_and(|m| m.status == Status::Up);
    match (me.phase, role) {
        (Phase::Nobody, Role::Primary) if newer && alone => Obedience::Serve { mirrorless: row.mirror.is_none() },
        (Phase::Nobody, Role::Mirror) if newer && copying => Obedience::AwaitLink,
        (Phase::Nobody, _) => Obedience::Nothing,
        (Phase::Mirror, Role::Primary) if newer && alone => Obedience::Promote,
        (Phase::Mirror, Role::Mirror) if newer => Obedience::CloseLink,
        (Phase::Mirror, _) => Obedience::Nothing,
        (
            Phase::Tracking
            | Phase::Resynchronizing
            | Phase::InSync
            | Phase::Suspended
            | Phase::Mirrorless
            | Phase::Promoting,
            Role::Mirror,
        ) => Obedience::Exit,
        (Phase::Promoting, Role::Primary) => Obedience::Nothing,
        (Phase::Tracking, Role::Primary) if newer && copying => Obedience::Resynchronize,
        (Phase::Tracking | Phase::Resynchronizing | Phase::InSync | Phase::Suspended, Role::Primary)
            if newer && alone =>
        {
            Obedience::TrackAlone
        }
        (
            Phase::Tracking | Phase::Resynchronizing | Phase::InSync | Phase::Suspended | Phase::Mirrorless,
            Role::Primary,
        ) => Obedience::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Content;
    use crate::core::row::{Member, PairRow};

    fn order(epoch: u64, primary: i64, mode: Mode, mirror_status: Status) -> Order {
        let mirror_mode = if mode == Mode::ChangeTracking { Mode::Synchronized } else { mode };
        let row = PairRow {
            content: Content(0),
            epoch: Epoch(epoch),
            primary: Member { dbid: Dbid(primary), mode, status: Status::Up },
            mirror: Some(Member { dbid: Dbid(5 - primary), mode: mirror_mode, status: mirror_status }),
        };
        Order { row, peer: None, full_copy: false, rate_bytes: None }
    }

    fn me(phase: Phase) -> Standing {
        Standing { dbid: Dbid(2), phase, epoch: Epoch(5) }
    }

    #[test]
    fn no_phase_obeys_a_lower_epoch() {
        use Phase::*;
        for phase in [Nobody, Mirror, Mirrorless, Tracking, Resynchronizing, InSync, Suspended, Promoting] {
            for primary in [2, 3] {
                for mode in [Mode::ChangeTracking, Mode::Resynchronizing, Mode::Synchronized] {
                    let stale = order(4, primary, mode, Status::Up);
                    assert_eq!(obey(me(phase), &stale), Obedience::Nothing, "{phase:?} obeyed {stale:?}");
                }
            }
        }
    }

    #[test]
    fn a_process_that_starts_serves_only_under_a_new_epoch() {
        assert_eq!(obey(me(Phase::Nobody), &order(5, 2, Mode::ChangeTracking, Status::Down)), Obedience::Nothing);
        assert_eq!(
            obey(me(Phase::Nobody), &order(6, 2, Mode::ChangeTracking, Status::Down)),
            Obedience::Serve { mirrorless: false }
        );
        assert_eq!(obey(me(Phase::Nobody), &order(6, 2, Mode::Synchronized, Status::Up)), Obedience::Nothing);
    }

    #[test]
    fn a_primary_that_is_told_it_is_a_mirror_exits() {
        for phase in [Phase::Tracking, Phase::Resynchronizing, Phase::InSync, Phase::Suspended] {
            assert_eq!(obey(me(phase), &order(6, 3, Mode::ChangeTracking, Status::Down)), Obedience::Exit);
        }
    }

    #[test]
    fn a_mirror_is_promoted_only_by_a_higher_epoch_in_tracking() {
        assert_eq!(obey(me(Phase::Mirror), &order(6, 2, Mode::ChangeTracking, Status::Down)), Obedience::Promote);
        assert_eq!(obey(me(Phase::Mirror), &order(5, 2, Mode::ChangeTracking, Status::Down)), Obedience::Nothing);
    }

    #[test]
    fn a_link_is_never_made_again_by_a_process_that_had_one() {
        assert_eq!(obey(me(Phase::Mirror), &order(6, 3, Mode::Resynchronizing, Status::Up)), Obedience::CloseLink);
    }

    #[test]
    fn only_a_tracking_primary_begins_a_copy() {
        let begins = order(6, 2, Mode::Resynchronizing, Status::Up);
        assert_eq!(obey(me(Phase::Tracking), &begins), Obedience::Resynchronize);
        assert_eq!(obey(me(Phase::Suspended), &begins), Obedience::Nothing);
    }

    #[test]
    fn a_row_that_becomes_synchronized_keeps_its_epoch_and_changes_nothing_at_the_segment() {
        let mut synced = order(5, 2, Mode::Synchronized, Status::Up);
        assert_eq!(obey(me(Phase::InSync), &synced), Obedience::Nothing);
        synced.row.epoch = Epoch(5);
        assert_eq!(obey(Standing { dbid: Dbid(3), ..me(Phase::Mirror) }, &synced), Obedience::Nothing);
    }
}
