//! The end of a coordinator at a point of a test's choice, as SIGKILL would end it there.
//!
//! The code under test passes points: before and after every write to the catalog and every step that is
//! carried out. At the chosen one the task that passes it stands still for ever, and the test, which is
//! told, ends everything else of that coordinator.

use crate::core::ids::Dbid;
use crate::core::operation::Survey;
use crate::hosts::{Fenced, Host, HostError, Pong, SegmentConfig};
use async_trait::async_trait;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Counts the points that were passed, and strikes at one of them.
#[derive(Debug, Clone, Default)]
pub struct Doom(Arc<Fate>);

#[derive(Debug)]
struct Fate {
    passed: AtomicU64,
    /// Strikes at this point; 0 is never.
    at: AtomicU64,
    struck: watch::Sender<Option<String>>,
    seen: Mutex<Vec<String>>,
}

impl Default for Fate {
    fn default() -> Fate {
        let (passed, at) = (AtomicU64::new(0), AtomicU64::new(0));
        Fate { passed, at, struck: watch::Sender::new(None), seen: Mutex::default() }
    }
}

impl Doom {
    /// Counts from here on, and strikes at this point; 0 only counts.
    pub fn arm(&self, at: u64) {
        self.0.passed.store(0, Ordering::SeqCst);
        self.0.seen.lock().expect("no panic").clear();
        self.0.at.store(at, Ordering::SeqCst);
    }

    /// How many points were passed since it was armed.
    pub fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::SeqCst)
    }

    /// Whether this is the point, or it has passed already: a dead coordinator passes nothing more.
    pub fn strikes(&self, point: &str) -> bool {
        if self.0.struck.borrow().is_some() {
            return true;
        }
        self.0.seen.lock().expect("no panic").push(point.to_owned());
        let number = self.0.passed.fetch_add(1, Ordering::SeqCst) + 1;
        let strikes = number == self.0.at.load(Ordering::SeqCst);
        if strikes {
            let seen = self.0.seen.lock().expect("no panic").join(", ");
            self.0.struck.send_replace(Some(format!("point {number}: {seen}")));
        }
        strikes
    }

    /// Passes a point, or never returns.
    pub async fn pass(&self, point: &str) {
        if self.strikes(point) {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when it has struck, with the points up to there.
    pub async fn struck(&self) -> String {
        let mut struck = self.0.struck.subscribe();
        let where_to = struck.wait_for(Option::is_some).await.expect("the sender lives as long");
        where_to.clone().unwrap_or_default()
    }
}

/// A host whose every change is a point before and after.
pub struct DoomedHost {
    pub host: Arc<dyn Host>,
    pub doom: Doom,
}

macro_rules! passing {
    ($self:ident, $name:literal, $call:expr) => {{
        $self.doom.pass(concat!("before ", $name)).await;
        let result = $call.await;
        $self.doom.pass(concat!("after ", $name)).await;
        result
    }};
}

#[async_trait]
impl Host for DoomedHost {
    fn name(&self) -> &str {
        self.host.name()
    }
    async fn ping(&self) -> Result<Pong, HostError> {
        self.host.ping().await
    }
    async fn start_segment(&self, config: &SegmentConfig) -> Result<u32, HostError> {
        passing!(self, "start_segment", self.host.start_segment(config))
    }
    async fn kill_segment(&self, datadir: &Path) -> Result<Fenced, HostError> {
        passing!(self, "kill_segment", self.host.kill_segment(datadir))
    }
    async fn segment_pid(&self, datadir: &Path) -> Result<Option<u32>, HostError> {
        self.host.segment_pid(datadir).await
    }
    async fn free_bytes(&self, dir: &Path) -> Result<u64, HostError> {
        self.host.free_bytes(dir).await
    }
    async fn make_dir(&self, dir: &Path) -> Result<(), HostError> {
        passing!(self, "make_dir", self.host.make_dir(dir))
    }
    async fn remove_dir(&self, datadir: &Path) -> Result<(), HostError> {
        passing!(self, "remove_dir", self.host.remove_dir(datadir))
    }
    async fn remove_identity(&self, datadir: &Path) -> Result<(), HostError> {
        passing!(self, "remove_identity", self.host.remove_identity(datadir))
    }
    async fn name_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        passing!(self, "name_copy", self.host.name_copy(datadir, sibling))
    }
    async fn replace_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        passing!(self, "replace_copy", self.host.replace_copy(datadir, sibling))
    }
    async fn write_segment_config(&self, config: &SegmentConfig) -> Result<(), HostError> {
        passing!(self, "write_segment_config", self.host.write_segment_config(config))
    }
    async fn stop(&self, kill: bool) -> Result<u32, HostError> {
        self.host.stop(kill).await
    }
    async fn survey(&self, datadir: &Path, dbid: Dbid, ports: &[u16]) -> Result<Survey, HostError> {
        self.host.survey(datadir, dbid, ports).await
    }
}
