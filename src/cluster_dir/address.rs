//! A loopback prefix that nobody else listens on.
//!
//! All of 127.0.0.0/8 is this machine, so every cluster gets 127.A.B.x for itself and every
//! cluster's ports can be the well-known ones.

use super::place::Prefix;
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::net::TcpListener;

/// How many prefixes are tried.
const TRIES: usize = 32;

/// Draws prefixes until one has all of its ports free; `ports` tells them for a prefix.
pub(super) fn choose(ports: impl Fn(Prefix) -> Vec<(String, u16)>) -> io::Result<Prefix> {
    let mut last = io::Error::other("no prefix was tried");
    for _ in 0..TRIES {
        let prefix = draw()?;
        match all_free(&ports(prefix)) {
            Ok(()) => return Ok(prefix),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A random prefix outside of 127.0.0.0/16, where the machine's own services are.
fn draw() -> io::Result<Prefix> {
    let bytes = random::<2>()?;
    Ok(Prefix(bytes[0] % 254 + 1, bytes[1]))
}

/// Binds every port at once, and lets them go.
fn all_free(ports: &[(String, u16)]) -> io::Result<()> {
    let bound: io::Result<Vec<TcpListener>> =
        ports.iter().map(|(address, port)| TcpListener::bind((address.as_str(), *port))).collect();
    bound.map(drop)
}

/// Whether this machine can listen on an address and a port now.
pub(super) fn can_listen(address: &str, port: u16) -> io::Result<()> {
    TcpListener::bind((address, port)).map(drop)
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

/// Random hexadecimal digits, two a byte.
pub(super) fn random_hex<const N: usize>() -> io::Result<String> {
    Ok(random::<N>()?.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_makes_another_prefix_be_tried() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let calls = std::cell::Cell::new(0);
        let chosen = choose(|_| {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { vec![("127.0.0.1".into(), port)] } else { Vec::new() }
        });
        assert!(chosen.is_ok());
        assert_eq!(calls.get(), 3);
        assert!(choose(|_| vec![("127.0.0.1".into(), port)]).is_err());
    }

    #[test]
    fn the_machines_own_addresses_are_never_drawn() {
        for _ in 0..1000 {
            let Prefix(a, _) = draw().unwrap();
            assert!((1..=254).contains(&a));
        }
    }
}
