//! A drill's hold: where a recovery waits, for how long, and when that is over.

use super::*;
use crate::core::frame::Manifest;
use crate::core::report::{HeldAt, MirrorLoss};

const MINUTE: u64 = 60_000;

/// A primary that tracks changes in epoch 2, and its clock.
struct Primary {
    replica: Replica,
    now: Time,
}

fn at(ms: u64) -> Time {
    Duration::from_millis(ms)
}

impl Primary {
    fn tracking() -> Primary {
        let mut replica = Replica::nobody(Meta { dbid: PRIMARY, copy: CopyId(1), ..meta() });
        let alone = order(2, PRIMARY, Mode::ChangeTracking, Status::Down);
        replica.order(&alone, &NoFiles, Time::ZERO).expect("obeyed");
        replica.serving();
        Primary { replica, now: at(1_000) }
    }

    fn recovers(&mut self, epoch: u64) -> LinkId {
        let peer = PeerAddress { dbid: MIRROR, address: "there".into(), replication_port: 1 };
        let begins = order(epoch, PRIMARY, Mode::Resynchronizing, Status::Up);
        let begins = Order { peer: Some(peer), full_copy: true, ..begins };
        let effects = self.replica.order(&begins, &NoFiles, self.now).expect("obeyed");
        match &effects[..] {
            [.., Effect::Recover { link, .. }] => *link,
            other => panic!("no recovery: {other:?}"),
        }
    }

    /// The mirror is greeted, and the link takes its place.
    fn opens(&mut self, link: LinkId) {
        assert_eq!(self.replica.may_greet(link), Ok(Permit::Granted));
        self.replica.greeting(link).expect("its turn");
        let copy = CopyState { copy: CopyId(2), generation: Epoch(1) };
        let manifest = Manifest { copy, lengths: [None, None], contribution: vec![], touched: vec![], unusable: None };
        for frame in [Frame::Manifest(manifest), Frame::Begun] {
            self.replica.heard_in_preparation(link, frame, &NoFiles, self.now).expect("its turn");
        }
    }

    fn work(&mut self, link: LinkId) -> Work {
        self.replica.work(link, self.now).expect("it goes on")
    }

    /// A minute passes on the link: what is asked of the mirror it answers, and nothing else is missed.
    fn a_minute_passes(&mut self, link: LinkId) {
        let end = self.now + at(MINUTE);
        while self.now < end {
            self.now += at(100);
            assert_eq!(self.replica.tick(link, self.now, false), Ok(false), "nobody is lost at {:?}", self.now);
            self.mirror_answers(link);
        }
    }

    fn mirror_answers(&mut self, link: LinkId) {
        for frame in self.replica.next_frames(link, usize::MAX).expect("the link stands").frames {
            let answer = match frame {
                Frame::Ping(sent) => Frame::Pong(sent),
                Frame::Barrier(barrier) => Frame::Synced(barrier),
                Frame::Consistent { .. } => Frame::IsConsistent,
                _ => continue,
            };
            self.replica.answered(link, answer).expect("the link stands");
        }
    }

    fn waits(&self) -> bool {
        let (read, write) = (self.replica.may_read(self.now), self.replica.may_write(self.now));
        assert_eq!(read.as_ref().ok() == Some(&Permit::Granted), write.as_ref().ok() == Some(&Permit::Granted));
        read != Ok(Permit::Granted)
    }

    fn report(&self) -> Report {
        let around = Surroundings { pid: 1, files_stand: true, data_bytes: 0, free_bytes: 0, sick: None };
        self.replica.report(&around)
    }

    fn held(&self) -> Option<HeldAt> {
        self.report().held
    }
}

fn reached(stage: Stage) -> Option<HeldAt> {
    Some(HeldAt { stage, reached: true })
}

#[test]
fn a_recovery_waits_at_each_stage_for_as_long_as_it_is_held_and_no_deadline_counts_that() {
    let mut p = Primary::tracking();
    p.replica.hold(Stage::Preparation).expect("it acts");
    assert_eq!(p.held(), Some(HeldAt { stage: Stage::Preparation, reached: false }));
    assert!(!p.waits(), "nothing is recovered yet");
    let link = p.recovers(3);
    assert_eq!((p.held(), p.replica.phase()), (reached(Stage::Preparation), Phase::Resynchronizing));
    assert_eq!(p.replica.may_greet(link), Ok(Permit::Wait(ACK_DEADLINE)));
    assert!(p.waits(), "the first suspension");
    p.now += at(MINUTE);

    p.replica.hold(Stage::DataCopy).expect("it acts");
    assert!(!p.waits(), "released");
    p.opens(link);
    assert_eq!(p.work(link), Work::Held);
    assert_eq!(p.held(), reached(Stage::DataCopy));
    assert!(!p.waits(), "the copy is online");
    p.a_minute_passes(link);
    assert_eq!(p.work(link), Work::Held, "with nothing left to copy, too");

    p.replica.hold(Stage::FlatFiles).expect("it acts");
    assert_eq!(p.work(link), Work::Wait(ACK_DEADLINE), "the last barrier");
    p.mirror_answers(link);
    assert_eq!(p.work(link), Work::Held);
    assert_eq!(p.report().progress.map(|p| p.stage), Some(Stage::FlatFiles));
    assert!(p.waits(), "the second suspension");
    p.a_minute_passes(link);

    p.replica.hold(Stage::Claimed).expect("it acts");
    assert!(p.waits(), "the claim follows at once");
    assert_eq!(p.work(link), Work::SyncFiles);
    p.replica.files_synced(link).expect("its link");
    p.mirror_answers(link);
    assert_eq!(p.work(link), Work::Record);
    p.replica.record(link).expect("its link");
    p.replica.recorded(link, p.now).expect("its link");
    assert_eq!((p.held(), p.replica.phase()), (reached(Stage::Claimed), Phase::InSync));
    assert!(!p.waits() && p.report().is_held_back(), "in sync, and nobody is told");
    assert_eq!(p.report().progress.and_then(|p| p.pause_claim_us), Some(0), "what was held is no pause");
    p.replica.release();
    assert!(!p.report().is_held_back());
}

#[test]
fn a_hold_is_over_with_the_recovery_that_came_to_it_and_waits_for_the_next_one_otherwise() {
    let mut p = Primary::tracking();
    p.replica.hold(Stage::DataCopy).expect("it acts");
    let link = p.recovers(3);
    // It never came there.
    assert!(p.replica.link_lost(link, MirrorLoss::LinkClosed("refused".into())));
    let alone = order(4, PRIMARY, Mode::ChangeTracking, Status::Down);
    p.replica.order(&alone, &NoFiles, p.now).expect("obeyed");
    assert_eq!(p.held(), Some(HeldAt { stage: Stage::DataCopy, reached: false }));
    let link = p.recovers(5);
    p.opens(link);
    assert_eq!(p.work(link), Work::Held);
    // The mirror dies in the middle.
    assert!(p.replica.link_lost(link, MirrorLoss::LinkClosed("reset".into())));
    assert_eq!(p.held(), None);
    let alone = order(6, PRIMARY, Mode::ChangeTracking, Status::Down);
    p.replica.order(&alone, &NoFiles, p.now).expect("obeyed");
    assert!(!p.waits());
    let link = p.recovers(7);
    p.opens(link);
    assert_eq!(p.work(link), Work::Wait(ACK_DEADLINE), "it settles");
}

#[test]
fn only_an_acting_primary_is_held() {
    let mut nobody = Replica::nobody(meta());
    assert!(nobody.hold(Stage::DataCopy).is_err());
    let (mut mirror, _) = mirror_in_sync();
    assert!(mirror.hold(Stage::Preparation).is_err());
}
