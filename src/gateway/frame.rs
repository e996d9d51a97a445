//! Frames of the PostgreSQL protocol: a type byte, a length, a body. Nothing is looked at beyond that.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame that is taken from either side. SQLite's own limit on one value lies above it,
/// so this is the limit a client meets.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;
/// PostgreSQL's own limit on a startup packet.
pub const MAX_STARTUP: usize = 10_000;
const READ_STEP: usize = 16 * 1024;

/// Why no frame could be read.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The stream itself failed.
    #[error("reading from the stream: {0}")]
    Io(#[from] io::Error),
    /// The length field is impossible, or beyond the bound.
    #[error("a message says that it is {0} bytes long")]
    Length(u32),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a message")]
    Truncated,
}

/// One whole frame, header included.
#[derive(Debug, Clone)]
pub struct Frame(Bytes);

impl Frame {
    /// Takes bytes that hold exactly one frame, as the encoders of this module's neighbours make them.
    pub(super) fn from_encoded(raw: Bytes) -> Frame {
        debug_assert!(raw.len() >= 5);
        Frame(raw)
    }

    /// The type byte.
    pub fn tag(&self) -> u8 {
        self.0[0]
    }

    /// What follows type and length.
    pub fn body(&self) -> Bytes {
        self.0.slice(5..)
    }

    /// The frame as it stands on the wire.
    pub fn raw(&self) -> &Bytes {
        &self.0
    }
}

/// A stream of which frames are read and to which bytes are written.
///
/// Reading is cancel safe: what has arrived stays in the buffer.
#[derive(Debug)]
pub struct FrameStream<S> {
    io: S,
    buffer: BytesMut,
}

impl<S> FrameStream<S> {
    /// Wraps a stream of which nothing has been read yet.
    pub fn new(io: S) -> FrameStream<S> {
        FrameStream { io, buffer: BytesMut::new() }
    }

    /// Wraps a stream whose first bytes were read by someone else.
    pub fn with_buffer(io: S, buffer: BytesMut) -> FrameStream<S> {
        FrameStream { io, buffer }
    }

    /// The stream, and what was read of it beyond the last frame.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.buffer)
    }

    /// How many bytes have been read and not been taken.
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, if all of it has been read already.
    pub fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < 5 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]);
        let whole = checked_length(length, MAX_FRAME)? + 1;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        Ok(Some(Frame(self.buffer.split_to(whole).freeze())))
    }
}

impl<S: AsyncRead + Unpin> FrameStream<S> {
    /// Reads once; false when the stream has ended. The buffer grows with what arrives, never with
    /// what a length field promises.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_STEP);
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next frame, or `None` when the stream ended between two frames.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return self.at_end();
            }
        }
    }

    /// A packet of the startup phase: a length and a body without a type byte. The body is returned.
    pub async fn next_startup(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if self.buffer.len() >= 4 {
                let length = u32::from_be_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]);
                let whole = checked_length(length, MAX_STARTUP)?;
                if self.buffer.len() >= whole {
                    let mut packet = self.buffer.split_to(whole).freeze();
                    packet.advance(4);
                    return Ok(Some(packet));
                }
            }
            if !self.fill().await? {
                return self.at_end();
            }
        }
    }

    fn at_end<T>(&self) -> Result<Option<T>, FrameError> {
        if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Truncated) }
    }
}

impl<S: AsyncWrite + Unpin> FrameStream<S> {
    /// Writes everything, and lets nothing wait in a buffer.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Ends the direction that this side writes.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

fn checked_length(length: u32, bound: usize) -> Result<usize, FrameError> {
    let bytes = length as usize;
    if bytes < 4 || bytes > bound {
        return Err(FrameError::Length(length));
    }
    Ok(bytes)
}

/// Takes a string that ends in a zero byte off the front of `body`; `None` when there is none.
pub(super) fn take_cstr(body: &mut Bytes) -> Option<Bytes> {
    let end = body.iter().position(|b| *b == 0)?;
    let text = body.split_to(end);
    body.advance(1);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_split_over_reads_is_put_together() {
        let (mut far, near) = tokio::io::duplex(3);
        let writer = tokio::spawn(async move {
            far.write_all(b"Q\0\0\0\x08abc\0S\0\0\0\x04").await.unwrap();
        });
        let mut stream = FrameStream::new(near);
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.tag(), &first.body()[..]), (b'Q', &b"abc\0"[..]));
        assert_eq!(stream.next().await.unwrap().unwrap().tag(), b'S');
        assert!(stream.next().await.unwrap().is_none());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn an_impossible_length_is_an_error() {
        for bytes in [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff", b"Q\x04\0\0\x01"] {
            let mut stream = FrameStream::new(bytes);
            assert!(matches!(stream.next().await, Err(FrameError::Length(_))));
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_an_error() {
        let mut stream = FrameStream::new(&b"Q\0\0\0\x08ab"[..]);
        assert!(matches!(stream.next().await, Err(FrameError::Truncated)));
    }

    #[tokio::test]
    async fn a_startup_packet_is_bounded() {
        let mut stream = FrameStream::new(&b"\0\0\x40\0"[..]);
        assert!(matches!(stream.next_startup().await, Err(FrameError::Length(0x4000))));
    }

    #[test]
    fn a_string_without_its_end_is_none() {
        let mut body = Bytes::from_static(b"one\0two");
        assert_eq!(take_cstr(&mut body).unwrap(), "one");
        assert!(take_cstr(&mut body).is_none());
    }
}
