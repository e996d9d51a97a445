//! A network between the processes of a cluster that can be cut, reset and slowed down.
//!
//! Each port of a segment has a proxy in this process; the shim leads every connection there. What the
//! catalog says stays as it is, and no process knows of it.

use super::shim::Shim;
use super::status::Segment;
use rustix::net::sockopt::set_socket_linger;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It arrives, so much later.
    Open(Duration),
    /// It does not arrive before the way is open again; connections stay.
    Silent,
    /// Connections are reset, new ones too.
    Reset,
    /// Connections are reset, and nobody listens.
    Refused,
}

/// Which port of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// Where the coordinator and its gateway come in.
    Control,
    /// Where its primary comes in while it is a mirror.
    Link,
}

pub struct Network {
    ways: HashMap<(i64, Port), watch::Sender<Way>>,
    // Dropped last: the proxies run on it.
    _runtime: Runtime,
}

impl Network {
    /// Puts a proxy before every port of these segments.
    pub fn before(segments: &[Segment], shim: &Shim) -> Network {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut ways = HashMap::new();
        for segment in segments {
            let ports = [(Port::Control, Some(segment.port)), (Port::Link, segment.replication_port)];
            for (port, number) in ports {
                let number = number.unwrap_or_else(|| panic!("dbid {} has no {port:?}", segment.dbid));
                let there: SocketAddr = format!("{}:{number}", segment.address).parse().expect("an address");
                let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
                let here = listener.local_addr().expect("it listens");
                let (way, seen) = watch::channel(Way::Open(Duration::ZERO));
                runtime.spawn(accept(listener, there, seen));
                shim.redirect(there, here);
                ways.insert((segment.dbid, port), way);
            }
        }
        Network { ways, _runtime: runtime }
    }

    #[track_caller]
    pub fn set(&self, dbid: i64, port: Port, way: Way) {
        let sender = self.ways.get(&(dbid, port)).unwrap_or_else(|| panic!("no proxy before {port:?} of dbid {dbid}"));
        sender.send_replace(way);
    }

    /// Everything that leads to a segment.
    pub fn set_both(&self, dbid: i64, way: Way) {
        self.set(dbid, Port::Control, way);
        self.set(dbid, Port::Link, way);
    }

    /// Every way to every segment.
    pub fn set_all(&self, way: Way) {
        for sender in self.ways.values() {
            sender.send_replace(way);
        }
    }

    pub fn heal(&self) {
        self.set_all(Way::Open(Duration::ZERO));
    }
}

async fn accept(listener: TcpListener, there: SocketAddr, mut way: watch::Receiver<Way>) {
    let here = listener.local_addr().expect("it listens");
    let mut listening = Some(listener);
    loop {
        if *way.borrow_and_update() == Way::Refused {
            listening = None;
            if way.wait_for(|way| *way != Way::Refused).await.is_err() {
                return;
            }
        }
        let listener = match listening.take() {
            Some(listener) => listener,
            None => TcpListener::bind(here).await.expect("nobody else took the port"),
        };
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(carry(stream, there, way.clone()));
                }
            }
            changed = way.changed() => if changed.is_err() { return },
        }
        listening = Some(listener);
    }
}

/// Carries one connection until it ends or is reset.
async fn carry(near: TcpStream, there: SocketAddr, mut way: watch::Receiver<Way>) {
    let mut reset = way.clone();
    let Ok(socket) = near.as_fd().try_clone_to_owned() else { return };
    let work = async {
        // Whoever comes while nothing arrives is not heard of at the other side before the way is open.
        way.wait_for(|way| matches!(way, Way::Open(_) | Way::Reset | Way::Refused)).await.ok()?;
        let far = TcpStream::connect(there).await.ok()?;
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        // The first end ends both ways, as the end of a process does.
        tokio::select! {
            () = pump(near_in, far_out, way.clone()) => {}
            () = pump(far_in, near_out, way.clone()) => {}
        }
        Some(())
    };
    tokio::select! {
        _ = work => {}
        () = async {
            let _ = reset.wait_for(|way| matches!(way, Way::Reset | Way::Refused)).await;
            // Without lingering the end is a reset, and no orderly one.
            let _ = set_socket_linger(&socket, Some(Duration::ZERO));
        } => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let open = way.wait_for(|way| matches!(way, Way::Open(_))).await.map(|way| *way);
        let Ok(Way::Open(delay)) = open else { break };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&bytes[..n]).await.is_err() {
            break;
        }
    }
    // An end travels as bytes do: not while the way is closed.
    let _ = way.wait_for(|way| !matches!(way, Way::Silent)).await;
}
