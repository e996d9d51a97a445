//! One session with an `sshd`: connected, its host key judged, logged in; commands run in it one by one.
//!
//! A session belongs to one thread at a time: the library's channels end without the session's lock. Every
//! call of the library has the time that is left of the whole; keepalives of its own are not used, for they
//! cut that time short.

use super::known::{Known, Verdict};
use super::place::SshPlace;
use crate::net::NetError;
use ssh2::{ErrorCode, ExtendedData, HashType, MethodType};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The most that is read of what a command prints: a host's answer is some KiB.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// How long the end of a session may take: the other side may be gone.
const GOODBYE_WITHIN_MS: u32 = 200;
/// So much of a file is sent at a time.
const PART_BYTES: usize = 64 << 10;

/// The end of what a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    until: Instant,
    within: Duration,
}

impl Deadline {
    pub(super) fn of(within: Duration) -> Deadline {
        Deadline { until: Instant::now() + within, within }
    }

    /// What is left.
    fn left(self) -> Result<Duration, NetError> {
        let left = self.until.saturating_duration_since(Instant::now());
        // Zero is no limit at all to the library.
        if left < Duration::from_millis(1) { Err(NetError::Timeout { within: self.within }) } else { Ok(left) }
    }

    /// A failure at the end of the time is that end, whatever the library calls it.
    fn judge(self, error: NetError) -> NetError {
        let late = Instant::now() + Duration::from_millis(5) >= self.until;
        if late { NetError::Timeout { within: self.within } } else { error }
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// What it printed, on either stream.
    pub output: Vec<u8>,
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
}

impl Ran {
    /// Its last lines, for a message.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        match (lines.as_slice(), self.status) {
            ([], Some(status)) => format!("it ended with status {status}"),
            ([], None) => "a signal ended it".into(),
            (lines, _) => lines[lines.len().saturating_sub(3)..].join("; "),
        }
    }
}

/// A session that is logged in.
pub(super) struct Session {
    inner: ssh2::Session,
    /// When it was used last.
    pub used: Instant,
}

impl Session {
    /// Connects, checks the host's key, and logs in.
    pub(super) fn open(address: &str, place: &SshPlace, deadline: Deadline) -> Result<Session, NetError> {
        let stream = connect(address, place.port, deadline)?;
        let inner = ssh2::Session::new().map_err(|e| NetError::Local(e.to_string()))?;
        // Whatever fails from here on, its end takes no longer than a goodbye.
        let mut session = Session { inner, used: Instant::now() };
        let inner = &mut session.inner;
        inner.set_tcp_stream(stream);
        let known = Known::read(&place.known_hosts)?;
        // What the host is known by is asked for first; anything else is judged, too.
        let prefer = algorithms(&known.types(inner, address, place.port));
        inner.method_pref(MethodType::HostKey, &prefer).map_err(|e| NetError::Local(e.to_string()))?;
        limit(inner, deadline)?;
        inner.handshake().map_err(|e| deadline.judge(failed(&e)))?;
        check_key(inner, &known, address, place)?;
        log_in(inner, place, deadline)?;
        Ok(session)
    }

    /// Runs a command with `input` as its standard input, to its end.
    pub(super) fn run(&mut self, command: &str, input: &mut dyn Read, deadline: Deadline) -> Result<Ran, NetError> {
        let ran = self.ran(command, input, deadline);
        self.used = Instant::now();
        ran
    }

    fn ran(&self, command: &str, input: &mut dyn Read, deadline: Deadline) -> Result<Ran, NetError> {
        let of = |e: ssh2::Error| deadline.judge(failed(&e));
        let of_io = |e: io::Error| deadline.judge(NetError::Closed { message: e.to_string() });
        limit(&self.inner, deadline)?;
        let mut channel = self.inner.channel_session().map_err(of)?;
        // A stream that nobody reads would stall the other one.
        channel.handle_extended_data(ExtendedData::Merge).map_err(of)?;
        channel.exec(command).map_err(of)?;
        let mut part = vec![0; PART_BYTES];
        loop {
            let count = input.read(&mut part).map_err(|e| NetError::Local(e.to_string()))?;
            if count == 0 {
                break;
            }
            limit(&self.inner, deadline)?;
            channel.write_all(&part[..count]).map_err(of_io)?;
        }
        limit(&self.inner, deadline)?;
        channel.send_eof().map_err(of)?;
        let mut output = Vec::new();
        loop {
            limit(&self.inner, deadline)?;
            let count = channel.read(&mut part).map_err(of_io)?;
            if count == 0 {
                break;
            }
            output.extend_from_slice(&part[..count]);
            if output.len() > OUTPUT_BYTES_MAX {
                return Err(NetError::BadFrame(format!("more than {OUTPUT_BYTES_MAX} bytes of output")));
            }
        }
        limit(&self.inner, deadline)?;
        channel.close().map_err(of)?;
        channel.wait_close().map_err(of)?;
        let signal = channel.exit_signal().map_err(of)?.exit_signal;
        let status = channel.exit_status().map_err(of)?;
        Ok(Ran { output, status: signal.is_none().then_some(status) })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.inner.set_timeout(GOODBYE_WITHIN_MS);
    }
}

fn limit(session: &ssh2::Session, deadline: Deadline) -> Result<(), NetError> {
    let ms = u32::try_from(deadline.left()?.as_millis()).unwrap_or(u32::MAX);
    session.set_timeout(ms);
    Ok(())
}

fn connect(address: &str, port: u16, deadline: Deadline) -> Result<TcpStream, NetError> {
    let to = format!("{address}:{port}");
    let found: io::Result<Vec<SocketAddr>> = (address, port).to_socket_addrs().map(Iterator::collect);
    let found = found.map_err(|e| NetError::Name { name: address.into(), message: e.to_string() })?;
    let mut last = NetError::Name { name: address.into(), message: "it has no address".into() };
    for at in found {
        match TcpStream::connect_timeout(&at, deadline.left()?) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|e| NetError::Local(e.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = NetError::of_connect(&to, &error, deadline.within),
        }
    }
    Err(last)
}

/// The library's names of algorithms, those first that go with the types of keys that are known.
fn algorithms(known: &[&str]) -> String {
    const ALL: [(&str, &str); 5] = [
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
        ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"),
    ];
    let (first, rest): (Vec<_>, Vec<_>) = ALL.into_iter().partition(|(key_type, _)| known.contains(key_type));
    first.into_iter().chain(rest).map(|(_, names)| names).collect::<Vec<_>>().join(",")
}

fn check_key(session: &ssh2::Session, known: &Known, address: &str, place: &SshPlace) -> Result<(), NetError> {
    let Some((key, _)) = session.host_key() else {
        return Err(NetError::Closed { message: "the host shows no key".into() });
    };
    let to = format!("{address}:{}", place.port);
    let file = place.known_hosts.display().to_string();
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    let fingerprint = format!("SHA256:{}", base64(hash, false));
    match known.judge(session, address, place.port, key) {
        Verdict::Known => Ok(()),
        Verdict::Unknown => Err(NetError::HostKeyUnknown { to, fingerprint, file }),
        Verdict::Changed => Err(NetError::HostKeyChanged { to, fingerprint, file }),
    }
}

/// The agent's keys first, then those in files.
fn log_in(session: &ssh2::Session, place: &SshPlace, deadline: Deadline) -> Result<(), NetError> {
    let mut tried = Vec::new();
    limit(session, deadline)?;
    if std::env::var_os("SSH_AUTH_SOCK").is_some() {
        let identities = with_agent(session, &place.user, deadline).unwrap_or_default();
        tried.push(format!("the agent ({identities} keys)"));
    }
    for key in &place.keys {
        if session.authenticated() {
            break;
        }
        limit(session, deadline)?;
        match session.userauth_pubkey_file(&place.user, None, key, None) {
            Ok(()) => {}
            Err(error) => tried.push(format!("{} ({})", key.display(), error.message())),
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    // The time may be over instead.
    deadline.left()?;
    let tried = if tried.is_empty() { "no agent and no key file".into() } else { tried.join(", ") };
    Err(NetError::Login { user: place.user.clone(), tried })
}

/// Tries each key that the agent has until one is taken; how many were tried.
fn with_agent(session: &ssh2::Session, user: &str, deadline: Deadline) -> Result<usize, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    let mut tried = 0;
    for identity in agent.identities()? {
        if limit(session, deadline).is_err() {
            break;
        }
        tried += 1;
        if agent.userauth(user, &identity).is_ok() {
            break;
        }
    }
    Ok(tried)
}

fn failed(error: &ssh2::Error) -> NetError {
    match error.code() {
        // LIBSSH2_ERROR_AUTHENTICATION_FAILED and LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED.
        ErrorCode::Session(-18 | -19) => NetError::Login { user: String::new(), tried: error.message().into() },
        _ => NetError::Closed { message: error.message().into() },
    }
}

/// Base 64, as keys and their fingerprints are written.
pub(super) fn base64(bytes: &[u8], padded: bool) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for i in 0..4 {
            let letter = LETTERS[((bits >> (18 - 6 * i)) & 63) as usize];
            match i <= chunk.len() {
                true => text.push(char::from(letter)),
                false if padded => text.push('='),
                false => {}
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_standard_has_it() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes(), true), text);
            assert_eq!(base64(plain.as_bytes(), false), text.trim_end_matches('='));
        }
    }

    #[test]
    fn the_types_that_are_known_are_asked_for_first_and_none_is_left_out() {
        assert!(algorithms(&[]).starts_with("ssh-ed25519,"));
        let asked = algorithms(&["ssh-rsa"]);
        assert!(asked.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-rsa,") && asked.contains("ssh-ed25519"), "{asked}");
    }
}
