//! The mutual challenge, as a pure state machine: bytes in, bytes out, no socket and no clock.
//!
//! ```text
//! initiator                                    responder
//!   hello   prefix, purpose, nonce, identity  ->
//!                                             <-  answer   prefix, nonce, code, identity
//!   proof   tag, code                         ->
//!                                             <-  verdict  tag
//! prefix = magic (8), version (u16 LE), length of the rest (u16 LE)
//! code   = HMAC-SHA256(cluster key, label of the side, hello, answer without its code)
//! ```
//! Both nonces, both identities, the purpose and the version are under both codes, and the label
//! differs by side, so nothing said on one connection can be said again on another, nor back to the
//! one who said it. The prefix is the same in every version, and nothing else of another is parsed. The
//! responder answers anyone who sends a well-formed hello, which gives away nothing but a code over
//! its own fresh nonce; the initiator proves itself only to a proven responder.

use super::error::NetError;
use super::identity::{Credentials, Identity, Peer, Purpose};
use ring::rand::{SecureRandom, SystemRandom};

/// The protocol's version: it changes with every change of what follows the handshake, too.
pub const VERSION: u16 = 2;

const MAGIC: [u8; 8] = *b"\x89segsh\r\n";
const PREFIX: usize = MAGIC.len() + 4;
const NONCE: usize = 32;
const CODE: usize = 32;
const PROOF: usize = 1 + CODE;
const MAX_IDENTITY: usize = 128;
/// The longest rest of a hello of another version that is waited for.
const MAX_FOREIGN: usize = 1024;
const INITIATOR: &[u8] = b"segsh initiator\0";
const RESPONDER: &[u8] = b"segsh responder\0";

const TAG_PROOF: u8 = 1;
const TAG_WRONG_KEY: u8 = 2;
const TAG_WRONG_PEER: u8 = 3;
const TAG_WELCOME: u8 = 1;
const TAG_WRONG_PURPOSE: u8 = 4;

/// What the driver of a handshake does next.
#[derive(Debug)]
pub enum Action {
    /// Send these bytes, then call [`Handshake::next`] with no input.
    Write(Vec<u8>),
    /// Read exactly so many bytes, and call [`Handshake::next`] with them.
    Read(usize),
    /// Send these bytes as far as that is possible; the handshake has failed.
    Fail(Vec<u8>, NetError),
    /// Both sides have proven themselves.
    Done(Peer),
}

/// One side of one handshake.
pub struct Handshake {
    me: Credentials,
    nonce: [u8; NONCE],
    side: Side,
    state: State,
    /// The hello, and after it the answer without its code: what both codes are made over.
    transcript: Vec<u8>,
}

enum Side {
    Initiator { purpose: Purpose, expected: Option<Identity> },
    Responder { served: Vec<Purpose> },
}

enum State {
    Start,
    Prefix,
    Rest,
    /// Responder: the hello is of another version; it is read, for closing a connection with bytes
    /// unread could take our reply with it.
    OtherVersion(u16),
    /// Initiator: the answer is proven, our proof is on its way.
    ProofSent(Identity),
    Verdict(Identity),
    /// Responder: the answer is on its way.
    AnswerSent(Peer),
    Proof(Peer),
    WelcomeSent(Peer),
    Over,
}

impl Handshake {
    /// The side that connects. `expected` is who must be at the other end.
    pub fn initiator(me: &Credentials, purpose: Purpose, expected: Option<&Identity>) -> Result<Handshake, NetError> {
        Handshake::new(me, Side::Initiator { purpose, expected: expected.cloned() })
    }

    /// The side that accepted, and serves these purposes.
    pub fn responder(me: &Credentials, served: &[Purpose]) -> Result<Handshake, NetError> {
        Handshake::new(me, Side::Responder { served: served.to_vec() })
    }

    fn new(me: &Credentials, side: Side) -> Result<Handshake, NetError> {
        if me.identity.to_string().len() > MAX_IDENTITY {
            return Err(NetError::Local(format!("identity `{}` is too long", me.identity)));
        }
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).map_err(|_| NetError::Local("the system gives no random bytes".into()))?;
        Ok(Handshake { me: me.clone(), nonce, side, state: State::Start, transcript: Vec::new() })
    }

    /// Goes on with what was read: exactly what the last [`Action::Read`] asked for, else nothing.
    pub fn next(&mut self, input: &[u8]) -> Action {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start => self.start(),
            State::Prefix => self.prefix(input),
            State::Rest => self.rest(input),
            State::OtherVersion(theirs) => {
                // The other side learns our version, and so can say the same.
                Action::Fail(message(&[]), NetError::WrongVersion { ours: VERSION, theirs })
            }
            State::ProofSent(peer) => self.goto(State::Verdict(peer), Action::Read(1)),
            State::Verdict(peer) => self.verdict(peer, input),
            State::AnswerSent(peer) => self.goto(State::Proof(peer), Action::Read(PROOF)),
            State::Proof(peer) => self.proof(peer, input),
            State::WelcomeSent(peer) => Action::Done(peer),
            State::Over => fail(NetError::BadFrame("the handshake is over".into())),
        }
    }

    fn goto(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }

    fn start(&mut self) -> Action {
        let identity = self.me.identity.to_string();
        match &self.side {
            // The prefix is read next: `Start` is entered once by each side.
            Side::Responder { .. } => self.goto(State::Prefix, Action::Read(PREFIX)),
            Side::Initiator { purpose, .. } => {
                let hello = message(&[&[purpose.number()], self.nonce.as_slice(), identity.as_bytes()]);
                self.transcript.extend_from_slice(&hello);
                self.goto(State::Prefix, Action::Write(hello))
            }
        }
    }

    fn prefix(&mut self, input: &[u8]) -> Action {
        if input.is_empty() {
            // The initiator's hello has been sent.
            return self.goto(State::Prefix, Action::Read(PREFIX));
        }
        let (theirs, rest) = match parse_prefix(input) {
            Ok(prefix) => prefix,
            Err(error) => return fail(error),
        };
        if theirs != VERSION {
            return match self.side {
                Side::Responder { .. } if rest <= MAX_FOREIGN => {
                    self.goto(State::OtherVersion(theirs), Action::Read(rest))
                }
                _ => fail(NetError::WrongVersion { ours: VERSION, theirs }),
            };
        }
        let least = match self.side {
            Side::Responder { .. } => 1 + NONCE,
            Side::Initiator { .. } => NONCE + CODE,
        };
        if rest <= least || rest > least + MAX_IDENTITY {
            return fail(NetError::BadFrame(format!("a handshake message of {rest} bytes")));
        }
        self.transcript.extend_from_slice(input);
        self.goto(State::Rest, Action::Read(rest))
    }

    fn rest(&mut self, input: &[u8]) -> Action {
        match &self.side {
            Side::Responder { .. } => self.hello(input),
            Side::Initiator { purpose, expected } => {
                let (purpose, expected) = (*purpose, expected.clone());
                self.answer(purpose, expected, input)
            }
        }
    }

    /// Responder: answers a hello.
    fn hello(&mut self, input: &[u8]) -> Action {
        let (number, identity) = (input[0], &input[1 + NONCE..]);
        let Some(purpose) = Purpose::from_number(number) else {
            return fail(NetError::BadFrame(format!("purpose {number}")));
        };
        let identity = match parse_identity(identity) {
            Ok(identity) => identity,
            Err(error) => return fail(error),
        };
        self.transcript.extend_from_slice(input);
        let me = self.me.identity.to_string();
        let mut answer = message(&[&self.nonce, &[0; CODE], me.as_bytes()]);
        self.transcript.extend_from_slice(&answer[..PREFIX]);
        self.transcript.extend_from_slice(&self.nonce);
        self.transcript.extend_from_slice(me.as_bytes());
        let code = self.me.key.sign(&[RESPONDER, &self.transcript]);
        answer[PREFIX + NONCE..PREFIX + NONCE + CODE].copy_from_slice(code.as_ref());
        self.goto(State::AnswerSent(Peer { identity, purpose }), Action::Write(answer))
    }

    /// Initiator: judges the answer, and proves itself to a proven responder.
    fn answer(&mut self, purpose: Purpose, expected: Option<Identity>, input: &[u8]) -> Action {
        let (nonce, code) = (&input[..NONCE], &input[NONCE..NONCE + CODE]);
        let identity = &input[NONCE + CODE..];
        self.transcript.extend_from_slice(nonce);
        self.transcript.extend_from_slice(identity);
        if !self.me.key.verifies(&[RESPONDER, &self.transcript], code) {
            return Action::Fail(proof(TAG_WRONG_KEY, &[0; CODE]), NetError::WrongKey);
        }
        let found = match parse_identity(identity) {
            Ok(found) => found,
            Err(error) => return fail(error),
        };
        if let Some(expected) = expected.filter(|e| *e != found) {
            let error = NetError::WrongPeer { expected, found };
            return Action::Fail(proof(TAG_WRONG_PEER, &[0; CODE]), error);
        }
        self.side = Side::Initiator { purpose, expected: None };
        let code = self.me.key.sign(&[INITIATOR, &self.transcript]);
        self.goto(State::ProofSent(found), Action::Write(proof(TAG_PROOF, code.as_ref())))
    }

    /// Responder: judges the proof.
    fn proof(&mut self, peer: Peer, input: &[u8]) -> Action {
        let Side::Responder { served } = &self.side else {
            return fail(NetError::BadFrame("a proof to an initiator".into()));
        };
        match input[0] {
            TAG_PROOF if !self.me.key.verifies(&[INITIATOR, &self.transcript], &input[1..]) => {
                Action::Fail(vec![TAG_WRONG_KEY], NetError::WrongKey)
            }
            TAG_PROOF if !served.contains(&peer.purpose) => {
                Action::Fail(vec![TAG_WRONG_PURPOSE], NetError::WrongPurpose { purpose: peer.purpose })
            }
            TAG_PROOF => self.goto(State::WelcomeSent(peer), Action::Write(vec![TAG_WELCOME])),
            TAG_WRONG_KEY => fail(NetError::WrongKey),
            TAG_WRONG_PEER => {
                fail(NetError::Closed { message: "the other side looked for another process at this address".into() })
            }
            tag => fail(NetError::BadFrame(format!("proof tag {tag}"))),
        }
    }

    /// Initiator: hears whether it is welcome.
    fn verdict(&mut self, identity: Identity, input: &[u8]) -> Action {
        let Side::Initiator { purpose, .. } = self.side else {
            return fail(NetError::BadFrame("a verdict to a responder".into()));
        };
        match input[0] {
            TAG_WELCOME => Action::Done(Peer { identity, purpose }),
            TAG_WRONG_KEY => fail(NetError::WrongKey),
            TAG_WRONG_PURPOSE => fail(NetError::WrongPurpose { purpose }),
            tag => fail(NetError::BadFrame(format!("verdict tag {tag}"))),
        }
    }
}

fn fail(error: NetError) -> Action {
    Action::Fail(Vec::new(), error)
}

fn message(parts: &[&[u8]]) -> Vec<u8> {
    let rest: usize = parts.iter().map(|p| p.len()).sum();
    let mut bytes = Vec::with_capacity(PREFIX + rest);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    // An identity is bounded when the handshake is made, and so is the sum.
    bytes.extend_from_slice(&(rest as u16).to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn proof(tag: u8, code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(code);
    bytes
}

/// Version and length of the rest.
fn parse_prefix(input: &[u8]) -> Result<(u16, usize), NetError> {
    let word = |at: usize| u16::from_le_bytes([input[at], input[at + 1]]);
    if input.len() != PREFIX || input[..MAGIC.len()] != MAGIC {
        return Err(NetError::BadFrame("the other side is not segsh".into()));
    }
    Ok((word(MAGIC.len()), usize::from(word(MAGIC.len() + 2))))
}

fn parse_identity(bytes: &[u8]) -> Result<Identity, NetError> {
    std::str::from_utf8(bytes)
        .map_err(|_| NetError::BadFrame("an identity that is not text".into()))?
        .parse()
        .map_err(|e: super::identity::BadIdentity| NetError::BadFrame(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Dbid;
    use crate::net::key::ClusterKey;

    fn credentials(key: u8, identity: Identity) -> Credentials {
        Credentials::new(ClusterKey::from_bytes(&[key; 32]), identity)
    }

    fn coordinator(key: u8) -> Credentials {
        credentials(key, Identity::Coordinator)
    }

    fn segment(key: u8) -> Credentials {
        credentials(key, Identity::Segment(Dbid(4)))
    }

    /// A side with what it waits for and how it ended.
    struct Driven {
        side: Handshake,
        inbox: Vec<u8>,
        end: Option<Result<Peer, NetError>>,
    }

    impl Driven {
        fn new(side: Handshake) -> Driven {
            Driven { side, inbox: Vec::new(), end: None }
        }
    }

    /// Runs both sides against each other; `twist` sees (and may change) every message by number.
    fn run(a: Handshake, b: Handshake, mut twist: impl FnMut(usize, &mut Vec<u8>)) -> [Result<Peer, NetError>; 2] {
        let mut sides = [Driven::new(a), Driven::new(b)];
        let mut wants = [0usize; 2];
        let mut sent = 0;
        while let Some(i) = (0..2).find(|&i| sides[i].end.is_none() && sides[i].inbox.len() >= wants[i]) {
            let input: Vec<u8> = sides[i].inbox.drain(..wants[i]).collect();
            wants[i] = 0;
            let mut send = |sides: &mut [Driven; 2], mut bytes: Vec<u8>| {
                twist(sent, &mut bytes);
                sent += 1;
                sides[1 - i].inbox.extend_from_slice(&bytes);
            };
            match sides[i].side.next(&input) {
                Action::Write(bytes) => send(&mut sides, bytes),
                Action::Read(n) => wants[i] = n,
                Action::Fail(bytes, error) => {
                    send(&mut sides, bytes);
                    sides[i].end = Some(Err(error));
                }
                Action::Done(peer) => sides[i].end = Some(Ok(peer)),
            }
        }
        sides.map(|s| s.end.unwrap_or_else(|| Err(NetError::end_of_stream())))
    }

    fn pair(a: &Credentials, b: &Credentials, served: &[Purpose]) -> (Handshake, Handshake) {
        (
            Handshake::initiator(a, Purpose::Control, Some(&Identity::Segment(Dbid(4)))).unwrap(),
            Handshake::responder(b, served).unwrap(),
        )
    }

    #[test]
    fn both_sides_learn_the_other_and_the_purpose() {
        let (a, b) = pair(&coordinator(1), &segment(1), &[Purpose::Sql, Purpose::Control]);
        let [a, b] = run(a, b, |_, _| {});
        let control = Purpose::Control;
        assert_eq!(a, Ok(Peer { identity: Identity::Segment(Dbid(4)), purpose: control }));
        assert_eq!(b, Ok(Peer { identity: Identity::Coordinator, purpose: control }));
    }

    #[test]
    fn another_key_is_told_to_both_sides() {
        let (a, b) = pair(&coordinator(1), &segment(2), &Purpose::ALL);
        assert_eq!(run(a, b, |_, _| {}), [Err(NetError::WrongKey), Err(NetError::WrongKey)]);
    }

    #[test]
    fn another_version_is_told_to_both_sides() {
        let (a, b) = pair(&coordinator(1), &segment(1), &Purpose::ALL);
        let [a, b] = run(a, b, |_, bytes| {
            if bytes.starts_with(&MAGIC) {
                bytes[8] = 9;
            }
        });
        let error = Err(NetError::WrongVersion { ours: VERSION, theirs: 9 });
        assert_eq!([a, b], [error.clone(), error]);
    }

    #[test]
    fn another_process_at_the_address_is_named() {
        let other = credentials(1, Identity::Segment(Dbid(5)));
        let (a, b) = pair(&coordinator(1), &other, &Purpose::ALL);
        let [a, b] = run(a, b, |_, _| {});
        let (expected, found) = (Identity::Segment(Dbid(4)), Identity::Segment(Dbid(5)));
        assert_eq!(a, Err(NetError::WrongPeer { expected, found }));
        assert!(matches!(b, Err(NetError::Closed { .. })));
    }

    #[test]
    fn a_purpose_that_is_not_served_is_refused_on_both_sides() {
        let (a, b) = pair(&coordinator(1), &segment(1), &[Purpose::Sql]);
        let error = Err(NetError::WrongPurpose { purpose: Purpose::Control });
        assert_eq!(run(a, b, |_, _| {}), [error.clone(), error]);
    }

    #[test]
    fn no_flipped_bit_goes_through() {
        let mut lengths = Vec::new();
        let (a, b) = pair(&coordinator(1), &segment(1), &Purpose::ALL);
        let ends = run(a, b, |_, bytes| lengths.push(bytes.len()));
        assert!(ends.iter().all(Result::is_ok));
        for (number, length) in lengths.into_iter().enumerate() {
            for at in 0..length {
                let (a, b) = pair(&coordinator(1), &segment(1), &Purpose::ALL);
                let ends = run(a, b, |n, bytes| {
                    if n == number {
                        bytes[at] ^= 0x10;
                    }
                });
                assert!(ends.iter().any(Result::is_err), "message {number} byte {at}: {ends:?}");
                // Only the verdict itself comes after the responder is sure.
                assert!(ends[0].is_err(), "message {number} byte {at}: {ends:?}");
            }
        }
    }

    #[test]
    fn a_side_can_not_be_convinced_by_its_own_words() {
        // Two initiators cross-connected: each gets the other's hello as an answer.
        let me = coordinator(1);
        let a = Handshake::initiator(&me, Purpose::Control, None).unwrap();
        let b = Handshake::initiator(&me, Purpose::Control, None).unwrap();
        assert!(run(a, b, |_, _| {}).iter().all(Result::is_err));
    }

    #[test]
    fn a_length_is_judged_before_anything_is_read() {
        let mut b = Handshake::responder(&segment(1), &Purpose::ALL).unwrap();
        assert!(matches!(b.next(&[]), Action::Read(PREFIX)));
        let mut prefix = message(&[]);
        prefix[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(matches!(b.next(&prefix), Action::Fail(_, NetError::BadFrame(_))));
    }
}
