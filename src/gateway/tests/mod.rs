//! The front and the gateway against scripted segments, by hand-made frames and by real clients.

mod client;
mod clients;
mod protocol;
mod router;
mod segment;
mod switches;

use super::{CatalogServer, Front, FrontConfig, TcpConfig};
use router::TestRouter;
use segment::Segment;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A front on a socket of its own, with one content served by one scripted segment.
struct Stage {
    front: Front,
    router: Arc<TestRouter>,
    segment: Segment,
    directory: TempDir,
}

/// The catalog of the tests is a scripted segment as well.
struct Catalog(Segment);

impl CatalogServer for Catalog {
    fn serve(&self, stream: UnixStream) {
        self.0.serve(stream);
    }
}

impl Stage {
    async fn new() -> Stage {
        Stage::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut FrontConfig)) -> Stage {
        let directory = tempfile::tempdir().expect("a directory");
        let segment = Segment::start().await;
        let router = TestRouter::new(&segment);
        let mut config = FrontConfig::new(directory.path().join("s"), 5432);
        config.primary_wait = tokio::sync::watch::channel(Duration::from_secs(20)).1;
        change(&mut config);
        let catalog = Catalog(Segment::start().await);
        let front = Front::start(config, router.clone(), Arc::new(catalog)).await.expect("the front listens");
        Stage { front, router, segment, directory }
    }

    async fn with_tcp(passwords: &str) -> Stage {
        use std::os::unix::fs::PermissionsExt;
        let files = tempfile::tempdir().expect("a directory");
        let password_file = files.path().join("passwords");
        std::fs::write(&password_file, passwords).expect("the file is written");
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&password_file, owner_only).expect("its mode is set");
        let address = "127.0.0.1:0".parse().expect("an address");
        Stage::with(|c| {
            c.tcp = Some(TcpConfig { address, password_file });
        })
        .await
    }

    /// Another segment becomes the acting primary.
    async fn switch(&mut self) -> Segment {
        let next = Segment::start().await;
        self.router.switch(&next);
        std::mem::replace(&mut self.segment, next)
    }

    fn socket_dir(&self) -> String {
        self.directory.path().join("s").display().to_string()
    }
}
