//! Cancel requests: the front hands out keys of its own, and knows where each one leads.

use super::{CatalogServer, Route, Router, frame::MAX_STARTUP, message};
use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;

const FORWARD_LIMIT: Duration = Duration::from_secs(5);

/// The key of one server process, as its BackendKeyData gave it.
#[derive(Debug, Clone)]
pub(super) struct ServerKey {
    pub pid: u32,
    pub secret: Bytes,
}

impl ServerKey {
    /// Reads the body of BackendKeyData.
    pub fn read(body: &Bytes) -> Option<ServerKey> {
        let pid = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
        Some(ServerKey { pid, secret: body.slice(4..) })
    }
}

/// Where a cancel request goes.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Segment(Route, ServerKey),
    Catalog(ServerKey),
}

/// One session, as a cancel request meets it.
#[derive(Debug, Default)]
pub(super) struct CancelPoint {
    /// Wakes a session that waits for a primary. It keeps no permit: a cancel that comes while
    /// nothing waits must not hit the next statement.
    pub waiting: Notify,
    target: Mutex<Option<Target>>,
}

impl CancelPoint {
    pub fn set_target(&self, target: Option<Target>) {
        *lock(&self.target) = target;
    }
}

#[derive(Debug)]
struct Entry {
    secret: [u8; 4],
    point: Arc<CancelPoint>,
}

/// The keys of all sessions of this front.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    last: u32,
    by_pid: HashMap<u32, Entry>,
}

/// A session's own key; dropping it makes the key unknown.
#[derive(Debug)]
pub(super) struct Registration {
    pub pid: u32,
    pub secret: [u8; 4],
    pub point: Arc<CancelPoint>,
    cancels: Arc<Cancels>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.cancels.sessions).by_pid.remove(&self.pid);
    }
}

impl Cancels {
    /// Gives a session its key.
    pub fn register(self: &Arc<Self>) -> io::Result<Registration> {
        let mut secret = [0; 4];
        SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("no random bytes from the system"))?;
        let point = Arc::new(CancelPoint::default());
        let mut sessions = lock(&self.sessions);
        let pid = sessions.free_pid();
        let entry = Entry { secret, point: Arc::clone(&point) };
        sessions.by_pid.insert(pid, entry);
        Ok(Registration { pid, secret, point, cancels: Arc::clone(self) })
    }

    fn find(&self, pid: u32, secret: &[u8]) -> Option<Arc<CancelPoint>> {
        let sessions = lock(&self.sessions);
        let entry = sessions.by_pid.get(&pid)?;
        equal(&entry.secret, secret).then(|| Arc::clone(&entry.point))
    }

    /// Carries out the body of a cancel request. Nothing is answered, whatever happens: that is the
    /// protocol, and a guesser learns nothing.
    pub async fn cancel(&self, body: &[u8], router: &dyn Router, catalog: &dyn CatalogServer) {
        let Some((pid, secret)) = body.split_at_checked(4) else {
            return;
        };
        let pid = u32::from_be_bytes(pid.try_into().unwrap_or_default());
        let Some(point) = self.find(pid, secret) else {
            tracing::debug!(pid, "a cancel request with an unknown key");
            return;
        };
        point.waiting.notify_waiters();
        let target = lock(&point.target).clone();
        let Some(target) = target else { return };
        let forward = forward(target, router, catalog);
        match tokio::time::timeout(FORWARD_LIMIT, forward).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a cancel request did not reach its server"),
            Err(_) => tracing::debug!("a cancel request was not taken in time"),
        }
    }
}

impl Sessions {
    fn free_pid(&mut self) -> u32 {
        loop {
            // Kept positive: some clients read it as a signed number and print it.
            self.last = (self.last + 1) & 0x7fff_ffff;
            if self.last != 0 && !self.by_pid.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

async fn forward(target: Target, router: &dyn Router, catalog: &dyn CatalogServer) -> io::Result<()> {
    match target {
        Target::Segment(route, key) => send(router.open(&route).await?, &key).await,
        Target::Catalog(key) => {
            let (near, far) = UnixStream::pair()?;
            catalog.serve(far);
            send(near, &key).await
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, key: &ServerKey) -> io::Result<()> {
    let request = message::cancel_request(key.pid, &key.secret);
    stream.write_all(&request).await?;
    stream.flush().await?;
    // The server closes when it has acted, and the client waits for the same from us.
    let mut rest = Vec::new();
    stream.take(MAX_STARTUP as u64).read_to_end(&mut rest).await?;
    Ok(())
}

/// Compares in a time that does not tell how much of a guess was right.
fn equal(secret: &[u8; 4], guess: &[u8]) -> bool {
    let difference = secret.iter().zip(guess).fold(0, |d, (a, b)| d | (a ^ b));
    guess.len() == secret.len() && difference == 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_session_until_the_session_ends() {
        let cancels = Arc::new(Cancels::default());
        let one = cancels.register().unwrap();
        let two = cancels.register().unwrap();
        assert_ne!(one.pid, two.pid);
        let (pid, secret) = (one.pid, one.secret);
        assert!(cancels.find(pid, &secret).is_some());
        assert!(cancels.find(pid, &secret[..3]).is_none());
        let wrong = secret.map(|b| !b);
        assert!(cancels.find(pid, &wrong).is_none());
        drop(one);
        assert!(cancels.find(pid, &secret).is_none());
    }
}
