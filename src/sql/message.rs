//! What a client sends, cut into messages and judged before pgwire reads it.
//!
//! pgwire's decoders trust the counts inside a message, and read on into the next one when a text does
//! not end: where they lie it panics. So each message is taken out whole, and its shape (the texts, the
//! counts, the lengths) is walked through first. What fits is decoded, what does not is named.

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage};

/// The longest message, its length field included, in bytes; the gateway has the same bound.
pub const MAX_MESSAGE: usize = 64 << 20;
/// PostgreSQL's own limit on what comes before a session, in bytes.
pub const MAX_STARTUP: usize = 10_000;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Takes the next message off the front; `None` when it is not all there yet. Nothing is allocated for
/// a length that is only promised. An error says what is wrong with the message, and nothing after it
/// can be read any more.
pub fn next(input: &mut BytesMut, context: &DecodeContext) -> Result<Option<PgWireFrontendMessage>, String> {
    let starting = context.awaiting_frontend_ssl || context.awaiting_frontend_startup;
    let (head, max) = if starting { (0, MAX_STARTUP) } else { (1, MAX_MESSAGE) };
    let Some(said) = input.get(head..head + 4).and_then(|b| b.first_chunk::<4>()) else {
        return Ok(None);
    };
    let said = u32::from_be_bytes(*said) as usize;
    if said < 4 || said > max {
        return Err(format!("a message says that it is {said} bytes long"));
    }
    if input.len() < head + said {
        return Ok(None);
    }
    let body = &input[head + 4..head + said];
    if starting {
        check_startup(body)?
    } else {
        check(input[0], body)?
    }
    // Whether a client asks for encryption is looked at without being taken: the message stays.
    if context.awaiting_frontend_ssl && !asks_for_encryption(body) {
        return PgWireFrontendMessage::decode(input, context).map_err(|e| e.to_string());
    }
    let mut message = input.split_to(head + said);
    PgWireFrontendMessage::decode(&mut message, context).map_err(|e| e.to_string())
}

fn asks_for_encryption(body: &[u8]) -> bool {
    body.first_chunk::<4>().is_some_and(|code| matches!(u32::from_be_bytes(*code), SSL_REQUEST | GSSENC_REQUEST))
}

fn check_startup(body: &[u8]) -> Result<(), String> {
    let Some((code, rest)) = body.split_first_chunk::<4>() else {
        return Err("a startup packet without a version".into());
    };
    let fits = match u32::from_be_bytes(*code) {
        SSL_REQUEST | GSSENC_REQUEST => rest.is_empty(),
        // A process id, and a secret of at most 256 bytes.
        CANCEL_REQUEST => (8..=260).contains(&rest.len()),
        _ => are_parameters(rest),
    };
    if fits { Ok(()) } else { Err("the startup packet can't be read".into()) }
}

/// Names and values, each ended by a zero, and one more zero at the very end.
fn are_parameters(mut rest: &[u8]) -> bool {
    loop {
        match Walk(rest).text() {
            None => return false,
            Some(([], left)) => return left.is_empty(),
            Some((_, left)) => match Walk(left).text() {
                Some((_, left)) => rest = left,
                None => return false,
            },
        }
    }
}

fn check(tag: u8, body: &[u8]) -> Result<(), String> {
    let mut walk = Walk(body);
    let fits = match tag {
        b'P' => walk.skip_text() && walk.skip_text() && walk.skip_counted(4) && walk.is_over(),
        b'B' => walk.bind() && walk.is_over(),
        b'D' | b'C' => matches!(walk.take(1), Some([b'S' | b'P'])) && walk.skip_text() && walk.is_over(),
        b'E' => walk.skip_text() && walk.take(4).is_some() && walk.is_over(),
        b'Q' | b'f' => walk.skip_text() && walk.is_over(),
        b'S' | b'H' | b'X' | b'c' => walk.is_over(),
        b'd' | b'p' => true,
        other => return Err(format!("a message of type {:?} is not known", char::from(other))),
    };
    if fits { Ok(()) } else { Err(format!("a message of type {:?} does not fit its length", char::from(tag))) }
}

/// What is left of a message's body.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// A text without its zero, and what follows it.
    fn text(&self) -> Option<(&'a [u8], &'a [u8])> {
        let end = self.0.iter().position(|b| *b == 0)?;
        Some((&self.0[..end], &self.0[end + 1..]))
    }

    fn skip_text(&mut self) -> bool {
        let Some((_, rest)) = self.text() else { return false };
        self.0 = rest;
        true
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn count(&mut self) -> Option<usize> {
        self.take(2)?.first_chunk::<2>().map(|n| usize::from(u16::from_be_bytes(*n)))
    }

    /// A count, and so many items of a fixed size.
    fn skip_counted(&mut self, size: usize) -> bool {
        self.count().and_then(|n| self.take(n * size)).is_some()
    }

    /// A value with its length before it; -1 is NULL.
    fn skip_value(&mut self) -> bool {
        let length = self.take(4).and_then(|b| b.first_chunk::<4>()).map(|b| i32::from_be_bytes(*b));
        match length {
            Some(-1) => true,
            Some(length) => usize::try_from(length).ok().and_then(|n| self.take(n)).is_some(),
            None => false,
        }
    }

    fn bind(&mut self) -> bool {
        let names = self.skip_text() && self.skip_text();
        if !(names && self.skip_counted(2)) {
            return false;
        }
        let Some(values) = self.count() else { return false };
        (0..values).all(|_| self.skip_value()) && self.skip_counted(2)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire::messages::ProtocolVersion;

    fn started() -> DecodeContext {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        context
    }

    fn message(tag: u8, body: &[u8]) -> BytesMut {
        let length = (body.len() as u32 + 4).to_be_bytes();
        BytesMut::from(&[&[tag][..], &length[..], body].concat()[..])
    }

    #[test]
    fn counts_that_lie_are_named_and_not_believed() {
        for (tag, body) in [
            (b'P', &b"a\0select 1\0\0\x09"[..]),
            (b'B', b"\0\0\0\0\0\x01\x00\x00\xff\xff"),
            (b'B', b"\0\0\0\x05"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'D', b"Sname"),
            (b'D', b"Zname\0"),
            (b'E', b"\0\0\0"),
            (b'Q', b"select 1"),
            (b'S', b"more"),
            (b'?', b""),
        ] {
            let error = next(&mut message(tag, body), &started()).expect_err("a lie");
            assert!(error.contains(char::from(tag)), "{error}");
        }
    }

    #[test]
    fn a_message_never_reads_on_into_the_next() {
        let mut input = message(b'Q', b"select 1\0");
        input.extend_from_slice(&message(b'S', b""));
        assert!(matches!(next(&mut input, &started()), Ok(Some(PgWireFrontendMessage::Query(_)))));
        assert!(matches!(next(&mut input, &started()), Ok(Some(PgWireFrontendMessage::Sync(_)))));
        assert!(input.is_empty());
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_at_once() {
        for said in [0u32, 3, MAX_MESSAGE as u32 + 1, u32::MAX] {
            let mut input = BytesMut::from(&[&b"Q"[..], &said.to_be_bytes()].concat()[..]);
            assert!(next(&mut input, &started()).is_err(), "{said}");
        }
    }
}
