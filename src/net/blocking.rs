//! Connecting and accepting on a plain thread: the same handshake over a blocking stream.

use super::error::NetError;
use super::frame::{decode_bytes, decode_frame, encode_bytes, encode_frame};
use super::handshake::{Action, Handshake};
use super::identity::{Credentials, Endpoint, Identity, Peer, Purpose};
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Connects to `to` and proves both sides within the deadline. `expected` is who must be there.
/// The stream comes back without timeouts.
pub fn connect(
    to: &Endpoint,
    me: &Credentials,
    purpose: Purpose,
    expected: Option<&Identity>,
    within: Duration,
) -> Result<(TcpStream, Peer), NetError> {
    let deadline = Deadline::new(within);
    let address = resolve(to)?;
    let stream =
        TcpStream::connect_timeout(&address, within).map_err(|e| NetError::of_connect(&to.to_string(), &e, within))?;
    let handshake = Handshake::initiator(me, purpose, expected)?;
    let peer = drive(&stream, handshake, &deadline)?;
    Ok((stream, peer))
}

/// Proves both sides of an accepted connection within the deadline. The peer says what it came for,
/// which is one of `served`. The stream comes back without timeouts.
pub fn accept(
    stream: TcpStream,
    me: &Credentials,
    served: &[Purpose],
    within: Duration,
) -> Result<(TcpStream, Peer), NetError> {
    let handshake = Handshake::responder(me, served)?;
    let peer = drive(&stream, handshake, &Deadline::new(within))?;
    Ok((stream, peer))
}

/// Messages over a proven stream, for a thread of its own.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    input: BytesMut,
    out: BytesMut,
}

/// Bytes that are read at a time.
const READ_AHEAD: usize = 64 << 10;

impl Frames {
    /// Frames over a blocking stream.
    pub fn new(stream: TcpStream) -> Frames {
        Frames { stream, input: BytesMut::new(), out: BytesMut::new() }
    }

    /// The stream itself, such as to end it from another thread.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one message.
    pub fn send<T: Serialize>(&mut self, message: &T) -> Result<(), NetError> {
        encode_frame(message, &mut self.out)?;
        self.flush()
    }

    /// Sends bytes that are no message.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        encode_bytes(bytes, &mut self.out)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), NetError> {
        let sent = self.stream.write_all(&self.out).map_err(|e| NetError::of_stream(&e));
        self.out.clear();
        sent
    }

    /// The next message. The other side's orderly end is [`NetError::Closed`], too.
    pub fn recv<T: DeserializeOwned>(&mut self) -> Result<T, NetError> {
        self.next(decode_frame)
    }

    /// The next frame, whose body is no message.
    pub fn recv_bytes(&mut self) -> Result<BytesMut, NetError> {
        self.next(decode_bytes)
    }

    fn next<T>(&mut self, decode: impl Fn(&mut BytesMut) -> Result<Option<T>, NetError>) -> Result<T, NetError> {
        let mut read = [0; READ_AHEAD];
        loop {
            if let Some(message) = decode(&mut self.input)? {
                return Ok(message);
            }
            match self.stream.read(&mut read) {
                Ok(0) => return Err(NetError::end_of_stream()),
                Ok(count) => self.input.extend_from_slice(&read[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(NetError::of_stream(&e)),
            }
        }
    }
}

struct Deadline {
    end: Instant,
    within: Duration,
}

impl Deadline {
    fn new(within: Duration) -> Deadline {
        Deadline { end: Instant::now() + within, within }
    }

    fn left(&self) -> Result<Duration, NetError> {
        let left = self.end.saturating_duration_since(Instant::now());
        // A timeout of zero means none at all to the system.
        if left.is_zero() { Err(NetError::Timeout { within: self.within }) } else { Ok(left) }
    }

    fn name(&self, error: io::Error) -> NetError {
        NetError::of_io(&error, self.within)
    }
}

fn resolve(to: &Endpoint) -> Result<SocketAddr, NetError> {
    let name = |message: String| NetError::Name { name: to.address.clone(), message };
    (to.address.as_str(), to.port)
        .to_socket_addrs()
        .map_err(|e| name(e.to_string()))?
        .next()
        .ok_or_else(|| name("it has no address".into()))
}

fn drive(stream: &TcpStream, mut handshake: Handshake, deadline: &Deadline) -> Result<Peer, NetError> {
    stream.set_nodelay(true).map_err(|e| deadline.name(e))?;
    let mut input = Vec::new();
    loop {
        match handshake.next(&input) {
            Action::Write(bytes) => {
                input.clear();
                write(stream, &bytes, deadline)?;
            }
            Action::Read(count) => {
                input.resize(count, 0);
                read(stream, &mut input, deadline)?;
            }
            Action::Fail(bytes, error) => {
                // The other side is told if it still listens; the failure stands either way.
                let _ = write(stream, &bytes, deadline);
                let _ = stream.shutdown(Shutdown::Both);
                return Err(error);
            }
            Action::Done(peer) => {
                stream.set_read_timeout(None).map_err(|e| deadline.name(e))?;
                stream.set_write_timeout(None).map_err(|e| deadline.name(e))?;
                return Ok(peer);
            }
        }
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8], deadline: &Deadline) -> Result<(), NetError> {
    stream.set_write_timeout(Some(deadline.left()?)).map_err(|e| deadline.name(e))?;
    stream.write_all(bytes).map_err(|e| deadline.name(e))
}

/// Reads it all. The time left is judged before each part, so that a peer that trickles its bytes
/// can't stretch the deadline.
fn read(mut stream: &TcpStream, buffer: &mut [u8], deadline: &Deadline) -> Result<(), NetError> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.set_read_timeout(Some(deadline.left()?)).map_err(|e| deadline.name(e))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(NetError::end_of_stream()),
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(deadline.name(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Dbid;
    use crate::net::ClusterKey;
    use std::net::TcpListener;
    use std::thread;

    const LONG: Duration = Duration::from_secs(10);

    fn credentials(key: u8, dbid: i64) -> Credentials {
        Credentials::new(ClusterKey::from_bytes(&[key; 32]), Identity::Segment(Dbid(dbid)))
    }

    fn listener() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Endpoint::new("127.0.0.1", port))
    }

    #[test]
    fn a_link_opens_between_two_threads_and_has_no_timeouts_left() {
        let (listener, to) = listener();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            accept(stream, &credentials(1, 6), &[Purpose::Replication], LONG).unwrap()
        });
        let expected = Identity::Segment(Dbid(6));
        let me = credentials(1, 2);
        let (stream, peer) = connect(&to, &me, Purpose::Replication, Some(&expected), LONG).unwrap();
        let (theirs, seen) = server.join().unwrap();
        assert_eq!((peer.identity, seen.identity), (expected, Identity::Segment(Dbid(2))));
        for stream in [stream, theirs] {
            assert_eq!(stream.read_timeout().unwrap(), None);
            assert_eq!(stream.write_timeout().unwrap(), None);
            assert!(stream.nodelay().unwrap());
        }
    }

    #[test]
    fn another_key_is_said_so_on_both_sides() {
        let (listener, to) = listener();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            accept(stream, &credentials(2, 6), &[Purpose::Replication], LONG).unwrap_err()
        });
        let error = connect(&to, &credentials(1, 2), Purpose::Replication, None, LONG).unwrap_err();
        assert_eq!((error, server.join().unwrap()), (NetError::WrongKey, NetError::WrongKey));
    }

    #[test]
    fn a_silent_peer_costs_no_more_than_the_deadline() {
        let (_listener, to) = listener();
        let within = Duration::from_millis(30);
        let error = connect(&to, &credentials(1, 2), Purpose::Control, None, within).unwrap_err();
        assert_eq!(error, NetError::Timeout { within });
    }
}
