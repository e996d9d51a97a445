use super::*;
use crate::core::row::Pairing;
use crate::core::transition::letters;
use proptest::prelude::*;

const C0: Content = Content(0);

fn copy(dbid: i64, peer: i64) -> CopyRecord {
    let state = |dbid: i64| CopyState { copy: CopyId(dbid as u128), generation: Epoch(1) };
    let meta = Meta {
        cluster_id: "id".into(),
        dbid: Dbid(dbid),
        content: C0,
        copy: state(dbid).copy,
        generation: Epoch(1),
        peer: Some(state(peer)),
        epoch: Epoch(1),
        acted: Epoch(0),
        consistent: true,
        soundness: crate::core::report::Soundness::Sound,
        written_outside_checkpoint: false,
        stamps: Vec::new(),
        touched: Vec::new(),
    };
    let binding = Some(Binding::to(state(peer)));
    CopyRecord { meta, whole: true, touched: Vec::new(), binding, dirty_blocks: 0, beside: false }
}

fn witness(copy: CopyRecord) -> Witness {
    let dbid = copy.meta.dbid;
    let preferred = if dbid == Dbid(2) { Role::Primary } else { Role::Mirror };
    Witness { dbid, preferred: Some(preferred), copy: Some(copy) }
}

/// Dbid 2 prefers to be the primary, dbid 3 the mirror; both were made in sync in epoch 1.
fn fresh() -> [CopyRecord; 2] {
    [copy(2, 3), copy(3, 2)]
}

fn proven(copies: [CopyRecord; 2]) -> Result<Proven, Disagreement> {
    prove(C0, &copies.map(witness), None)
}

#[track_caller]
fn serves(copies: [CopyRecord; 2], dbid: i64, expected: &str) -> Proven {
    let proven = proven(copies).unwrap_or_else(|d| panic!("{d}: {:#?}", d.records));
    assert_eq!((proven.row.primary.dbid, letters(&proven.row).as_str()), (Dbid(dbid), expected), "{}", proven.why);
    proven
}

#[test]
fn a_pair_that_was_never_started_is_in_sync_in_its_first_epoch_and_its_preferred_roles() {
    let found = serves(fresh(), 2, "p,s,u / m,s,u");
    assert_eq!((found.row.epoch, found.must_copy_all), (Epoch(1), false), "its epoch is that of the link");
    let [a, b] = fresh();
    serves([b, a], 2, "p,s,u / m,s,u");
}

#[test]
fn of_a_pair_in_sync_the_one_that_served_serves_again_unless_somebody_touched_its_files() {
    let [a, mut b] = fresh();
    b.meta.acted = Epoch(1);
    serves([a.clone(), b.clone()], 3, "p,s,u / m,s,u");
    b.touched = vec!["main.db".into()];
    assert!(serves([a, b], 2, "p,s,u / m,s,u").why.contains("files of dbid 3 changed"));
}

#[test]
fn after_a_failover_the_promoted_one_serves_and_the_other_one_lacks_changes() {
    let [a, mut b] = fresh();
    (b.meta.epoch, b.dirty_blocks) = (Epoch(4), 9);
    let found = serves([a.clone(), b.clone()], 3, "p,c,u / m,s,d");
    assert_eq!((found.row.epoch, found.serving_copy), (Epoch(5), CopyId(3)), "above every epoch found");
    b.meta.acted = Epoch(4);
    serves([a, b], 3, "p,c,u / m,s,d");
}

#[test]
fn in_the_middle_of_a_recovery_the_source_serves() {
    let [mut a, mut b] = fresh();
    (a.meta.epoch, b.meta.epoch) = (Epoch(3), Epoch(3));
    a.binding = a.binding.map(|b| Binding { pending_generation: Some(Epoch(3)), ..b });
    b.whole = false;
    let found = serves([a.clone(), b.clone()], 2, "p,c,u / m,r,d");
    assert!(!found.must_copy_all, "the map explains the half-copied mirror");
    assert_eq!(found.row.epoch, Epoch(4));
    // The mirror's last durable write comes before the primary's: nothing was claimed yet.
    (b.whole, b.meta.generation) = (true, Epoch(3));
    b.meta.peer = Some(CopyState { copy: CopyId(2), generation: Epoch(3) });
    serves([a, b], 2, "p,c,u / m,r,d");
}

#[test]
fn an_unfinished_full_copy_can_only_be_followed_by_a_full_copy() {
    let [mut a, mut b] = fresh();
    a.meta.epoch = Epoch(3);
    let without = |b: Option<CopyRecord>| [witness(a.clone()), Witness { dbid: Dbid(3), preferred: None, copy: b }];
    let found = prove(C0, &without(None), None).expect("the other one serves");
    assert_eq!((letters(&found.row).as_str(), found.must_copy_all), ("p,c,u / m,r,d", true));
    (b.whole, b.beside, b.meta.epoch) = (false, true, Epoch(4));
    a.meta.acted = Epoch(4);
    let found = prove(C0, &[witness(a), witness(b)], None).expect("the other one serves");
    assert!(found.must_copy_all);
}

#[test]
fn a_link_that_was_lost_with_both_alive_is_decided_by_who_acted_and_not_guessed_without() {
    let [mut a, mut b] = fresh();
    (a.meta.epoch, b.meta.epoch) = (Epoch(2), Epoch(2));
    let refused = proven([a.clone(), b.clone()]).unwrap_err();
    assert!(refused.what.contains("which of the two copies served last"), "{refused}");
    assert_eq!((refused.records.len(), &refused.could_serve[..]), (2, &[Dbid(2), Dbid(3)][..]));
    a.meta.acted = Epoch(2);
    serves([a, b], 2, "p,c,u / m,s,d");
}

#[test]
fn an_older_state_of_a_directory_is_noticed_and_served_only_around() {
    let [mut a, mut b] = fresh();
    // Both were in sync in epoch 7; then dbid 3's directory was replaced by a backup from epoch 1.
    (a.meta.epoch, a.meta.generation) = (Epoch(7), Epoch(7));
    a.meta.peer = Some(CopyState { copy: CopyId(3), generation: Epoch(7) });
    a.meta.acted = Epoch(7);
    let refused = proven([a.clone(), b.clone()]).unwrap_err();
    assert!(refused.what.contains("dbid 3 is an older state"), "the true one may have taken over: {refused}");
    (a.meta.epoch, a.meta.acted) = (Epoch(8), Epoch(8));
    serves([a.clone(), b.clone()], 2, "p,c,u / m,r,d");
    b.meta.epoch = Epoch(6);
    serves([a, b], 2, "p,c,u / m,r,d");
}

#[test]
fn two_copies_that_both_say_they_served_under_one_epoch_are_refused() {
    let [mut a, mut b] = fresh();
    for copy in [&mut a, &mut b] {
        (copy.meta.epoch, copy.meta.acted) = (Epoch(5), Epoch(5));
    }
    assert!(proven([a, b]).unwrap_err().what.contains("both copies say that they served under epoch 5"));
}

#[test]
fn strangers_a_missing_member_and_a_broken_last_server_are_refused() {
    let [mut a, mut b] = fresh();
    (a.meta.peer, a.binding, a.meta.epoch) = (None, None, Epoch(4));
    (b.meta.peer, b.binding) = (None, None);
    assert!(proven([a, b]).unwrap_err().what.contains("do not know each other"));
    let [a, mut b] = fresh();
    let missing = prove(C0, &[witness(a.clone())], None).unwrap_err();
    assert!(missing.what.contains("no directory was named"), "{missing}");
    (b.whole, b.meta.acted, b.meta.epoch) = (false, Epoch(2), Epoch(2));
    let broken = proven([a, b]).unwrap_err();
    assert!(broken.what.contains("dbid 3 would have to serve"), "{broken}");
    assert_eq!(broken.could_serve, [Dbid(2)]);
}

#[test]
fn an_override_serves_what_is_whole_says_what_may_be_lost_and_leaves_only_a_full_copy() {
    let [a, mut b] = fresh();
    (b.meta.epoch, b.dirty_blocks) = (Epoch(4), 9);
    let both = [witness(a), witness(b.clone())];
    let found = prove(C0, &both, Some(Dbid(2))).expect("it is whole");
    assert_eq!((found.row.primary.dbid, letters(&found.row).as_str()), (Dbid(2), "p,c,u / m,r,d"));
    assert!(found.must_copy_all && found.row.epoch == Epoch(5));
    assert!(found.may_be_lost.contains("epoch 4") && found.may_be_lost.contains("9 blocks"), "{}", found.may_be_lost);
    b.whole = false;
    assert!(prove(C0, &[witness(b)], Some(Dbid(3))).is_err());
}

/// A pair that lives: the catalog's row, what each member has obeyed, and what each holds durably.
#[derive(Debug)]
struct Life {
    copies: [CopyRecord; 2],
    /// The catalog: who is the primary, whether the pair is in tracking, copying or in sync.
    primary: usize,
    pairing: Pairing,
    epoch: Epoch,
    /// The stage of the recovery under way: united, begun, mirror whole, claimed.
    stage: u8,
    /// The last transaction that each holds, and that somebody was told of.
    holds: [u64; 2],
    acknowledged: u64,
}

impl Life {
    fn new() -> Life {
        let copies = fresh();
        Life {
            copies,
            primary: 0,
            pairing: Pairing::Synchronized,
            epoch: Epoch(1),
            stage: 4,
            holds: [0; 2],
            acknowledged: 0,
        }
    }

    fn row(&mut self, pairing: Pairing) {
        self.pairing = pairing;
        self.epoch = self.epoch.next();
        self.stage = 0;
    }

    fn obeyed(&self, member: usize) -> bool {
        self.copies[member].meta.epoch == self.epoch
    }

    fn step(&mut self, step: u8) {
        let (p, m) = (self.primary, 1 - self.primary);
        match (step, self.pairing) {
            (0, Pairing::Synchronized) => self.row(Pairing::ChangeTracking),
            (1, Pairing::Synchronized) if self.copies[m].whole => {
                self.primary = m;
                self.row(Pairing::ChangeTracking);
            }
            (2, Pairing::Resynchronizing) => self.row(Pairing::ChangeTracking),
            // Only a primary that serves under the present row is recovered from.
            (3, Pairing::ChangeTracking) if self.obeyed(p) => self.row(Pairing::Resynchronizing),
            (4, Pairing::ChangeTracking) => self.row(Pairing::ChangeTracking),
            (5 | 6, _) if self.copies[p].whole => {
                self.copies[p].meta.epoch = self.epoch;
                self.copies[p].meta.acted = self.epoch;
            }
            (7, _) => self.copies[m].meta.epoch = self.epoch,
            (8 | 9, Pairing::Resynchronizing) if self.obeyed(p) && self.obeyed(m) => self.copy(p, m),
            (10 | 11, _) if self.obeyed(p) => self.commit(p, m),
            _ => {}
        }
    }

    fn copy(&mut self, p: usize, m: usize) {
        let (ours, theirs) = (self.copies[p].meta.copy, self.copies[m].meta.copy);
        let at = |copy| CopyState { copy, generation: self.epoch };
        match self.stage {
            0 => {
                let bound = Binding::to(self.copies[m].meta.copy_state());
                self.copies[p].binding = Some(Binding { pending_generation: Some(self.epoch), ..bound });
            }
            1 => self.copies[m].whole = false,
            2 => {
                self.holds[m] = self.holds[p];
                let mirror = &mut self.copies[m];
                (mirror.whole, mirror.meta.generation) = (true, self.epoch);
                (mirror.meta.peer, mirror.binding) = (Some(at(ours)), Some(Binding::to(at(ours))));
            }
            3 => {
                let primary = &mut self.copies[p];
                primary.meta.generation = self.epoch;
                (primary.meta.peer, primary.binding) = (Some(at(theirs)), Some(Binding::to(at(theirs))));
                self.pairing = Pairing::Synchronized;
            }
            _ => return,
        }
        self.stage += 1;
    }

    /// Alone, or on both from the moment on in which the mirror is whole.
    fn commit(&mut self, p: usize, m: usize) {
        let both =
            self.pairing == Pairing::Synchronized || (self.pairing == Pairing::Resynchronizing && self.stage >= 3);
        let obeyed = !both || self.obeyed(m);
        if obeyed && self.pairing != Pairing::Mirrorless {
            self.acknowledged += 1;
            self.holds[p] = self.acknowledged;
            if both {
                self.holds[m] = self.acknowledged;
            }
        }
    }
}

proptest! {
    /// Whatever happened to a pair, and wherever everything was killed: the row that is proven is served by
    /// a copy that holds every acknowledged transaction, and a row in sync is true of both.
    #[test]
    fn what_is_proven_serves_every_acknowledged_transaction(
        steps in proptest::collection::vec(0u8..12, 0..60), knows_who_acted in any::<bool>()
    ) {
        let mut life = Life::new();
        steps.into_iter().for_each(|step| life.step(step));
        if !knows_who_acted {
            life.copies.iter_mut().for_each(|c| c.meta.acted = Epoch(0));
        }
        let found = match proven(life.copies.clone()) {
            Ok(found) => found,
            Err(refused) if !knows_who_acted => {
                prop_assert!(!refused.records.is_empty());
                return Ok(());
            }
            Err(refused) => return Err(TestCaseError::fail(format!("{refused}: {life:?}"))),
        };
        let serves = usize::from(found.row.primary.dbid == Dbid(3));
        prop_assert_eq!(life.holds[serves], life.acknowledged, "{:?} {:?}", found, life);
        if found.row.pairing() == Some(Pairing::Synchronized) {
            prop_assert_eq!(life.holds, [life.acknowledged; 2]);
        } else {
            prop_assert!(life.copies.iter().all(|c| c.meta.epoch < found.row.epoch));
        }
    }
}
