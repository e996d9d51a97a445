//! The engine's own records, `segment.meta` and `track.map`: after a crash each is whole, the old one
//! or the new one, and the new one once its writer returned.

use crate::explore::many_seeds;
use crate::names::RecordedDirectory;
use crate::random::Random;
use segsh::core::format::{FormatError, Meta, TrackMap};
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::pair::binding::Binding;
use segsh::core::report::{CopyState, Soundness};
use segsh::core::track::{DirtyMap, FileId, Run};
use segsh::engine::directory::{Directory, NewFile, replace};
use segsh::engine::{MAP, META, save_map, save_meta};
use segsh::hosts::files::write_durably_in;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Images per cut; a directory of two small files is checked in microseconds.
const IMAGES: u64 = 100;

type Files = BTreeMap<String, Vec<u8>>;

/// A record under its name, by the epoch that tells its versions apart.
type Decode = fn(&[u8]) -> Result<Epoch, FormatError>;

fn meta_epoch(bytes: &[u8]) -> Result<Epoch, FormatError> {
    Meta::decode(bytes).map(|meta| meta.epoch)
}

fn map_epoch(bytes: &[u8]) -> Result<Epoch, FormatError> {
    TrackMap::decode(bytes).map(|map| map.binding.generation)
}

/// A mirror's record that says it was in sync in an epoch.
pub fn meta(epoch: u64) -> Meta {
    Meta {
        cluster_id: "c".repeat(40),
        dbid: Dbid(2),
        content: Content(0),
        copy: CopyId(2),
        generation: Epoch(epoch),
        peer: Some(CopyState { copy: CopyId(3), generation: Epoch(epoch) }),
        epoch: Epoch(epoch),
        acted: Epoch(0),
        consistent: true,
        written_outside_checkpoint: false,
        stamps: vec![],
        // The versions differ in length, and the longer ones span several sectors.
        touched: vec!["main.db".into(); 100 - (epoch as usize * 17) % 90],
        soundness: Soundness::Sound,
    }
}

/// A map bound to the primary's copy in a generation.
pub fn map(generation: u64) -> TrackMap {
    let mut dirty = DirtyMap::default();
    dirty.mark(Run { file: FileId::Main, first: generation * 5, count: 30_000 - 2_000 * generation });
    let state = CopyState { copy: CopyId(3), generation: Epoch(generation) };
    TrackMap { binding: Binding::to(state), written_in: Epoch(generation), dirty }
}

/// A version of a record: the steps before its writer began, and when it returned.
struct Version {
    name: &'static str,
    epoch: Epoch,
    begun: usize,
    returned: usize,
}

/// Writes records one after the other, and keeps when each began and ended.
#[derive(Default)]
struct History {
    dir: RecordedDirectory,
    versions: Vec<Version>,
}

impl History {
    fn keep<E: std::fmt::Debug>(
        &mut self,
        name: &'static str,
        epoch: u64,
        write: impl FnOnce(&RecordedDirectory) -> Result<(), E>,
    ) {
        let begun = self.dir.position();
        write(&self.dir).expect("a directory in memory takes it");
        self.versions.push(Version { name, epoch: Epoch(epoch), begun, returned: self.dir.position() });
    }

    fn meta(&mut self, epoch: u64) {
        self.keep(META, epoch, |dir| save_meta(dir, &meta(epoch)));
    }

    fn map(&mut self, epoch: u64) {
        self.keep(MAP, epoch, |dir| save_map(dir, &map(epoch)));
    }

    /// What is wrong with one record in an image.
    fn judge(&self, files: &Files, name: &str, decode: Decode, cut: usize) -> Result<(), String> {
        let of_name = || self.versions.iter().filter(|v| v.name == name);
        let least = of_name().rfind(|v| v.returned <= cut).map(|v| v.epoch);
        let most = of_name().rfind(|v| v.begun < cut).map(|v| v.epoch);
        let found = match files.get(name) {
            None => None,
            Some(bytes) => Some(decode(bytes).map_err(|e| format!("{name} {e}"))?),
        };
        if found < least || found > most {
            return Err(format!("{name} of epoch {found:?} stands; {least:?} to {most:?} may"));
        }
        Ok(())
    }

    /// Every image of every cut, and what `check` finds wrong with it.
    fn wrong(&self, check: impl Fn(&Files, usize) -> Result<(), String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let cuts = self.dir.position();
        for cut in 0..=cuts {
            for seed in many_seeds(IMAGES) {
                let files = self.dir.crash(cut, &mut Random::for_image("records", 0, cut, seed));
                if let Err(why) = check(&files, cut) {
                    wrong.push(format!("{why}; cut {cut} of {cuts}, seed {seed}"));
                }
            }
        }
        println!("{} steps, {} images, {} wrong", cuts, (cuts as u64 + 1) * IMAGES, wrong.len());
        wrong
    }

    fn wrong_records(&self) -> Vec<String> {
        self.wrong(|files, cut| {
            self.judge(files, META, meta_epoch, cut)?;
            self.judge(files, MAP, map_epoch, cut)
        })
    }
}

fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} images, such as:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

#[test]
fn a_record_is_the_old_or_the_new_one_after_every_crash() {
    let mut history = History::default();
    for epoch in 1..=4 {
        history.map(epoch);
        history.meta(epoch);
    }
    expect_none(&history.wrong_records());
}

/// A file that everybody else writes: `cluster.json`, `segment.json`, `agent.json`.
#[test]
fn a_configuration_is_the_old_or_the_new_one_after_every_crash() {
    const NAME: &str = "segment.json";
    let text = |epoch: u64| format!("{epoch} {}\n", "x".repeat(epoch as usize * 700 % 2_000)).into_bytes();
    let decode: Decode = |bytes| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.ends_with('\n'));
        let epoch = text.and_then(|text| text.split(' ').next()?.parse().ok().map(Epoch));
        epoch.ok_or_else(|| FormatError::Body("cut short".into()))
    };
    let mut history = History::default();
    for epoch in 1..=4 {
        history.keep(NAME, epoch, |dir| write_durably_in(dir, NAME, &text(epoch)));
    }
    expect_none(&history.wrong(|files, cut| history.judge(files, NAME, decode, cut)));
}

#[test]
fn what_a_crash_left_beside_a_record_harms_no_later_one() {
    let mut history = History::default();
    history.meta(1);
    // A process died before its rename; the next one finds a longer file under the same name.
    let beside = format!("{META}.new");
    let mut left = history.dir.create(&beside).expect("a file");
    left.write_all(&[0x5a; 5_000]).expect("written");
    left.sync().expect("synced");
    history.dir.sync_names().expect("synced");
    history.meta(2);
    history.meta(3);
    expect_none(&history.wrong_records());
}

#[test]
fn nothing_is_left_beside_the_records_but_what_the_next_start_removes() {
    let mut history = History::default();
    history.map(1);
    history.meta(1);
    history.meta(2);
    let wrong = history.wrong(|files, _| {
        // `remove_leftovers` knows a file that was never finished by these endings.
        match files.keys().find(|name| ![META, MAP].contains(&name.as_str()) && !name.ends_with(".new")) {
            None => Ok(()),
            Some(name) => Err(format!("{name} is left")),
        }
    });
    expect_none(&wrong);
}

/// R4's marker of epoch 2 in a directory that does not hold the map of epoch 2.
fn marker_without_map(files: &Files, _cut: usize) -> Result<(), String> {
    let marker = files.get(META).and_then(|bytes| meta_epoch(bytes).ok());
    let map = files.get(MAP).and_then(|bytes| map_epoch(bytes).ok());
    if marker == Some(Epoch(2)) && map != Some(Epoch(2)) {
        return Err(format!("the marker stands with the map of {map:?}"));
    }
    Ok(())
}

#[test]
fn a_marker_that_is_written_after_its_map_never_stands_without_it() {
    let mut history = History::default();
    for epoch in 1..=2 {
        history.map(epoch);
        history.meta(epoch);
    }
    expect_none(&history.wrong(marker_without_map));
    // And the other order would be found.
    let mut other = History::default();
    other.map(1);
    other.meta(1);
    other.meta(2);
    other.map(2);
    assert!(!other.wrong(marker_without_map).is_empty());
}

/// The ways of replacing a file that this harness is there to find.
fn faulty(fault: &str, dir: &RecordedDirectory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = if fault == "in place" { name.to_owned() } else { format!("{name}.new") };
    let mut file = dir.create(&beside)?;
    file.write_all(bytes)?;
    if fault != "content not synced" && fault != "renamed before the sync" {
        file.sync()?;
    }
    if fault != "in place" {
        dir.rename(&beside, name)?;
    }
    if fault == "renamed before the sync" {
        file.sync()?;
    }
    if fault != "names not synced" {
        dir.sync_names()?;
    }
    Ok(())
}

#[test]
fn every_faulty_way_of_replacing_a_file_is_found() {
    for fault in ["in place", "content not synced", "renamed before the sync", "names not synced"] {
        let mut history = History::default();
        history.meta(1);
        for epoch in 2..=3 {
            history.keep(META, epoch, |dir| faulty(fault, dir, META, &meta(epoch).encode()));
        }
        assert!(!history.wrong_records().is_empty(), "{fault}: nothing went wrong");
    }
    let mut sound = History::default();
    for epoch in 1..=3 {
        sound.keep(META, epoch, |dir| replace(dir, META, &meta(epoch).encode()));
    }
    expect_none(&sound.wrong_records());
}
