//! Control, host and client messages, and the handshake before all of them.

use crate::harness::{Decoder, ITERATIONS, mutate};
use crate::samples;
use bytes::BytesMut;
use segsh::core::ids::Dbid;
use segsh::net::handshake::{Action, Handshake};
use segsh::net::{ClusterKey, Credentials, Identity, NetError, Peer, Purpose, decode_frame, encode_frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::panic::RefUnwindSafe;

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_frame(message, &mut out).expect("it has a JSON form");
    out.to_vec()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut input = BytesMut::from(bytes);
    let message = decode_frame(&mut input).map_err(|e| e.to_string())?;
    if !input.is_empty() {
        return Err("another frame follows, or the rest of this one".into());
    }
    message.ok_or_else(|| "not all of it is there".into())
}

fn reseal(bytes: &mut [u8]) {
    if let Some((header, body)) = bytes.split_first_chunk_mut::<8>() {
        header[..4].copy_from_slice(&u32::try_from(body.len()).expect("small").to_le_bytes());
        header[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    }
}

/// The room a promised length may take at once: the bound of a frame.
const PROMISED: u64 = 2 * segsh::net::MAX_FRAME as u64;

fn run<T: Serialize + DeserializeOwned + PartialEq + Debug + RefUnwindSafe>(samples: &[T]) {
    let samples = samples.iter().map(encode).collect();
    Decoder { samples, reseal, decode: decode::<T>, encode, memory: |bytes| PROMISED + 64 * bytes, sealed: true }.run();
}

#[test]
fn what_the_coordinator_says_to_a_segment() {
    run(&samples::to_segment());
}

#[test]
fn what_a_segment_says_to_the_coordinator() {
    run(&samples::from_segment());
}

#[test]
fn what_a_client_asks_of_the_coordinator() {
    run(&samples::requests());
}

#[test]
fn what_the_coordinator_answers_a_client() {
    run(&samples::replies());
}

#[test]
fn what_is_asked_of_a_host() {
    run(&samples::host_requests());
}

#[test]
fn what_a_host_answers() {
    run(&samples::host_replies());
}

#[test]
fn what_is_said_on_the_connection_of_a_backup() {
    run(&samples::to_backup());
    run(&samples::from_backup());
}

struct Side {
    handshake: Handshake,
    inbox: Vec<u8>,
    wants: usize,
    end: Option<Result<Peer, NetError>>,
}

impl Side {
    fn new(handshake: Result<Handshake, NetError>) -> Side {
        Side { handshake: handshake.expect("random bytes"), inbox: Vec::new(), wants: 0, end: None }
    }
}

/// Both sides against each other; `twist` sees every message by its number and may change it.
fn converse(mut twist: impl FnMut(usize, &mut Vec<u8>)) -> [Option<Result<Peer, NetError>>; 2] {
    let me = |identity| Credentials::new(ClusterKey::from_bytes(&[7; 32]), identity);
    let there = Identity::Segment(Dbid(4));
    let mut sides = [
        Side::new(Handshake::initiator(&me(Identity::Coordinator), Purpose::Control, Some(&there))),
        Side::new(Handshake::responder(&me(there.clone()), &Purpose::ALL)),
    ];
    let mut sent = 0;
    while let Some(i) = (0..2).find(|&i| sides[i].end.is_none() && sides[i].inbox.len() >= sides[i].wants) {
        let wants = std::mem::take(&mut sides[i].wants);
        let input: Vec<u8> = sides[i].inbox.drain(..wants).collect();
        let (mut bytes, end) = match sides[i].handshake.next(&input) {
            Action::Read(count) => {
                assert!(count <= 1024, "{count} bytes are waited for");
                sides[i].wants = count;
                continue;
            }
            Action::Write(bytes) => (bytes, None),
            Action::Fail(bytes, error) => (bytes, Some(Err(error))),
            Action::Done(peer) => (Vec::new(), Some(Ok(peer))),
        };
        sides[i].end = end;
        twist(sent, &mut bytes);
        sent += 1;
        sides[1 - i].inbox.extend_from_slice(&bytes);
    }
    sides.map(|side| side.end)
}

#[test]
fn a_handshake_of_which_a_message_was_changed_opens_nothing() {
    let mut messages = Vec::new();
    let ends = converse(|_, bytes| messages.push(bytes.clone()));
    assert!(ends.iter().all(|end| matches!(end, Some(Ok(_)))), "{ends:?}");
    mutate(ITERATIONS / 4, |mutation| {
        let mut changed = None;
        let number = usize::from(mutation.number()) % 4;
        let ends = converse(|n, bytes| {
            if n == number {
                // The other messages of an earlier conversation are what can be spliced in.
                let samples: Vec<Vec<u8>> = std::iter::once(bytes.clone()).chain(messages.iter().cloned()).collect();
                let twisted = mutation.of_first(&samples);
                changed = Some((twisted != *bytes, twisted.starts_with(bytes)));
                *bytes = twisted;
            }
        });
        // What comes after a whole and right message is the next protocol's to judge.
        if let Some((true, false)) = changed {
            assert!(!matches!(ends[0], Some(Ok(_))), "message {number}: {ends:?}");
        }
        for end in ends.iter().flatten() {
            assert!(end.as_ref().err().is_none_or(|e| !e.to_string().is_empty()));
        }
    });
}
