//! The way to a content's acting primary, for the session gateway.

use super::board::{Board, Knowledge};
use super::places::Places;
use super::prober::Prober;
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::Phase;
use crate::net::{Credentials, Endpoint, Identity, NetError, Purpose, Stream, connect};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a segment may take to prove itself.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// Which process serves a content: the row's epoch at the last promotion, or restart of an acting
/// primary. It does not change when tracking is granted or a recovery starts: the same process serves
/// on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serving(pub u64);

/// The way to an acting primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub dbid: Dbid,
    pub epoch: Epoch,
    pub serving: Serving,
    pub address: String,
    pub port: u16,
}

/// Finds acting primaries.
#[derive(Clone)]
pub struct Routes {
    board: Arc<Board>,
    prober: Prober,
    me: Credentials,
    places: Arc<Places>,
}

impl Routes {
    pub(super) fn new(board: Arc<Board>, prober: Prober, me: Credentials, places: Arc<Places>) -> Routes {
        Routes { board, prober, me, places }
    }

    /// The acting primary by the row, once it serves; waits until the deadline, then says why not.
    pub async fn primary(&self, content: Content, deadline: Instant) -> Result<Way, String> {
        let mut news = self.board.news();
        loop {
            let reason = match self.board.read(|k| self.look(k, content)) {
                Ok(way) => return Ok(way),
                Err(reason) => reason,
            };
            let wait = tokio::time::timeout_at(deadline.into(), news.changed()).await;
            if !matches!(wait, Ok(Ok(()))) {
                return Err(reason);
            }
        }
    }

    fn look(&self, known: &Knowledge, content: Content) -> Result<Way, String> {
        let seen = known.contents.get(&content).ok_or_else(|| format!("there is no content {content}"))?;
        if let Some(why) = &seen.quarantine {
            return Err(format!("content {content} is quarantined: {why}"));
        }
        let row = seen.pair.as_ref().map_err(Clone::clone)?;
        let dbid = row.primary.dbid;
        let Some(report) = known.answer(dbid) else {
            let why = known.segments.get(&dbid).and_then(|s| s.failing.as_ref()).map(|f| f.why.clone());
            let why = why.unwrap_or_else(|| "no answer".into());
            return Err(format!("content {content} has no primary now: dbid {dbid} does not answer ({why})"));
        };
        // A suspended primary holds its statements itself; it is not a reason to fail them.
        let serves = matches!(
            report.phase,
            Phase::Mirrorless | Phase::Tracking | Phase::Resynchronizing | Phase::InSync | Phase::Suspended
        );
        if !serves || report.epoch < seen.serving_epoch {
            return Err(format!("content {content} has no primary now: dbid {dbid} is not serving yet"));
        }
        let segment = self.places.row(dbid).ok_or_else(|| format!("dbid {dbid} is not in the catalog"))?;
        Ok(Way {
            dbid,
            epoch: row.epoch,
            serving: Serving(seen.serving_epoch.0),
            address: segment.address.clone(),
            port: segment.port,
        })
    }

    /// Opens an authenticated byte stream to that segment's SQL service.
    pub async fn open(&self, way: &Way) -> Result<Stream, NetError> {
        let to = Endpoint::new(way.address.clone(), way.port);
        let there = Identity::Segment(way.dbid);
        connect(&to, &self.me, Purpose::Sql, Some(&there), OPEN_WITHIN).await.map(|(stream, _)| stream)
    }

    /// The process that serves a content now, by the row.
    pub fn serving(&self, content: Content) -> Serving {
        Serving(self.board.read(|k| k.contents.get(&content).map_or(0, |c| c.serving_epoch.0)))
    }

    /// Resolves when another process than `since` serves the content; at once when it does already.
    pub async fn changed(&self, content: Content, since: Serving) {
        let mut news = self.board.news();
        while self.serving(content) == since {
            if news.changed().await.is_err() {
                // The board is gone with the process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The gateway met an error on the way to the content's primary: FTS looks now.
    pub fn trouble(&self, content: Content) {
        for dbid in self.places.members(content) {
            self.prober.kick(Some(dbid));
        }
    }

    /// The contents of the cluster.
    pub fn contents(&self) -> Vec<Content> {
        self.board.read(|k| k.contents.keys().copied().collect())
    }
}
