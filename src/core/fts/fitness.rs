//! Whether a copy may take up the content: what its own marker says (R4), and whether it is the very
//! copy that the row speaks of.

use crate::core::ids::CopyId;
use crate::core::report::{Report, Soundness};
use crate::core::row::{PairRow, Pairing};

/// Why the copy of a process may not serve from here on; `None` when it may.
///
/// A directory may hold an older copy than the row speaks of, such as one that a full copy was made
/// beside: it is consistent, and lacks acknowledged commits. While the row says s/s its epoch is that of
/// the link over which both copies were last in sync, for no epoch rises while these letters stand (R1).
/// Otherwise one copy alone holds everything: the one that served last, which the catalog keeps beside
/// the row.
pub fn unfit(row: &PairRow, serving_copy: Option<CopyId>, report: &Report) -> Option<String> {
    if !report.ready && report.soundness == Soundness::Unjudged {
        return Some("a verification found that it differs from its primary".into());
    }
    if !report.ready {
        return Some("its copy is incomplete or of unknown origin".into());
    }
    let copy = report.copy;
    if row.pairing() == Some(Pairing::Synchronized) {
        // It gave way to its mirror, which holds what is damaged here.
        if let Soundness::Damaged { why } = &report.soundness {
            return Some(format!("it is damaged: {why}"));
        }
        let is_old = copy.generation != row.epoch;
        return is_old.then(|| {
            format!(
                "its copy was last in sync in epoch {}, the pair is in sync since epoch {}",
                copy.generation, row.epoch
            )
        });
    }
    let served = serving_copy.filter(|served| *served != copy.copy)?;
    Some(format!("it holds copy {}, and copy {served} served last", copy.copy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Content, Dbid, Epoch};
    use crate::core::report::{CopyState, Phase};
    use crate::core::row::{Member, Mode, Status};

    fn row(primary: Mode, mirror: Option<(Mode, Status)>) -> PairRow {
        PairRow {
            content: Content(0),
            epoch: Epoch(5),
            primary: Member { dbid: Dbid(2), mode: primary, status: Status::Up },
            mirror: mirror.map(|(mode, status)| Member { dbid: Dbid(3), mode, status }),
        }
    }

    fn report(copy: u128, generation: u64, ready: bool) -> Report {
        Report {
            dbid: Dbid(2),
            content: Content(0),
            pid: 1,
            phase: Phase::Nobody,
            epoch: Epoch(5),
            copy: CopyState { copy: CopyId(copy), generation: Epoch(generation) },
            ready,
            link: None,
            mirror_lost: None,
            sick: None,
            map_unusable: None,
            map_bound_to: None,
            dirty_blocks: 0,
            data_bytes: 0,
            free_bytes: 0,
            progress: None,
            lag: None,
            verification: None,
            soundness: Soundness::Sound,
            damaged_pages: 0,
            held: None,
            release: String::new(),
            sessions: 0,
        }
    }

    #[test]
    fn in_sync_only_a_copy_of_the_last_link_may_serve_whichever_of_the_two_it_is() {
        let synced = row(Mode::Synchronized, Some((Mode::Synchronized, Status::Up)));
        assert_eq!(unfit(&synced, Some(CopyId(1)), &report(1, 5, true)), None);
        assert_eq!(unfit(&synced, Some(CopyId(1)), &report(2, 5, true)), None);
        assert!(unfit(&synced, None, &report(1, 3, true)).is_some(), "an older state of the same pair");
        assert!(unfit(&synced, None, &report(1, 0, true)).is_some(), "a new copy");
        assert!(unfit(&synced, None, &report(1, 5, false)).is_some());
    }

    #[test]
    fn of_a_single_copy_only_the_one_that_served_last_may_serve_again() {
        for row in [
            row(Mode::ChangeTracking, Some((Mode::Synchronized, Status::Down))),
            row(Mode::Resynchronizing, Some((Mode::Resynchronizing, Status::Up))),
            row(Mode::Synchronized, None),
        ] {
            assert_eq!(unfit(&row, Some(CopyId(1)), &report(1, 3, true)), None, "its generation is older by right");
            assert!(unfit(&row, Some(CopyId(1)), &report(2, 5, true)).is_some());
            assert!(unfit(&row, Some(CopyId(1)), &report(1, 3, false)).is_some());
            assert_eq!(unfit(&row, None, &report(2, 3, true)), None, "nothing is known of an earlier one");
        }
    }
}
