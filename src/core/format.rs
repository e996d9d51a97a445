//! The engine's own files in a data directory, byte by byte: an envelope around a body.
//!
//! ```text
//!  0          8          12         20        24
//!  +----------+----------+----------+---------+-----------+
//!  | magic    | version  | body len | crc32c  | body ...  |
//!  +----------+----------+----------+---------+-----------+
//! ```
//! Little endian; the checksum covers the 20 bytes before it and the body. `segment.meta` has a JSON
//! body ([`Meta`]); `track.map` a JSON head and the words of the bitmaps ([`TrackMap`]). Both are
//! replaced whole: written beside, synced, renamed, directory synced.

use super::ids::{Content, CopyId, Dbid, Epoch};
use super::pair::binding::Binding;
use super::report::{CopyState, Soundness};
use super::track::{BLOCK_BYTES, DirtyMap, FileId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Not text, so that no text file passes for one of ours.
pub const META_MAGIC: [u8; 8] = *b"\x89SEGMET\n";
pub const MAP_MAGIC: [u8; 8] = *b"\x89SEGMAP\n";
pub const VERSION: u32 = 2;
pub const ENVELOPE_BYTES: usize = 24;
/// 1 TiB of blocks as one bitmap, and room for its head.
pub const BODY_BYTES_MAX: u64 = (32 << 20) + (64 << 10);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    #[error("is {found} bytes long, shorter than its header")]
    Short { found: usize },
    #[error("is not such a file: its first bytes are {found:02x?}")]
    Magic { found: [u8; 8] },
    #[error("has format version {found}, this release reads version {VERSION}: use the release that wrote it")]
    Version { found: u32 },
    #[error("says its body is {said} bytes, {found} are there")]
    Length { said: u64, found: u64 },
    #[error("is damaged: checksum {found:08x}, computed {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("has a body that can't be read: {0}")]
    Body(String),
}

/// Puts a body into its envelope.
pub fn seal(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Takes a body out of its envelope, or says what is wrong with it.
pub fn open(magic: [u8; 8], bytes: &[u8]) -> Result<&[u8], FormatError> {
    let Some((head, body)) = bytes.split_at_checked(ENVELOPE_BYTES) else {
        return Err(FormatError::Short { found: bytes.len() });
    };
    let found: [u8; 8] = head[..8].try_into().expect("eight bytes");
    if found != magic {
        return Err(FormatError::Magic { found });
    }
    let version = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(FormatError::Version { found: version });
    }
    let said = u64::from_le_bytes(head[12..20].try_into().expect("eight bytes"));
    if said != body.len() as u64 || said > BODY_BYTES_MAX {
        return Err(FormatError::Length { said, found: body.len() as u64 });
    }
    let found = u32::from_le_bytes(head[20..24].try_into().expect("four bytes"));
    let computed = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), body);
    if found != computed {
        return Err(FormatError::Checksum { found, computed });
    }
    Ok(body)
}

/// What a file looked like at a clean end, so that a touch from outside is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    pub name: String,
    pub inode: u64,
    pub bytes: u64,
    /// Change time, seconds and nanoseconds.
    pub changed: (i64, i64),
}

/// `segment.meta`: who this copy is, and what it last knew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meta {
    pub cluster_id: String,
    pub dbid: Dbid,
    pub content: Content,
    pub copy: CopyId,
    /// The epoch of the link over which this copy was last in sync.
    pub generation: Epoch,
    /// The copy it was then in sync with; `None` without a mirror, and for a new copy.
    pub peer: Option<CopyState>,
    /// The highest epoch obeyed.
    pub epoch: Epoch,
    /// The highest epoch obeyed as the acting primary: who served last, should the catalog be lost. 0:
    /// never, or written by a release that did not keep it.
    #[serde(default)]
    pub acted: Epoch,
    /// False from the first byte of a copy until it is whole: never promotable meanwhile (R4).
    pub consistent: bool,
    /// main.db was written outside a checkpoint, so its log does not name every page it changed.
    pub written_outside_checkpoint: bool,
    /// The files at the last clean end; emptied when the process takes on a role.
    pub stamps: Vec<Stamp>,
    /// Files that changed behind the engine's back, by name: copied whole, until in sync again.
    pub touched: Vec<String>,
    /// Whether this side's data may be copied over its mirror's.
    #[serde(default)]
    pub soundness: Soundness,
}

impl Meta {
    pub fn copy_state(&self) -> CopyState {
        CopyState { copy: self.copy, generation: self.generation }
    }

    /// The map that counts beside this record. Being in sync makes the map empty, and the record alone says
    /// so: a map that was written before this copy's generation is void from then on, and nobody has to
    /// write it again while commits wait.
    pub fn map_in_force(&self, stored: TrackMap) -> TrackMap {
        match self.peer {
            Some(peer) if stored.written_in < self.generation => {
                TrackMap { binding: Binding::to(peer), written_in: self.generation, dirty: DirtyMap::default() }
            }
            _ => stored,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        seal(META_MAGIC, &serde_json::to_vec(self).expect("a plain struct always serializes"))
    }

    pub fn decode(bytes: &[u8]) -> Result<Meta, FormatError> {
        serde_json::from_slice(open(META_MAGIC, bytes)?).map_err(|e| FormatError::Body(e.to_string()))
    }
}

/// `track.map`: the blocks that differ from one copy of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrackMap {
    pub binding: Binding,
    /// The generation of the copy beside which the map was written: see [`Meta::map_in_force`].
    pub written_in: Epoch,
    pub dirty: DirtyMap,
}

#[derive(Serialize, Deserialize)]
struct MapHead {
    binding: Binding,
    written_in: Epoch,
    words: [u64; 2],
}

/// Bytes of a map beyond the bits of main.db: its envelope, its head, the bits of a log of 1 GiB.
const MAP_BYTES_BESIDE_MAIN: u64 = 64 << 10;

impl TrackMap {
    /// Bytes that the map of a main.db of so many bytes can take.
    pub fn bytes_max(main_bytes: u64) -> u64 {
        MAP_BYTES_BESIDE_MAIN + main_bytes.div_ceil(BLOCK_BYTES * 64) * 8
    }

    pub fn encode(&self) -> Vec<u8> {
        let words = FileId::ALL.map(|f| self.dirty.words(f).len() as u64);
        let head = serde_json::to_vec(&MapHead { binding: self.binding, written_in: self.written_in, words })
            .expect("a plain struct always serializes");
        let mut body = (head.len() as u32).to_le_bytes().to_vec();
        body.extend_from_slice(&head);
        for file in FileId::ALL {
            self.dirty.words(file).iter().for_each(|w| body.extend_from_slice(&w.to_le_bytes()));
        }
        seal(MAP_MAGIC, &body)
    }

    pub fn decode(bytes: &[u8]) -> Result<TrackMap, FormatError> {
        let short = || FormatError::Body("shorter than it says".into());
        let (len, rest) = open(MAP_MAGIC, bytes)?.split_at_checked(4).ok_or_else(short)?;
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let (head, mut rest) = rest.split_at_checked(len).ok_or_else(short)?;
        let head: MapHead = serde_json::from_slice(head).map_err(|e| FormatError::Body(e.to_string()))?;
        let mut dirty = DirtyMap::default();
        for (file, count) in FileId::ALL.into_iter().zip(head.words) {
            let bytes = usize::try_from(count).ok().and_then(|c| c.checked_mul(8)).ok_or_else(short)?;
            let (words, more) = rest.split_at_checked(bytes).ok_or_else(short)?;
            let words = words.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().expect("eight bytes")));
            dirty.set_words(file, words.collect());
            rest = more;
        }
        if !rest.is_empty() {
            return Err(FormatError::Body(format!("{} bytes too many", rest.len())));
        }
        Ok(TrackMap { binding: head.binding, written_in: head.written_in, dirty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::track::Run;
    use proptest::prelude::*;

    fn map() -> TrackMap {
        let mut dirty = DirtyMap::default();
        dirty.mark(Run { file: FileId::Main, first: 3, count: 200 });
        dirty.mark(Run { file: FileId::Wal, first: 0, count: 1 });
        let binding = Binding { copy: CopyId(9), generation: Epoch(4), pending_generation: Some(Epoch(6)) };
        TrackMap { binding, written_in: Epoch(4), dirty }
    }

    #[test]
    fn a_map_comes_back_as_it_was_and_any_flipped_byte_is_named_damage() {
        let bytes = map().encode();
        assert_eq!(TrackMap::decode(&bytes), Ok(map()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(TrackMap::decode(&damaged).is_err(), "byte {at}");
            assert!(TrackMap::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_even_under_a_valid_checksum(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = TrackMap::decode(&seal(MAP_MAGIC, &body));
            let _ = Meta::decode(&seal(META_MAGIC, &body));
            let _ = Meta::decode(&body);
        }
    }
}
