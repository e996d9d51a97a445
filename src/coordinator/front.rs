//! The coordinator's PostgreSQL front: database `postgres` on the catalog, `contentN` by the gateway.

use super::routes::{Routes, Serving, Way};
use super::{Coordinator, CoordinatorError, catalog_sql};
use crate::core::ids::Content;
use crate::gateway::{CatalogServer, Front, FrontConfig, NoPrimary, Route, Router, ServingId, TcpConfig};
use crate::sql::{self, Client, Gate, Position, Sessions, SqlError, SqlHost, StorageError, WriteQueue};
use async_trait::async_trait;
use rusqlite::Connection;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;

/// The file under the cluster's directory that clients over TCP prove themselves with; as it stands
/// it serves as a client's `PGPASSFILE`.
pub const PASSWORD_FILE: &str = "pgpass";

/// While it is in the coordinator's directory, clients over TCP are turned away. A start puts it there, or takes it
/// away, before there is a coordinator; so one that dies in between comes back as it was.
pub const RESTRICTED_FILE: &str = "restricted";

#[async_trait]
impl Router for Routes {
    async fn primary(&self, content: Content, deadline: Instant) -> Result<Route, NoPrimary> {
        let way = Routes::primary(self, content, deadline).await.map_err(|reason| NoPrimary { reason })?;
        let Way { dbid, epoch, serving, address, port } = way;
        Ok(Route { dbid, epoch, serving: ServingId(serving.0), address, port })
    }

    async fn open(&self, route: &Route) -> io::Result<TcpStream> {
        let Route { dbid, epoch, serving, address, port } = route.clone();
        let way = Way { dbid, epoch, serving: Serving(serving.0), address, port };
        Routes::open(self, &way).await.map_err(|e| io::Error::other(e.to_string()))
    }

    fn serving(&self, content: Content) -> ServingId {
        ServingId(Routes::serving(self, content).0)
    }

    async fn changed(&self, content: Content, since: ServingId) {
        Routes::changed(self, content, Serving(since.0)).await;
    }

    fn trouble(&self, content: Content) {
        Routes::trouble(self, content);
    }

    fn contents(&self) -> Vec<Content> {
        Routes::contents(self)
    }
}

/// Database `postgres`.
struct Catalog {
    coordinator: Arc<Coordinator>,
    runtime: Handle,
    queue: Arc<WriteQueue>,
}

impl SqlHost for Catalog {
    fn open(&self, _client: &Client) -> Result<Connection, SqlError> {
        catalog_sql::open(&self.coordinator, &self.runtime)
            .map_err(|e| SqlError::fatal(sql::state::CANNOT_CONNECT, format!("the catalog can't be opened: {e}")))
    }

    fn write_queue(&self) -> &Arc<WriteQueue> {
        &self.queue
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        None
    }

    /// The catalog has one copy and one process: what it says is always current.
    fn read_permit(&self, _go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        Ok(())
    }

    fn position(&self) -> Position {
        Position::default()
    }

    /// A change of the catalog is durable before anybody can see it.
    fn durable(&self, _position: Position, _go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        Ok(())
    }
}

struct CatalogSessions {
    host: Arc<Catalog>,
    sessions: Arc<Sessions>,
}

impl CatalogServer for CatalogSessions {
    fn serve(&self, stream: UnixStream) {
        let (host, sessions) = (self.host.clone(), self.sessions.clone());
        tokio::spawn(async move {
            if let Err(error) = sql::serve_unix(host, sessions, stream).await {
                tracing::debug!(%error, "catalog session ended");
            }
        });
    }
}

/// Starts the front of a coordinator. It listens on TCP too when the cluster has a password file.
pub async fn start(coordinator: Arc<Coordinator>, cluster_dir: &Path) -> Result<Front, CoordinatorError> {
    let site = &coordinator.site;
    let mut config = FrontConfig::new(&site.socket_dir, site.pg_port);
    config.primary_wait = coordinator.session_wait.subscribe();
    config.restricted = site.dir.join(RESTRICTED_FILE).exists();
    let password_file = cluster_dir.join(PASSWORD_FILE);
    if password_file.exists() {
        let address = format!("{}:{}", site.address, site.pg_port);
        let address = address.parse().map_err(|e| CoordinatorError::Listen {
            address: address.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, format!("{e}")),
        })?;
        config.tcp = Some(TcpConfig { address, password_file });
    }
    let catalog = Catalog { coordinator: coordinator.clone(), runtime: Handle::current(), queue: WriteQueue::new() };
    let catalog = CatalogSessions { host: Arc::new(catalog), sessions: Sessions::new() };
    Ok(Front::start(config, Arc::new(coordinator.routes()), Arc::new(catalog)).await?)
}
