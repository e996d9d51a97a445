//! Messages over a stream: JSON in checked frames.
//!
//! ```text
//! length of the body (u32 LE) | crc32c of the body (u32 LE) | body
//! ```
//! A length above [`MAX_FRAME`] is an error before anything is allocated for it.

use super::error::NetError;
use super::stream::Stream;
use bytes::{Buf, BufMut, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest body, in bytes.
pub const MAX_FRAME: usize = 16 << 20;
const HEADER: usize = 8;
const READ_AHEAD: usize = 8 << 10;

/// Appends `message` as one frame.
pub fn encode_frame<T: Serialize>(message: &T, out: &mut BytesMut) -> Result<(), NetError> {
    encode_bytes(&serde_json::to_vec(message).map_err(|e| NetError::BadFrame(e.to_string()))?, out)
}

/// Appends bytes that are no message as one frame, where both sides know that they come.
pub fn encode_bytes(body: &[u8], out: &mut BytesMut) -> Result<(), NetError> {
    if body.len() > MAX_FRAME {
        return Err(NetError::BadFrame(format!("a message of {} bytes", body.len())));
    }
    out.reserve(HEADER + body.len());
    out.put_u32_le(body.len() as u32);
    out.put_u32_le(crc32c::crc32c(body));
    out.put_slice(body);
    Ok(())
}

/// Takes one whole frame off the front; `None` when it is not all there yet.
pub fn decode_frame<T: DeserializeOwned>(input: &mut BytesMut) -> Result<Option<T>, NetError> {
    let Some(body) = decode_bytes(input)? else {
        return Ok(None);
    };
    serde_json::from_slice(&body).map(Some).map_err(|e| NetError::BadFrame(e.to_string()))
}

/// The same of a frame whose body is no message.
pub fn decode_bytes(input: &mut BytesMut) -> Result<Option<BytesMut>, NetError> {
    let Some(header) = input.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_FRAME {
        return Err(NetError::BadFrame(format!("a frame of {length} bytes")));
    }
    if input.len() < HEADER + length {
        input.reserve(HEADER + length - input.len());
        return Ok(None);
    }
    input.advance(HEADER);
    let body = input.split_to(length);
    if crc32c::crc32c(&body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(NetError::BadFrame("checksum".into()));
    }
    Ok(Some(body))
}

/// Sends messages. Dropping a `send` that is under way loses nothing of the framing: what is left
/// of the frame goes out before the next one.
#[derive(Debug)]
pub struct FrameSender {
    stream: OwnedWriteHalf,
    out: BytesMut,
}

impl FrameSender {
    /// Sends one message.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), NetError> {
        encode_frame(message, &mut self.out)?;
        self.flush().await
    }

    /// Sends bytes that are no message.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        encode_bytes(bytes, &mut self.out)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), NetError> {
        while self.out.has_remaining() {
            let sent = self.stream.write_buf(&mut self.out).await;
            sent.map_err(|e| NetError::of_stream(&e))?;
        }
        Ok(())
    }
}

/// Receives messages. Dropping a `recv` that is under way loses nothing, so it may stand in a
/// `select!`.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: OwnedReadHalf,
    input: BytesMut,
}

impl FrameReceiver {
    /// The next message. The other side's orderly end is [`NetError::Closed`], too.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, NetError> {
        self.next(decode_frame).await
    }

    /// The next frame, whose body is no message.
    pub async fn recv_bytes(&mut self) -> Result<BytesMut, NetError> {
        self.next(decode_bytes).await
    }

    async fn next<T>(&mut self, decode: impl Fn(&mut BytesMut) -> Result<Option<T>, NetError>) -> Result<T, NetError> {
        loop {
            if let Some(message) = decode(&mut self.input)? {
                return Ok(message);
            }
            self.input.reserve(READ_AHEAD);
            let read = self.stream.read_buf(&mut self.input).await;
            if read.map_err(|e| NetError::of_stream(&e))? == 0 {
                return Err(NetError::end_of_stream());
            }
        }
    }
}

/// Both halves of a connection's messages.
#[derive(Debug)]
pub struct Framed {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Framed {
    /// Frames over a proven stream.
    pub fn new(stream: Stream) -> Framed {
        let (read, write) = stream.into_split();
        Framed {
            sender: FrameSender { stream: write, out: BytesMut::new() },
            receiver: FrameReceiver { stream: read, input: BytesMut::new() },
        }
    }

    /// Sends one message.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), NetError> {
        self.sender.send(message).await
    }

    /// The next message.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, NetError> {
        self.receiver.recv().await
    }

    /// Sends bytes that are no message.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.sender.send_bytes(bytes).await
    }

    /// The next frame, whose body is no message.
    pub async fn recv_bytes(&mut self) -> Result<BytesMut, NetError> {
        self.receiver.recv_bytes().await
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out_however_the_bytes_arrive(
            messages in proptest::collection::vec(".{0,40}", 1..5), cut in 1usize..7,
        ) {
            let mut wire = BytesMut::new();
            for message in &messages {
                encode_frame(message, &mut wire).unwrap();
            }
            let (mut input, mut seen) = (BytesMut::new(), Vec::<String>::new());
            for part in wire.chunks(cut) {
                input.extend_from_slice(part);
                while let Some(message) = decode_frame(&mut input).unwrap() {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_frame::<serde_json::Value>(&mut BytesMut::from(&bytes[..]));
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut wire = BytesMut::new();
        encode_frame(&"hello", &mut wire).unwrap();
        for at in 4..wire.len() {
            let mut damaged = wire.clone();
            damaged[at] ^= 1;
            assert!(decode_frame::<String>(&mut damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused_at_once() {
        let mut wire = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        wire.put_u32_le(0);
        let error = decode_frame::<String>(&mut wire).unwrap_err();
        assert!(matches!(error, NetError::BadFrame(_)));
    }

    #[test]
    fn a_message_has_these_bytes() {
        let mut wire = BytesMut::new();
        encode_frame(&7, &mut wire).unwrap();
        let mut golden = vec![1, 0, 0, 0];
        golden.extend_from_slice(&crc32c::crc32c(b"7").to_le_bytes());
        golden.push(b'7');
        assert_eq!(&wire[..], &golden[..]);
    }

    #[tokio::test]
    async fn a_dropped_recv_loses_nothing() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut receiver = Framed::new(server);
        let mut wire = BytesMut::new();
        encode_frame(&"whole", &mut wire).unwrap();
        let (_read, mut write) = client.into_split();
        write.write_all(&wire[..5]).await.unwrap();
        receiver.receiver.stream.readable().await.unwrap();
        // The part is taken, then the call is dropped before the message is whole.
        let dropped = tokio::time::timeout(std::time::Duration::ZERO, receiver.recv::<String>()).await;
        assert!(dropped.is_err());
        write.write_all(&wire[5..]).await.unwrap();
        assert_eq!(receiver.recv::<String>().await.unwrap(), "whole");
        drop(write);
        let end = receiver.recv::<String>().await;
        assert!(matches!(end, Err(NetError::Closed { .. })));
    }
}
