//! The few messages that the front and the gateway write themselves.

use super::answer::{Answer, Reply};
use bytes::{BufMut, Bytes, BytesMut};

/// Protocol 3.0, the one that is spoken.
pub(super) const PROTOCOL_3_0: u32 = 0x0003_0000;
/// The code of a cancel request, which stands where the protocol version would.
pub(super) const CANCEL_REQUEST: u32 = 80_877_102;
/// The code that asks for TLS.
pub(super) const SSL_REQUEST: u32 = 80_877_103;
/// The code that asks for GSSAPI encryption.
pub(super) const GSSENC_REQUEST: u32 = 80_877_104;

/// Appends one frame: the length is filled in after `body` has run.
pub(super) fn put(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_u32(0);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends text and its zero byte. A zero byte inside would end the text early, so it is left out.
pub(super) fn put_cstr(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().filter(|b| *b != 0));
    out.put_u8(0);
}

/// A frame without a body.
pub(super) fn bare(tag: u8) -> Bytes {
    let mut out = BytesMut::with_capacity(5);
    put(&mut out, tag, |_| {});
    out.freeze()
}

/// ErrorResponse.
pub(super) fn error(out: &mut BytesMut, reply: &Reply) {
    fields(out, b'E', reply);
}

/// NoticeResponse.
pub(super) fn notice(out: &mut BytesMut, code: &str, message: &str) {
    put(out, b'N', |b| {
        for (field, value) in [(b'S', "NOTICE"), (b'V', "NOTICE"), (b'C', code), (b'M', message)] {
            b.put_u8(field);
            put_cstr(b, value);
        }
        b.put_u8(0);
    });
}

fn fields(out: &mut BytesMut, tag: u8, reply: &Reply) {
    put(out, tag, |b| {
        let severity = reply.answer.severity();
        let parts = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(reply.answer.sqlstate())),
            (b'M', Some(reply.message.as_str())),
            (b'H', reply.answer.hint()),
        ];
        for (field, value) in parts {
            if let Some(value) = value {
                b.put_u8(field);
                put_cstr(b, value);
            }
        }
        b.put_u8(0);
    });
}

/// ReadyForQuery.
pub(super) fn ready(out: &mut BytesMut, status: u8) {
    put(out, b'Z', |b| b.put_u8(status));
}

/// CommandComplete.
pub(super) fn complete(out: &mut BytesMut, tag: &str) {
    put(out, b'C', |b| put_cstr(b, tag));
}

/// AuthenticationOk.
pub(super) fn authentication_ok(out: &mut BytesMut) {
    put(out, b'R', |b| b.put_u32(0));
}

/// ParameterStatus.
pub(super) fn parameter(out: &mut BytesMut, name: &str, value: &str) {
    put(out, b'S', |b| {
        put_cstr(b, name);
        put_cstr(b, value);
    });
}

/// BackendKeyData.
pub(super) fn key_data(out: &mut BytesMut, pid: u32, secret: &[u8]) {
    put(out, b'K', |b| {
        b.put_u32(pid);
        b.put_slice(secret);
    });
}

/// NegotiateProtocolVersion: 3.0 is the newest minor version, and these options are not known.
pub(super) fn negotiate(out: &mut BytesMut, unknown: &[String]) {
    put(out, b'v', |b| {
        b.put_u32(PROTOCOL_3_0);
        b.put_u32(unknown.len() as u32);
        for option in unknown {
            put_cstr(b, option);
        }
    });
}

/// A simple query.
pub(super) fn query(text: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 6);
    put(&mut out, b'Q', |b| {
        b.put_slice(text);
        b.put_u8(0);
    });
    out.freeze()
}

/// The startup packet of protocol 3.0.
pub(super) fn startup(parameters: &[(String, String)]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(0);
    out.put_u32(PROTOCOL_3_0);
    for (name, value) in parameters {
        put_cstr(&mut out, name);
        put_cstr(&mut out, value);
    }
    out.put_u8(0);
    let length = out.len() as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// A cancel request.
pub(super) fn cancel_request(pid: u32, secret: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(12 + secret.len());
    out.put_u32(12 + secret.len() as u32);
    out.put_u32(CANCEL_REQUEST);
    out.put_u32(pid);
    out.put_slice(secret);
    out.freeze()
}

/// What an ErrorResponse of a segment says, as far as the gateway cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorFields {
    /// The session ends with it.
    pub fatal: bool,
    /// The SQLSTATE.
    pub code: String,
    /// In words.
    pub message: String,
}

impl ErrorFields {
    /// Whether it ends the session because the client broke the protocol.
    pub fn is_protocol_violation(&self) -> bool {
        self.fatal && self.code == Answer::ProtocolViolation.sqlstate()
    }
}

/// Reads the fields of an ErrorResponse; what is malformed stays empty.
pub fn read_error(mut body: Bytes) -> ErrorFields {
    let mut read = ErrorFields::default();
    while let Some((kind, rest)) = body.split_first().map(|(k, r)| (*k, r.len())) {
        if kind == 0 {
            break;
        }
        let _ = body.split_to(body.len() - rest);
        let Some(value) = super::frame::take_cstr(&mut body) else {
            break;
        };
        let value = String::from_utf8_lossy(&value).into_owned();
        match kind {
            b'V' | b'S' => read.fatal |= value == "FATAL" || value == "PANIC",
            b'C' => read.code = value,
            b'M' => read.message = value,
            _ => {}
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_as_it_was_written() {
        let mut out = BytesMut::new();
        error(&mut out, &Reply::new(Answer::UnknownDatabase, "no \0such"));
        let read = read_error(out.freeze().slice(5..));
        assert_eq!(read, ErrorFields { fatal: true, code: "3D000".into(), message: "no such".into() });
    }

    #[test]
    fn a_malformed_error_is_read_as_far_as_it_goes() {
        for bytes in [&b""[..], b"C", b"C40001", b"\0", b"C40001\0M"] {
            let read = read_error(Bytes::copy_from_slice(bytes));
            assert!(!read.fatal);
        }
    }

    #[test]
    fn a_frame_knows_its_own_length() {
        assert_eq!(&query(b"ab")[..], b"Q\0\0\0\x07ab\0");
        assert_eq!(&bare(b'H')[..], b"H\0\0\0\x04");
        assert_eq!(cancel_request(1, &[0, 0, 0, 2]).len(), 16);
    }
}
