//! A router that does what a test tells it.

use super::segment::Segment;
use crate::core::ids::{Content, Dbid, Epoch};
use crate::gateway::{NoPrimary, Route, Router, ServingId};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::watch;

#[derive(Debug, Clone)]
struct Row {
    serving: u64,
    port: Option<u16>,
}

pub(super) struct TestRouter {
    row: watch::Sender<Row>,
    troubles: AtomicUsize,
    /// `changed` never resolves: only the look at `serving` is left.
    deaf: AtomicBool,
}

impl TestRouter {
    pub fn new(segment: &Segment) -> Arc<TestRouter> {
        Arc::new(TestRouter {
            row: watch::Sender::new(Row { serving: 1, port: Some(segment.port()) }),
            troubles: AtomicUsize::new(0),
            deaf: AtomicBool::new(false),
        })
    }

    /// Another process serves.
    pub fn switch(&self, segment: &Segment) {
        self.row.send_modify(|r| {
            r.serving += 1;
            r.port = Some(segment.port());
        });
    }

    /// Nobody serves, and the row has not changed.
    pub fn nobody(&self) {
        self.row.send_modify(|r| r.port = None);
    }

    /// The row was written, and the same process serves on.
    pub fn touch(&self) {
        self.row.send_modify(|_| {});
    }

    pub fn go_deaf(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    pub fn troubles(&self) -> usize {
        self.troubles.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Router for TestRouter {
    async fn primary(&self, _: Content, deadline: Instant) -> Result<Route, NoPrimary> {
        let mut rows = self.row.subscribe();
        let up = rows.wait_for(|r| r.port.is_some());
        let reason = "both are down".to_owned();
        let Ok(Ok(row)) = tokio::time::timeout_at(deadline.into(), up).await else {
            return Err(NoPrimary { reason });
        };
        Ok(Route {
            dbid: Dbid(row.serving as i64 + 1),
            epoch: Epoch(row.serving),
            serving: ServingId(row.serving),
            address: "127.0.0.1".to_owned(),
            port: row.port.unwrap_or_default(),
        })
    }

    async fn open(&self, route: &Route) -> io::Result<TcpStream> {
        TcpStream::connect((route.address.as_str(), route.port)).await
    }

    fn serving(&self, _: Content) -> ServingId {
        ServingId(self.row.borrow().serving)
    }

    async fn changed(&self, _: Content, since: ServingId) {
        if self.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let _ = self.row.subscribe().wait_for(|r| r.serving != since.0).await;
    }

    fn trouble(&self, _: Content) {
        self.troubles.fetch_add(1, Ordering::SeqCst);
    }

    fn contents(&self) -> Vec<Content> {
        vec![Content::COORDINATOR, Content(0), Content(1)]
    }
}
