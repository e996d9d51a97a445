//! Connecting and accepting on a runtime.

use super::error::NetError;
use super::handshake::{Action, Handshake};
use super::identity::{Credentials, Endpoint, Identity, Peer, Purpose};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The stream under every connection of a cluster; a TLS stream one day.
pub type Stream = TcpStream;

/// Connects to `to` and proves both sides within the deadline. `expected` is who must be there.
pub async fn connect(
    to: &Endpoint,
    me: &Credentials,
    purpose: Purpose,
    expected: Option<&Identity>,
    within: Duration,
) -> Result<(Stream, Peer), NetError> {
    let work = async {
        let address = resolve(to).await?;
        let mut stream =
            TcpStream::connect(address).await.map_err(|e| NetError::of_connect(&to.to_string(), &e, within))?;
        let handshake = Handshake::initiator(me, purpose, expected)?;
        let peer = drive(&mut stream, handshake, within).await?;
        Ok((stream, peer))
    };
    tokio::time::timeout(within, work).await.unwrap_or(Err(NetError::Timeout { within }))
}

/// Proves both sides of an accepted connection within the deadline. The peer says what it came for,
/// which is one of `served`.
pub async fn accept(
    mut stream: TcpStream,
    me: &Credentials,
    served: &[Purpose],
    within: Duration,
) -> Result<(Stream, Peer), NetError> {
    let work = async {
        let handshake = Handshake::responder(me, served)?;
        let peer = drive(&mut stream, handshake, within).await?;
        Ok((stream, peer))
    };
    tokio::time::timeout(within, work).await.unwrap_or(Err(NetError::Timeout { within }))
}

async fn resolve(to: &Endpoint) -> Result<SocketAddr, NetError> {
    let name = |message: String| NetError::Name { name: to.address.clone(), message };
    tokio::net::lookup_host((to.address.as_str(), to.port))
        .await
        .map_err(|e| name(e.to_string()))?
        .next()
        .ok_or_else(|| name("it has no address".into()))
}

async fn drive(stream: &mut TcpStream, mut handshake: Handshake, within: Duration) -> Result<Peer, NetError> {
    let io = |e: std::io::Error| NetError::of_io(&e, within);
    stream.set_nodelay(true).map_err(io)?;
    let mut input = Vec::new();
    loop {
        match handshake.next(&input) {
            Action::Write(bytes) => {
                input.clear();
                stream.write_all(&bytes).await.map_err(io)?;
            }
            Action::Read(count) => {
                input.resize(count, 0);
                stream.read_exact(&mut input).await.map_err(io)?;
            }
            Action::Fail(bytes, error) => {
                // The other side is told if it still listens; the failure stands either way.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return Err(error);
            }
            Action::Done(peer) => return Ok(peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Dbid;
    use crate::net::ClusterKey;
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(10);

    fn credentials(key: u8, identity: Identity) -> Credentials {
        Credentials::new(ClusterKey::from_bytes(&[key; 32]), identity)
    }

    async fn listener() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Endpoint::new("127.0.0.1", port))
    }

    #[tokio::test]
    async fn one_listener_serves_several_purposes() {
        let (listener, to) = listener().await;
        let server = tokio::spawn(async move {
            let me = credentials(1, Identity::Segment(Dbid(4)));
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.unwrap();
                let served = [Purpose::Control, Purpose::Sql];
                seen.push(accept(stream, &me, &served, LONG).await.unwrap().1.purpose);
            }
            seen
        });
        let me = credentials(1, Identity::Coordinator);
        for purpose in [Purpose::Sql, Purpose::Control] {
            let (_, peer) = connect(&to, &me, purpose, None, LONG).await.unwrap();
            assert_eq!(peer.identity, Identity::Segment(Dbid(4)));
        }
        assert_eq!(server.await.unwrap(), [Purpose::Sql, Purpose::Control]);
    }

    #[tokio::test]
    async fn nobody_listening_is_refused_and_no_name_is_name() {
        let (listener, to) = listener().await;
        drop(listener);
        let me = credentials(1, Identity::Client);
        let error = connect(&to, &me, Purpose::Host, None, LONG).await.unwrap_err();
        assert_eq!(error, NetError::Refused { to: to.to_string() });
        let nowhere = Endpoint::new("no such name.invalid", 1);
        let error = connect(&nowhere, &me, Purpose::Host, None, LONG).await.unwrap_err();
        assert_eq!(error.cause(), "name");
    }

    #[tokio::test]
    async fn a_silent_peer_costs_no_more_than_the_deadline() {
        let (listener, to) = listener().await;
        let me = credentials(1, Identity::Client);
        let within = Duration::from_millis(30);
        let error = connect(&to, &me, Purpose::Host, None, within).await.unwrap_err();
        assert_eq!(error, NetError::Timeout { within });
        let quiet = TcpStream::connect((to.address.as_str(), to.port)).await.unwrap();
        let (_, _) = listener.accept().await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let error = accept(accepted, &me, &Purpose::ALL, within).await.unwrap_err();
        assert_eq!(error, NetError::Timeout { within });
        drop(quiet);
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_is_closed() {
        let (listener, to) = listener().await;
        let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        let me = credentials(1, Identity::Client);
        let error = connect(&to, &me, Purpose::Host, None, LONG).await.unwrap_err();
        assert!(matches!(error, NetError::Closed { .. }), "{error:?}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn another_protocol_at_the_port_is_said_so() {
        let (listener, to) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        });
        let me = credentials(1, Identity::Client);
        let error = connect(&to, &me, Purpose::Host, None, LONG).await.unwrap_err();
        assert_eq!(error, NetError::BadFrame("the other side is not segsh".into()));
        drop(server.await.unwrap());
    }
}
