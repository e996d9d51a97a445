//! Frames of the replication link, byte by byte.
//!
//! ```text
//!  0      1      2      4           8                  16         20
//!  +------+------+------+-----------+------------------+----------+------------+
//!  | kind | file | zero | body len  | offset or number | crc32c   | body ...   |
//!  +------+------+------+-----------+------------------+----------+------------+
//! ```
//! Little endian. The checksum covers the 16 bytes before it and the body. The length is checked
//! against [`BODY_BYTES_MAX`] before anything is allocated. The stream is ordered: a [`Frame::Barrier`]
//! covers every frame before it, of all files.

use super::ids::{Dbid, Epoch};
use super::report::CopyState;
use super::track::{BLOCK_BYTES, DirtyMap, FILE_BYTES_MAX, FileId, Run};
use super::verify::{CHUNK_BLOCKS, CHUNK_BYTES, Chunk, Held};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub const HEADER_BYTES: usize = 20;
/// The longest body: a manifest of a 1 TiB file whose every other block is dirty would pass it and
/// is then sent as "everything".
pub const BODY_BYTES_MAX: u32 = 16 << 20;
/// The longest run of data in one frame.
pub const DATA_BYTES_MAX: u64 = 1 << 20;
/// The longest body of a frame that says a few words: who opens, what is consistent, what failed.
pub const WORDS_BYTES_MAX: u32 = 64 << 10;

/// The longest body of [`Frame::Hashes`]: a length, and a hash for each block of a chunk.
const HASHES_BYTES_MAX: u32 = 8 + 16 * CHUNK_BLOCKS as u32;

/// The longest body of a kind, judged before anything is allocated for it. A kind that has no body has
/// no bytes of one either; an unknown kind is refused once its checksum has shown that it was meant.
fn body_max(kind: u8) -> u32 {
    match kind {
        1 | 6 | 70 => WORDS_BYTES_MAX,
        2 | 3 | 5 | 7 | 9 | 66 | 67 | 68 | 69 => 0,
        8 => 8,
        71 => HASHES_BYTES_MAX,
        4 => DATA_BYTES_MAX as u32,
        _ => BODY_BYTES_MAX,
    }
}

/// Whether a file may reach as far as `offset` and `len` say.
fn in_a_file(offset: u64, len: u64) -> Result<(), FrameError> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(()),
        _ => Err(FrameError::Beyond { offset, len }),
    }
}

/// What the primary says first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Open {
    pub epoch: Epoch,
    pub primary: Dbid,
    pub mirror: Dbid,
    pub copy: CopyState,
}

/// What the mirror answers: what it holds, and what it may hold that the primary does not know of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manifest {
    pub copy: CopyState,
    /// Length of each file by its number; `None` for one that does not exist.
    pub lengths: [Option<u64>; 2],
    /// Runs of blocks (file number, first, count) that differ on the mirror's account: every page
    /// named by a frame in its log file.
    pub contribution: Vec<(u8, u64, u64)>,
    /// Files that changed while the mirror was stopped, by name: copied whole.
    pub touched: Vec<String>,
    /// Why nothing tracked can explain this copy; `None` when it may be explained.
    pub unusable: Option<String>,
}

impl Manifest {
    /// The blocks that differ on the mirror's account; `None` when they name a file or a block that there
    /// can't be, or more blocks than all files have. Judged before a bit of them is set.
    pub fn contribution_map(&self) -> Option<DirtyMap> {
        const BLOCKS_MAX: u64 = FILE_BYTES_MAX / BLOCK_BYTES;
        let mut total = 0u64;
        let mut runs = Vec::with_capacity(self.contribution.len());
        for (file, first, count) in &self.contribution {
            let file = FileId::from_number(*file)?;
            total = total.checked_add(*count)?;
            if first.checked_add(*count)? > BLOCKS_MAX || total > BLOCKS_MAX * FileId::ALL.len() as u64 {
                return None;
            }
            runs.push(Run { file, first: *first, count: *count });
        }
        let mut map = DirtyMap::default();
        runs.into_iter().for_each(|run| map.mark(run));
        Some(map)
    }

    /// A length that no file can have would be marked block by block.
    fn checked(self) -> Result<Manifest, FrameError> {
        self.lengths.into_iter().flatten().try_for_each(|len| in_a_file(0, len))?;
        Ok(self)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Frame {
    // From the primary.
    Open(Open),
    /// From here on data follows; the mirror first marks itself inconsistent, durably.
    Begin,
    /// Make the file exist with this length.
    SetLen {
        file: FileId,
        len: u64,
    },
    Data {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Sync every file written so far, then answer [`Frame::Synced`].
    Barrier(u64),
    /// Sync, mark the copy consistent under the link's epoch durably, then answer.
    Consistent {
        copy: CopyState,
    },
    Ping(u64),
    /// Verify: hash what the file holds here, at this place of the stream, then answer [`Frame::Hashes`].
    Hash(Chunk),
    /// Verify: the two copies differ. Until it has been recovered the mirror must not take over.
    Differs,
    // From the mirror.
    Manifest(Manifest),
    Begun,
    Synced(u64),
    IsConsistent,
    Pong(u64),
    /// The file's length, and a hash for each block of the chunk at this offset.
    Hashes {
        file: FileId,
        offset: u64,
        held: Held,
    },
    /// The mirror can't go on, and why.
    Failed(String),
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    #[error("file number {0} is unknown")]
    UnknownFile(u8),
    #[error("frame kind {kind} says a body of {len} bytes, over its bound of {max}")]
    TooLong { kind: u8, len: u32, max: u32 },
    #[error("frame header says a body of {said} bytes, {found} are there")]
    Length { said: u32, found: usize },
    #[error("frame kind {kind} has something where it must have zeros")]
    NotZero { kind: u8 },
    #[error("bytes {offset} and {len} more lie beyond what a file may have ({FILE_BYTES_MAX})")]
    Beyond { offset: u64, len: u64 },
    #[error("frame checksum is {found:08x}, computed {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("frame body: {0}")]
    Body(String),
}

/// A checked header; the body of `body_len` bytes is read next.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; HEADER_BYTES],
    pub body_len: u32,
}

impl Frame {
    /// The frame's name, for a message that must not carry its data.
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Open(_) => "open",
            Frame::Begin => "begin",
            Frame::SetLen { .. } => "set length",
            Frame::Data { .. } => "data",
            Frame::Barrier(_) => "barrier",
            Frame::Consistent { .. } => "consistent",
            Frame::Ping(_) => "ping",
            Frame::Hash(_) => "hash",
            Frame::Differs => "differs",
            Frame::Manifest(_) => "manifest",
            Frame::Begun => "begun",
            Frame::Synced(_) => "synced",
            Frame::IsConsistent => "is consistent",
            Frame::Pong(_) => "pong",
            Frame::Hashes { .. } => "hashes",
            Frame::Failed(_) => "failed",
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Open(_) => 1,
            Frame::Begin => 2,
            Frame::SetLen { .. } => 3,
            Frame::Data { .. } => 4,
            Frame::Barrier(_) => 5,
            Frame::Consistent { .. } => 6,
            Frame::Ping(_) => 7,
            Frame::Hash(_) => 8,
            Frame::Differs => 9,
            Frame::Manifest(_) => 65,
            Frame::Begun => 66,
            Frame::Synced(_) => 67,
            Frame::IsConsistent => 68,
            Frame::Pong(_) => 69,
            Frame::Failed(_) => 70,
            Frame::Hashes { .. } => 71,
        }
    }

    /// What the header says beside kind and length: a file by its number, and an offset or a number.
    fn place(&self) -> (u8, u64) {
        match self {
            Frame::SetLen { file, len } => (file.number(), *len),
            Frame::Data { file, offset, .. } | Frame::Hashes { file, offset, .. } => (file.number(), *offset),
            Frame::Hash(chunk) => (chunk.file.number(), chunk.offset),
            Frame::Barrier(n) | Frame::Ping(n) | Frame::Synced(n) | Frame::Pong(n) => (0, *n),
            _ => (0, 0),
        }
    }

    /// Bytes on the wire, for the bound of the queue.
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES + if let Frame::Data { bytes, .. } = self { bytes.len() } else { 0 }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let data = self.encode_head(out);
        out.extend_from_slice(data);
    }

    /// Appends the frame to `out`, but for its data: those are returned, and go out after it as they are.
    pub fn encode_head(&self, out: &mut Vec<u8>) -> &[u8] {
        let body = self.body();
        out.extend_from_slice(&self.header_of(&body));
        match (self, body) {
            (Frame::Data { bytes, .. }, _) => bytes,
            (_, body) => {
                out.extend_from_slice(&body);
                &[]
            }
        }
    }

    fn body(&self) -> std::borrow::Cow<'_, [u8]> {
        let json = |v: &dyn erased::ToJson| v.to_json();
        match self {
            Frame::Data { bytes, .. } => bytes.as_slice().into(),
            Frame::Open(open) => json(open).into(),
            Frame::Consistent { copy } => json(copy).into(),
            Frame::Manifest(manifest) => json(manifest).into(),
            Frame::Hash(chunk) => chunk.len.to_le_bytes().to_vec().into(),
            Frame::Hashes { held, .. } => hashes_body(held).into(),
            // The words of a system may be long; cut short they still say what failed.
            Frame::Failed(why) => why.as_bytes()[..why.len().min(WORDS_BYTES_MAX as usize)].into(),
            _ => (&[][..]).into(),
        }
    }

    fn header_of(&self, body: &[u8]) -> [u8; HEADER_BYTES] {
        let (file, number) = self.place();
        let mut header = [0u8; HEADER_BYTES];
        header[0] = self.kind();
        header[1] = file;
        let len = u32::try_from(body.len()).expect("bodies are built below the bound");
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..16].copy_from_slice(&number.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), body);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Checks the bound before the body is read.
    pub fn header(bytes: [u8; HEADER_BYTES]) -> Result<Header, FrameError> {
        let body_len = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        let (kind, max) = (bytes[0], body_max(bytes[0]));
        if body_len > max {
            return Err(FrameError::TooLong { kind, len: body_len, max });
        }
        Ok(Header { bytes, body_len })
    }

    /// Reads a frame of which the header was checked. What has no meaning in its kind must be zero: a
    /// frame has one spelling.
    pub fn decode(header: Header, body: Vec<u8>) -> Result<Frame, FrameError> {
        let Header { bytes, body_len } = header;
        if body.len() != body_len as usize {
            return Err(FrameError::Length { said: body_len, found: body.len() });
        }
        let found = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes"));
        let computed = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), &body);
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let number = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let file = || FileId::from_number(bytes[1]).ok_or(FrameError::UnknownFile(bytes[1]));
        let frame = match bytes[0] {
            1 => Frame::Open(from_json(&body)?),
            2 => Frame::Begin,
            3 => {
                in_a_file(0, number)?;
                Frame::SetLen { file: file()?, len: number }
            }
            4 => {
                in_a_file(number, body.len() as u64)?;
                Frame::Data { file: file()?, offset: number, bytes: body }
            }
            5 => Frame::Barrier(number),
            6 => Frame::Consistent { copy: from_json(&body)? },
            7 => Frame::Ping(number),
            8 => {
                let len = chunk_len(&body)?;
                in_a_file(number, len)?;
                Frame::Hash(Chunk { file: file()?, offset: number, len })
            }
            9 => Frame::Differs,
            65 => Frame::Manifest(from_json::<Manifest>(&body)?.checked()?),
            66 => Frame::Begun,
            67 => Frame::Synced(number),
            68 => Frame::IsConsistent,
            69 => Frame::Pong(number),
            70 => Frame::Failed(String::from_utf8_lossy(&body).into_owned()),
            71 => {
                let held = held(&body)?;
                in_a_file(0, held.file_len)?;
                in_a_file(number, held.hashes.len() as u64 * BLOCK_BYTES)?;
                Frame::Hashes { file: file()?, offset: number, held }
            }
            other => return Err(FrameError::UnknownKind(other)),
        };
        if frame.place() != (bytes[1], number) || bytes[2..4] != [0, 0] {
            return Err(FrameError::NotZero { kind: bytes[0] });
        }
        Ok(frame)
    }
}

/// The length of a chunk, which no request may make longer than a chunk is.
fn chunk_len(body: &[u8]) -> Result<u64, FrameError> {
    let len = body.try_into().map(u64::from_le_bytes);
    len.ok().filter(|len| *len <= CHUNK_BYTES).ok_or_else(|| FrameError::Body("is no length of a chunk".into()))
}

fn hashes_body(held: &Held) -> Vec<u8> {
    let hashes = held.hashes.iter().flat_map(|hash| hash.to_le_bytes());
    held.file_len.to_le_bytes().into_iter().chain(hashes).collect()
}

fn held(body: &[u8]) -> Result<Held, FrameError> {
    let wrong = || FrameError::Body("is no list of a chunk's hashes".into());
    let (file_len, hashes) = body.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (hashes, rest) = hashes.as_chunks::<16>();
    if !rest.is_empty() || hashes.len() > CHUNK_BLOCKS {
        return Err(wrong());
    }
    let hashes = hashes.iter().map(|hash| u128::from_le_bytes(*hash)).collect();
    Ok(Held { file_len: u64::from_le_bytes(*file_len), hashes })
}

fn from_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(|e| FrameError::Body(e.to_string()))
}

mod erased {
    /// `serde::Serialize` is not object safe; this is, for the three bodies that are JSON.
    pub trait ToJson {
        fn to_json(&self) -> Vec<u8>;
    }
    impl<T: serde::Serialize> ToJson for T {
        fn to_json(&self) -> Vec<u8> {
            serde_json::to_vec(self).expect("plain structs always serialize")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::CopyId;
    use proptest::prelude::*;

    fn every_kind() -> Vec<Frame> {
        let copy = CopyState { copy: CopyId(7), generation: Epoch(3) };
        vec![
            Frame::Open(Open { epoch: Epoch(4), primary: Dbid(2), mirror: Dbid(6), copy }),
            Frame::Begin,
            Frame::SetLen { file: FileId::Wal, len: 12345 },
            Frame::Data { file: FileId::Main, offset: 1 << 39, bytes: vec![1, 2, 3] },
            Frame::Barrier(9),
            Frame::Consistent { copy },
            Frame::Ping(11),
            Frame::Manifest(Manifest {
                copy,
                lengths: [Some(1), None],
                contribution: vec![(0, 1, 2)],
                touched: vec![],
                unusable: None,
            }),
            Frame::Begun,
            Frame::Synced(9),
            Frame::IsConsistent,
            Frame::Pong(11),
            Frame::Hash(Chunk { file: FileId::Wal, offset: 2 << 20, len: 5000 }),
            Frame::Differs,
            Frame::Hashes { file: FileId::Main, offset: 3 << 20, held: Held { file_len: 9, hashes: vec![1, 2 << 99] } },
            Frame::Failed("no space".into()),
        ]
    }

    fn sealed(mut header: [u8; HEADER_BYTES], body: &[u8]) -> Vec<u8> {
        header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), body);
        header[16..].copy_from_slice(&crc.to_le_bytes());
        [&header[..], body].concat()
    }

    #[test]
    fn a_frame_has_one_spelling() {
        for frame in every_kind() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (header, body) = bytes.split_at(HEADER_BYTES);
            let header: [u8; HEADER_BYTES] = header.try_into().expect("a header");
            let mut reserved = header;
            reserved[2] = 1;
            assert_eq!(decode(&sealed(reserved, body)), Err(FrameError::NotZero { kind: header[0] }));
            if body.is_empty() {
                let error = decode(&sealed(header, b"x"));
                assert_eq!(error, Err(FrameError::TooLong { kind: header[0], len: 1, max: 0 }));
            }
        }
    }

    #[test]
    fn no_frame_reaches_beyond_what_a_file_may_have() {
        let beyond = [
            Frame::SetLen { file: FileId::Main, len: u64::MAX },
            Frame::Data { file: FileId::Wal, offset: u64::MAX, bytes: vec![0; 2] },
            Frame::Data { file: FileId::Wal, offset: FILE_BYTES_MAX, bytes: vec![0] },
        ];
        for frame in beyond {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert!(matches!(decode(&bytes), Err(FrameError::Beyond { .. })), "{frame:?}");
        }
    }

    #[test]
    fn a_contribution_of_more_than_there_can_be_is_none_and_costs_nothing() {
        let copy = CopyState { copy: CopyId(7), generation: Epoch(3) };
        let manifest =
            |contribution| Manifest { copy, lengths: [None; 2], contribution, touched: vec![], unusable: None };
        let whole = FILE_BYTES_MAX / BLOCK_BYTES;
        let impossible = [vec![(0, 0, 1 << 40)], vec![(0, u64::MAX, 1)], vec![(9, 0, 1)], vec![(0, 0, whole); 1000]];
        for contribution in impossible {
            assert_eq!(manifest(contribution).contribution_map(), None);
        }
        assert_eq!(manifest(vec![(1, 3, 2)]).contribution_map().map(|m| m.count()), Some(2));
    }

    fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let header = Frame::header(bytes[..HEADER_BYTES].try_into().expect("a whole header"))?;
        Frame::decode(header, bytes[HEADER_BYTES..].to_vec())
    }

    #[test]
    fn every_frame_comes_back_as_it_was() {
        for frame in every_kind() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(decode(&bytes), Ok(frame));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for frame in every_kind() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(decode(&bytes), Ok(frame.clone()), "bit {bit} of {frame:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES..200)) {
            let _ = decode(&bytes);
        }
    }
}
