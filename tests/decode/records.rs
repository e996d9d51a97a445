//! The engine's own files, and SQLite's log as far as it is read.

use crate::harness::{Decoder, ITERATIONS, mutate};
use crate::samples;
use segsh::core::backup::Manifest;
use segsh::core::format::{BODY_BYTES_MAX, ENVELOPE_BYTES, FormatError, META_MAGIC, Meta, TrackMap, VERSION, seal};
use segsh::core::track::{BLOCK_BYTES, FileId};
use segsh::core::wal;
use segsh::engine::{MAP, META, load_map, load_meta};
use std::fs::File;

fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= ENVELOPE_BYTES {
        let magic = bytes[..8].try_into().expect("eight bytes");
        let sealed = seal(magic, &bytes[ENVELOPE_BYTES..]);
        bytes.copy_from_slice(&sealed);
    }
}

#[test]
fn a_segments_meta_is_refused_when_anything_of_it_is_changed_and_costs_little() {
    let decoder = Decoder {
        samples: samples::metas().iter().map(Meta::encode).collect(),
        reseal,
        decode: |bytes| Meta::decode(bytes).map_err(|e| e.to_string()),
        encode: Meta::encode,
        memory: |bytes| 32 * bytes,
        sealed: true,
    };
    decoder.run();
}

#[test]
fn a_map_is_refused_when_anything_of_it_is_changed_and_costs_little() {
    let decoder = Decoder {
        samples: samples::maps().iter().map(TrackMap::encode).collect(),
        reseal,
        decode: |bytes| TrackMap::decode(bytes).map_err(|e| e.to_string()),
        encode: TrackMap::encode,
        memory: |bytes| 8 * bytes,
        sealed: true,
    };
    decoder.run();
}

#[test]
fn a_manifest_of_a_backup_is_read_or_refused_whatever_is_changed_and_costs_little() {
    let decoder = Decoder {
        samples: samples::backup_manifests().iter().map(Manifest::encode).collect(),
        // Its checksum stands in another file.
        reseal: |_| (),
        decode: |bytes| Manifest::decode(bytes).map_err(|e| e.to_string()),
        encode: Manifest::encode,
        memory: |bytes| 64 * bytes,
        sealed: false,
    };
    decoder.run();
}

/// What each part of the envelope says when it is wrong.
fn words_of(error: &FormatError) -> &'static str {
    match error {
        FormatError::Short { .. } => "shorter than its header",
        FormatError::Magic { .. } => "its first bytes",
        FormatError::Version { .. } => "format version",
        FormatError::Length { .. } => "says its body",
        FormatError::Checksum { .. } => "checksum",
        FormatError::Body(_) => "body",
    }
}

#[test]
fn a_damaged_record_is_named_with_its_path_and_with_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = [
        (META, samples::metas()[0].encode(), (|d| load_meta(d).map(drop)) as fn(&_) -> _),
        (MAP, samples::maps()[1].encode(), |d| load_map(d).map(drop)),
    ];
    for (name, bytes, load) in files {
        let path = dir.path().join(name);
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            load(dir.path()).map_err(|e| e.to_string())
        };
        assert_eq!(told(&bytes), Ok(()));
        // Byte, and the words that say what is wrong when it is another.
        let table =
            [(0, "its first bytes"), (8, "format version"), (12, "says its body"), (20, "checksum"), (30, "checksum")];
        for (at, words) in table {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            let said = told(&damaged).expect_err("it is damaged");
            assert!(said.starts_with(&path.display().to_string()), "{said}");
            assert!(said.contains(words), "byte {at}: {said}");
        }
        let said = told(&bytes[..10]).expect_err("it is cut");
        assert!(said.contains(words_of(&FormatError::Short { found: 10 })), "{said}");
        let said = told(&bytes[..bytes.len() / 2]).expect_err("it is cut");
        assert!(said.contains("says its body"), "{said}");
        let mut newer = bytes.clone();
        newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let said = told(&newer).expect_err("it is newer");
        assert!(
            said.contains(&format!("version {}", VERSION + 1)) && said.contains(&format!("version {VERSION}")),
            "{said}"
        );
    }
}

#[test]
fn a_record_that_is_longer_than_any_can_be_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = File::create(dir.path().join(META)).expect("a file");
    // Sparse: it takes no room, and reading all of it would take 64 GiB.
    file.set_len(64 << 30).expect("a sparse file");
    let mut said = None;
    let taken = allocation_counter::measure(|| said = load_meta(dir.path()).err()).bytes_max;
    assert!(taken <= 4 * BODY_BYTES_MAX, "{taken} bytes");
    assert!(said.is_some_and(|e| e.to_string().contains(META)));
    assert!(matches!(Meta::decode(&seal(META_MAGIC, b"[]")), Err(FormatError::Body(_))));
}

#[test]
fn a_logs_frames_mark_the_pages_they_name_and_no_others() {
    let frame = |page: u32| {
        let mut frame = vec![0x5a; usize::try_from(wal::FRAME_BYTES).expect("small")];
        frame[..4].copy_from_slice(&page.to_be_bytes());
        frame
    };
    let header = vec![0x37; usize::try_from(wal::WAL_HEADER_BYTES).expect("small")];
    let log: Vec<u8> = header.into_iter().chain([1, 9, 3].into_iter().flat_map(frame)).collect();
    let read = |log: &[u8]| {
        let mut pages = wal::NamedPages::begin(&log[..log.len().min(32)], 9);
        for index in 0..wal::frames_in(log.len() as u64) {
            let at = usize::try_from(wal::frame_offset(index)).expect("within the log");
            pages.frame(&log[at.min(log.len())..log.len().min(at + 24)]);
        }
        pages.end()
    };
    assert_eq!(read(&log).count_of(FileId::Main), 3);
    mutate(ITERATIONS / 10, |mutation| {
        let bytes = mutation.of(std::slice::from_ref(&log), |_| ());
        let map = read(&bytes);
        assert!(map.runs().iter().all(|run| run.file == FileId::Main && run.end() <= 9));
    });
    // However long a file says it is, where its frames are can be computed.
    for len in [0, 1, 31, 32, 33, u64::MAX / BLOCK_BYTES, u64::MAX] {
        let frames = wal::frames_in(len);
        assert!(frames == 0 || wal::frame_offset(frames - 1) < len, "{len}");
    }
}
