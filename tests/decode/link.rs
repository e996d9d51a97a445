//! Frames of the replication link.

use crate::harness::Decoder;
use crate::samples;
use segsh::core::frame::{BODY_BYTES_MAX, DATA_BYTES_MAX, Frame, HEADER_BYTES, WORDS_BYTES_MAX};
use segsh::core::verify::CHUNK_BLOCKS;

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// As the link reads: the header is judged before there is room for a body.
fn decode(bytes: &[u8]) -> Result<Frame, String> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("a header cut short")?;
    let header = Frame::header(*header).map_err(|e| e.to_string())?;
    let body = rest.get(..header.body_len as usize).ok_or("a body cut short")?;
    let frame = Frame::decode(header, body.to_vec()).map_err(|e| e.to_string())?;
    if rest.len() > body.len() {
        return Err("another frame follows".into());
    }
    Ok(frame)
}

fn reseal(bytes: &mut [u8]) {
    if let Some((header, body)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
        header[4..8].copy_from_slice(&u32::try_from(body.len()).expect("small").to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), body);
        header[16..].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn a_frame_is_refused_when_anything_of_it_is_changed_and_costs_little() {
    let samples = samples::frames().iter().map(encode).collect();
    Decoder { samples, reseal, decode, encode, memory: |bytes| 32 * bytes, sealed: true }.run();
}

/// The bits of both files at their longest, grown by doubling.
const MAPS: u64 = 4 * (64 << 20);

#[test]
fn a_mirrors_contribution_takes_no_more_than_the_bits_of_the_longest_files() {
    let manifests = samples::frames().iter().filter(|f| matches!(f, Frame::Manifest(_))).map(encode).collect();
    let decode = |bytes: &[u8]| {
        let frame = decode(bytes)?;
        if let Frame::Manifest(manifest) = &frame {
            let _ = manifest.contribution_map();
        }
        Ok(frame)
    };
    Decoder { samples: manifests, reseal, decode, encode, memory: |bytes| MAPS + 32 * bytes, sealed: false }.run();
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_there_is_room_for_it() {
    for kind in 0..=u8::MAX {
        let bound = match kind {
            4 => u32::try_from(DATA_BYTES_MAX).expect("small"),
            1 | 6 | 70 => WORDS_BYTES_MAX,
            2 | 3 | 5 | 7 | 9 | 66..=69 => 0,
            8 => 8,
            71 => 8 + 16 * CHUNK_BLOCKS as u32,
            _ => BODY_BYTES_MAX,
        };
        let header = |len: u32| {
            let mut header = [0; HEADER_BYTES];
            header[0] = kind;
            header[4..8].copy_from_slice(&len.to_le_bytes());
            Frame::header(header)
        };
        assert!(header(bound).is_ok(), "kind {kind}");
        let said = header(bound + 1).expect_err("over its bound").to_string();
        assert!(said.contains(&bound.to_string()), "kind {kind}: {said}");
    }
}
