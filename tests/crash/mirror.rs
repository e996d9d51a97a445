//! A mirror through a recovery and into sync: what its records claim is true of its files after every
//! crash.
//!
//! The production machine ([`Replica`]) says what is to be written and in which order; its effects are
//! carried out on a recorded directory and recorded files, one time line for both.

use crate::explore::many_seeds;
use crate::image::Image;
use crate::names::RecordedDirectory;
use crate::order::{Cut, Order};
use crate::random::Random;
use crate::recording::Recording;
use crate::records::{map, meta};
use segsh::core::format::{Meta, TrackMap};
use segsh::core::frame::{Frame, Open};
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::pair::replica::{Applier, Effect, Files, Replica, Time};
use segsh::core::report::{self, CopyState, PeerAddress};
use segsh::core::row::{Member, Mode, PairRow, Status};
use segsh::core::track::{DirtyMap, FileId};
use segsh::engine::storage::Storage;
use segsh::engine::{MAP, META, save_map, save_meta};
use std::collections::BTreeMap;

/// Images per cut.
const IMAGES: u64 = 60;
/// The epoch of the recovery; the copy was in sync in epoch 1 before it.
const RECOVERY: Epoch = Epoch(3);
const PRIMARY: CopyState = CopyState { copy: CopyId(3), generation: RECOVERY };

/// What becomes of the effects before they are carried out: nothing, or a planted fault.
type Plant = fn(Vec<Effect>) -> Vec<Effect>;

/// What the mirror told its primary, after so many steps: from then on it has to be true.
struct Promise {
    step: usize,
    /// The files as they were; what came later was only appended.
    holds: Image,
    /// It answered that its marker stands.
    consistent: bool,
}

struct Mirror {
    replica: Replica,
    applier: Applier,
    dir: RecordedDirectory,
    files: Recording,
    /// Per step of the one time line: steps of the directory, operations on the files.
    steps: Vec<(usize, usize)>,
    promises: Vec<Promise>,
    plant: Plant,
}

/// The files as the replica looks at them.
struct Looked<'a>(&'a Recording);

impl Files for Looked<'_> {
    fn len(&self, file: FileId) -> Result<u64, String> {
        self.0.len(file).map_err(|e| e.to_string())
    }
    fn pages_named_by_log(&self) -> Result<DirtyMap, String> {
        Ok(DirtyMap::default())
    }
    fn map(&self) -> Result<TrackMap, String> {
        Ok(map(1))
    }
}

fn order() -> report::Order {
    let member = |dbid| Member { dbid: Dbid(dbid), mode: Mode::Resynchronizing, status: Status::Up };
    let row = PairRow { content: Content(0), epoch: RECOVERY, primary: member(3), mirror: Some(member(2)) };
    let peer = PeerAddress { dbid: Dbid(3), address: "127.0.0.1".into(), replication_port: 1 };
    report::Order { row, peer: Some(peer), full_copy: false, rate_bytes: None }
}

impl Mirror {
    /// A copy that was in sync in epoch 1, whose process has just been told of a recovery.
    fn start(plant: Plant) -> Mirror {
        let dir = RecordedDirectory::default();
        save_map(&dir, &map(1)).expect("a map");
        save_meta(&dir, &meta(1)).expect("a record");
        let files = Recording::default();
        files.write(FileId::Main, 0, &[0x11; 40_960]).expect("memory takes it");
        files.write(FileId::Wal, 0, &[0x11; 3_000]).expect("memory takes it");
        FileId::ALL.iter().for_each(|file| files.sync(*file).expect("memory syncs"));
        let mut replica = Replica::nobody(meta(1));
        let effects = replica.order(&order(), &Looked(&files), Time::ZERO).expect("obeyed");
        let applier = replica.link_arrived().expect("the one link");
        let steps = vec![(dir.position(), files.position())];
        let mut mirror = Mirror { replica, applier, dir, files, steps, promises: Vec::new(), plant };
        mirror.carry_out(effects);
        mirror
    }

    fn hear(&mut self, mut frame: Frame) {
        let effects = match self.applier.data(&mut frame) {
            Some(effects) => effects,
            None => {
                let files = Looked(&self.files);
                self.replica.apply(&mut self.applier, frame, &files, Time::ZERO).expect("its turn")
            }
        };
        self.carry_out((self.plant)(effects));
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SaveMeta(meta) => save_meta(&self.dir, &meta).expect("saved"),
                Effect::SaveMap(map) => save_map(&self.dir, &map).expect("saved"),
                Effect::Write { file, offset, bytes } => self.files.write(file, offset, &bytes).expect("written"),
                Effect::SetLen { file, len } => self.files.truncate(file, len).expect("truncated"),
                Effect::Sync(file) => self.files.sync(file).expect("synced"),
                Effect::Answer(Frame::Synced(_) | Frame::IsConsistent) => {
                    let (step, holds) = (self.steps.len() - 1, self.files.image());
                    self.promises.push(Promise { step, holds, consistent: self.replica.meta().consistent });
                }
                Effect::Answer(_) => {}
                other => panic!("nothing of the kind is asked of a mirror: {other:?}"),
            }
            self.note_steps();
        }
    }

    fn note_steps(&mut self) {
        let (named, written) = *self.steps.last().expect("the first");
        self.steps.extend((named + 1..=self.dir.position()).map(|named| (named, written)));
        let named = self.dir.position();
        self.steps.extend((written + 1..=self.files.position()).map(|written| (named, written)));
    }

    fn data(&mut self, file: FileId, offset: u64, value: u8, len: usize) {
        self.hear(Frame::Data { file, offset, bytes: vec![value; len] });
    }

    /// A recovery, and commits afterwards.
    fn live(mut self) -> Mirror {
        let (main, wal) = (FileId::Main, FileId::Wal);
        self.hear(Frame::Open(Open { epoch: RECOVERY, primary: Dbid(3), mirror: Dbid(2), copy: PRIMARY }));
        self.hear(Frame::Begin);
        self.data(main, 8_192, 0x33, 16_384);
        self.hear(Frame::SetLen { file: wal, len: 0 });
        self.data(wal, 0, 0x33, 5_000);
        self.hear(Frame::Barrier(1));
        self.data(main, 36_864, 0x34, 8_192);
        self.data(wal, 5_000, 0x34, 1_000);
        self.hear(Frame::Consistent { copy: PRIMARY });
        for n in 0..4u64 {
            self.data(wal, 6_000 + n * 4_120, 0x40 + n as u8, 4_120);
            self.hear(Frame::Barrier(2 + n));
        }
        self
    }

    /// What is wrong with an image: records and files of one crash.
    fn judge(
        &self,
        step: usize,
        records: &BTreeMap<String, Vec<u8>>,
        files: &Image,
        old: &Image,
    ) -> Result<(), String> {
        let bytes = |name: &str| records.get(name).map(Vec::as_slice).ok_or(format!("{name} is gone"));
        let meta = Meta::decode(bytes(META)?).map_err(|e| format!("{META} {e}"))?;
        let map = TrackMap::decode(bytes(MAP)?).map_err(|e| format!("{MAP} {e}"))?;
        let map = meta.map_in_force(map);
        let promised = self.promises.iter().rfind(|p| p.step <= step);
        if promised.is_some_and(|p| p.consistent) && !meta.consistent {
            return Err("the marker it answered for is gone".into());
        }
        if meta.consistent && meta.generation < RECOVERY && files != old {
            return Err("the old marker stands, and the files are not the old ones".into());
        }
        if !meta.consistent || meta.generation < RECOVERY {
            return Ok(());
        }
        if map.binding.generation != RECOVERY || map.dirty.count() > 0 {
            return Err("the new marker stands, and the old map counts".into());
        }
        // The copy is whole from the moment its marker can stand; later promises only add to it.
        let whole = self.promises.iter().find(|p| p.consistent);
        let least = promised.filter(|p| p.consistent).or(whole).ok_or("a marker that nobody made")?;
        for file in FileId::ALL {
            if !files.file(file).starts_with(least.holds.file(file)) {
                return Err(format!("{} lacks what was to be there", file.name()));
            }
        }
        Ok(())
    }

    fn wrong(&self) -> Vec<String> {
        let ops = self.files.ops();
        let mut cut = Cut::start(&ops);
        let mut wrong = Vec::new();
        let mut old = None;
        for (step, (named, written)) in self.steps.iter().enumerate() {
            while cut.at() < *written {
                cut.advance();
            }
            for seed in many_seeds(IMAGES) {
                let mut random = Random::for_image("mirror", 0, step, seed);
                let files = cut.image(Order::Subset, &mut random);
                let old = old.get_or_insert_with(|| files.clone());
                if let Err(why) = self.judge(step, &self.dir.crash(*named, &mut random), &files, old) {
                    wrong.push(format!("{why}; step {step} of {}, seed {seed}", self.steps.len()));
                }
            }
        }
        println!("mirror: {} steps, {} images each, {} wrong", self.steps.len(), IMAGES, wrong.len());
        wrong
    }
}

#[test]
fn what_a_mirror_s_records_claim_is_true_of_its_files_after_every_crash() {
    let wrong = Mirror::start(|effects| effects).live().wrong();
    assert!(wrong.is_empty(), "{} images, such as:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

fn is_record(effect: &Effect) -> bool {
    matches!(effect, Effect::SaveMeta(_))
}

#[test]
fn a_mirror_that_orders_its_effects_otherwise_is_found() {
    let plants: [(&str, Plant); 4] = [
        ("a map written with the marker, as if beside the new record", |mut effects| {
            if effects.iter().any(|e| matches!(e, Effect::Answer(Frame::IsConsistent))) {
                effects.insert(0, Effect::SaveMap(TrackMap { written_in: RECOVERY, ..map(1) }));
            }
            effects
        }),
        ("no sync before the marker", |effects| {
            let marks = effects.iter().any(is_record);
            effects.into_iter().filter(|e| !(marks && matches!(e, Effect::Sync(_)))).collect()
        }),
        ("the old marker is left standing", |effects| {
            let begins = effects.iter().any(|e| matches!(e, Effect::Answer(Frame::Begun)));
            effects.into_iter().filter(|e| !(begins && is_record(e))).collect()
        }),
        ("barriers answered without a sync", |effects| {
            let barrier = effects.iter().any(|e| matches!(e, Effect::Answer(Frame::Synced(_))));
            effects.into_iter().filter(|e| !(barrier && matches!(e, Effect::Sync(_)))).collect()
        }),
    ];
    for (name, plant) in plants {
        assert!(!Mirror::start(plant).live().wrong().is_empty(), "{name}: nothing went wrong");
    }
}
