//! What the replica alone decides, without disks and links around it.

mod hold;

use super::*;
use crate::core::frame::Open;
use crate::core::ids::{Content, CopyId, Dbid};
use crate::core::row::{Member, Mode, PairRow, Status};

/// Empty files, and a map of nothing.
struct NoFiles;

impl Files for NoFiles {
    fn len(&self, _: FileId) -> Result<u64, String> {
        Ok(0)
    }

    fn pages_named_by_log(&self) -> Result<DirtyMap, String> {
        Ok(DirtyMap::default())
    }

    fn map(&self) -> Result<TrackMap, String> {
        Err("there is no map".into())
    }
}

const PRIMARY: Dbid = Dbid(2);
const MIRROR: Dbid = Dbid(3);
/// The mirror's last ping, since its process started.
const PINGED: Time = Duration::from_millis(700);

fn order(epoch: u64, primary: Dbid, mode: Mode, mirror: Status) -> Order {
    let other = if primary == PRIMARY { MIRROR } else { PRIMARY };
    let mirror_mode = if mode == Mode::ChangeTracking { Mode::Synchronized } else { mode };
    let row = PairRow {
        content: Content(0),
        epoch: Epoch(epoch),
        primary: Member { dbid: primary, mode, status: Status::Up },
        mirror: Some(Member { dbid: other, mode: mirror_mode, status: mirror }),
    };
    Order { row, peer: None, full_copy: false, rate_bytes: None }
}

fn meta() -> Meta {
    Meta {
        cluster_id: String::new(),
        dbid: MIRROR,
        content: Content(0),
        copy: CopyId(2),
        generation: Epoch(1),
        peer: None,
        epoch: Epoch(1),
        acted: Epoch::default(),
        soundness: Soundness::Sound,
        consistent: true,
        written_outside_checkpoint: false,
        stamps: Vec::new(),
        touched: Vec::new(),
    }
}

/// A mirror in sync in epoch 2, which has answered a ping, and who applies its link.
fn mirror_in_sync() -> (Replica, Applier) {
    let mut mirror = Replica::nobody(meta());
    let begins = order(2, PRIMARY, Mode::Resynchronizing, Status::Up);
    mirror.order(&begins, &NoFiles, Time::ZERO).expect("it awaits its link");
    let mut applier = mirror.link_arrived().expect("the first link");
    let copy = CopyState { copy: CopyId(1), generation: Epoch(2) };
    let open = Open { epoch: Epoch(2), primary: PRIMARY, mirror: MIRROR, copy };
    for frame in [Frame::Open(open), Frame::Begin, Frame::Consistent { copy }, Frame::Ping(1)] {
        mirror.apply(&mut applier, frame, &NoFiles, PINGED).expect("it is its turn");
    }
    (mirror, applier)
}

/// It takes over, and SQLite is open.
fn promote(mirror: &mut Replica) {
    let promotion = order(3, MIRROR, Mode::ChangeTracking, Status::Down);
    let joins = mirror.order(&promotion, &NoFiles, PINGED).expect("obeyed");
    assert_eq!(joins, [Effect::JoinAppliers]);
    mirror.applier_joined();
    mirror.order(&promotion, &NoFiles, PINGED).expect("obeyed");
    mirror.serving();
    assert_eq!(mirror.phase(), Phase::Tracking);
}

#[test]
fn a_promoted_mirror_neither_answers_nor_writes_while_its_former_primary_may_hold_a_lease() {
    let (mut mirror, _) = mirror_in_sync();
    promote(&mut mirror);
    let last = PINGED + READ_LEASE - Duration::from_millis(1);
    let waits = Ok(Permit::Wait(Duration::from_millis(1)));
    assert_eq!((mirror.may_read(last), mirror.may_write(last)), (waits.clone(), waits));
    let over = PINGED + READ_LEASE;
    assert_eq!((mirror.may_read(over), mirror.may_write(over)), (Ok(Permit::Granted), Ok(Permit::Granted)));
}

#[test]
fn a_mirror_that_saw_its_link_end_waits_for_nobodys_lease() {
    let (mut mirror, applier) = mirror_in_sync();
    mirror.link_ended(&applier, ApplierEnd::Closed);
    promote(&mut mirror);
    assert_eq!((mirror.may_read(PINGED), mirror.may_write(PINGED)), (Ok(Permit::Granted), Ok(Permit::Granted)));
}
