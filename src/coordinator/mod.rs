//! The coordinator process: the catalog, the fault tolerance service, the operations, the endpoint.
//!
//! ```text
//!  clients --endpoint--> operations --row--> store <--row-- prober (FTS, its own thread)
//!                            |                 |                 |
//!                          hosts             board <--reports----+--orders--> segments
//!                                              |
//!                                     state, routes (gateway)
//! ```

pub mod audit;
mod backup;
pub mod board;
pub mod catalog_sql;
pub mod clock;
mod endpoint;
mod front;
pub mod hostwatch;
pub mod maintenance;
mod membership;
pub mod operations;
pub mod pause;
pub mod places;
pub mod prober;
pub mod routes;
pub mod site;
pub mod state;
pub mod store;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::cluster::request::Owner;
use crate::cluster::{Outcome, State};
use crate::cluster_dir::{Adoption, ClusterConfig, ClusterDirError, ClusterHandle, HostEntry, open};
use crate::core::ids::Dbid;
use crate::gateway::FrontHandle;
use crate::hosts::{AgentHost, DirLock, Host, LockError, SshHost, announce_ready, leave_terminal};
use crate::net::{Endpoint, Identity};
pub use front::{PASSWORD_FILE, RESTRICTED_FILE};

use audit::Audit;
use board::Board;
use operations::Operations;
use places::{Hosts, Places};
use prober::{Prober, ProberError};
use routes::Routes;
use site::{HostPlace, Site};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::{CATALOG_FILE, Store, StoreError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Why a coordinator could not run.
#[derive(Debug, Error)]
pub enum CoordinatorError {
    #[error(transparent)]
    Cluster(#[from] ClusterDirError),
    #[error("another coordinator runs here: {0}")]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Prober(#[from] ProberError),
    #[error(transparent)]
    Front(#[from] crate::gateway::FrontError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
}

/// How long a requested probe waits for the agents.
const HOSTS_WITHIN: Duration = Duration::from_millis(500);

/// A running coordinator.
pub struct Coordinator {
    pub site: Arc<Site>,
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub prober: Prober,
    pub operations: Operations,
    pub places: Arc<Places>,
    audit: Audit,
    /// Held while a host joins or leaves.
    hosts_changing: tokio::sync::Mutex<()>,
    /// `segsh_session_wait`, for the gateway.
    session_wait: watch::Sender<Duration>,
    stopped: watch::Sender<bool>,
    /// The front, once it listens.
    front: OnceLock<FrontHandle>,
}

/// Makes the catalog of a new cluster: what `init` calls.
pub fn create_catalog(config: &ClusterConfig) -> Result<(), StoreError> {
    let dir = coordinator_dir(&config.dir);
    let settings: Vec<_> = config.settings.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    Store::create(&dir.join(CATALOG_FILE), &config.segments, &settings)
}

/// Makes the catalog of a cluster that was adopted, and an entry in the audit log.
pub fn create_adopted_catalog(adoption: &Adoption, owner: &Owner, outcome: &Outcome) -> Result<(), StoreError> {
    let handle = adoption.handle();
    let (dir, now) = (handle.coordinator_dir(), clock::unix_ms());
    let settings: Vec<_> = handle.config().settings.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let by = format!("{} on {}", owner.user, owner.host);
    Store::create_adopted(&dir, &adoption.rows, &adoption.contents, &settings, &by, now)?;
    Audit::new(&dir).append(0, owner, now, outcome);
    Ok(())
}

fn coordinator_dir(cluster_dir: &Path) -> PathBuf {
    cluster_dir.join("coordinator")
}

/// What the coordinator of a cluster directory needs to know.
pub fn site_of(handle: &ClusterHandle) -> Result<Site, ClusterDirError> {
    let config = handle.config();
    Ok(Site {
        cluster: config.name.clone(),
        cluster_id: config.id.clone(),
        drill: config.drill,
        dir: handle.coordinator_dir(),
        host: config.coordinator.host.clone(),
        address: config.coordinator.address.clone(),
        control_port: config.coordinator.control_port,
        pg_port: config.coordinator.port,
        socket_dir: config.socket_dir.clone(),
        key_file: handle.key_file(),
        key: handle.credentials(Identity::Coordinator)?.key,
    })
}

/// The hosts of a cluster directory, in their order.
pub fn hosts_of(handle: &ClusterHandle) -> Vec<HostPlace> {
    let place = |entry: &HostEntry| HostPlace {
        name: entry.name.clone(),
        address: entry.address.clone(),
        dir: entry.dir.clone(),
        ssh: entry.ssh.clone(),
        agent_port: entry.agent_port,
        roots: entry.data_roots(),
    };
    handle.config().hosts.iter().map(place).collect()
}

/// The state of a cluster whose coordinator does not run, from its last catalog.
pub fn last_state(handle: &ClusterHandle) -> Result<State, CoordinatorError> {
    let site = site_of(handle)?;
    let store = Store::open_read_only(&site.dir.join(CATALOG_FILE))?;
    Ok(state::from_last_catalog(&site, &hosts_of(handle), &store)?)
}

/// Runs the coordinator of a cluster directory until the cluster is stopped.
pub async fn run(cluster_dir: &Path) -> Result<(), CoordinatorError> {
    let handle = open(cluster_dir)?;
    let site = site_of(&handle)?;
    leave_terminal().map_err(|source| CoordinatorError::Listen { address: "signals".into(), source })?;
    // Held until death (R7).
    DirLock::take(&site.dir)?.keep_until_death();
    let at = (site.address.clone(), site.control_port);
    let listener = TcpListener::bind((at.0.as_str(), at.1))
        .await
        .map_err(|source| CoordinatorError::Listen { address: format!("{}:{}", at.0, at.1), source })?;
    let hosts = reached(&site, hosts_of(&handle));
    let coordinator = Coordinator::start_on(site, hosts)?;
    let front = front::start(coordinator.clone(), handle.dir()).await?;
    // Once a process: the front lives as long as the coordinator does.
    let _ = coordinator.front.set(front.handle());
    announce_ready();
    coordinator.serve(listener).await;
    front.stop().await;
    Ok(())
}

/// Without that room a failover would wait for space on the coordinator's disk: worth a warning, and no reason
/// not to start.
fn set_room_aside(store: &Store) {
    match store.set_room_aside() {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the catalog's file system sets no room aside for decisions on a full disk"),
        Err(error) => tracing::warn!(%error, "no room was set aside for decisions on a full disk"),
    }
}

impl Coordinator {
    /// Opens the catalog and starts FTS, the watch of the hosts, and what operations were left.
    pub fn start_on(site: Site, hosts: Hosts) -> Result<Arc<Coordinator>, CoordinatorError> {
        let store = Store::open(&site.dir.join(CATALOG_FILE))?;
        Coordinator::start_with(site, hosts, store)
    }

    /// The same, with an end at a point of a test's choice.
    #[cfg(test)]
    fn start_doomed(site: Site, hosts: Hosts, doom: testing::doom::Doom) -> Result<Arc<Coordinator>, CoordinatorError> {
        let mut store = Store::open(&site.dir.join(CATALOG_FILE))?;
        store.doom = doom;
        Coordinator::start_with(site, hosts, store)
    }

    fn start_with(site: Site, hosts: Hosts, store: Store) -> Result<Arc<Coordinator>, CoordinatorError> {
        set_room_aside(&store);
        let (site, store) = (Arc::new(site), Arc::new(store));
        let board = Arc::new(Board::default());
        let maintained = maintenance::left(&store)?;
        board.write(|k| k.maintenance = maintained);
        let places = Places::new(store.rows()?, store.left_behind()?, hosts);
        let (begun, mut to_pick_up) = mpsc::unbounded_channel();
        let left = store.active()?;
        let prober = Prober::start(prober::Setup {
            store: store.clone(),
            board: board.clone(),
            places: places.clone(),
            me: site.credentials(),
            owner: fts_owner(&site),
            begun,
            taken_up: operations::taken_up(&left),
        })?;
        hostwatch::watch(&places, &board, &store);
        let audit = Audit::new(&site.dir);
        let operations =
            Operations::new(store.clone(), board.clone(), prober.clone(), places.clone(), site.clone(), audit.clone());
        operations.resume(left);
        let follow_ups = operations.clone();
        tokio::spawn(async move {
            while let Some(op) = to_pick_up.recv().await {
                follow_ups.pick_up(op);
            }
        });
        let stopped = watch::Sender::new(false);
        let session_wait = watch::Sender::new(session_wait(&store)?);
        let front = OnceLock::new();
        Ok(Arc::new(Coordinator {
            site,
            store,
            board,
            prober,
            operations,
            places,
            audit,
            hosts_changing: tokio::sync::Mutex::default(),
            session_wait,
            stopped,
            front,
        }))
    }

    /// Everything is looked at now: segments by FTS, hosts by asking their agents. A host that hangs is
    /// waited for only a moment: what was known of it stands.
    pub async fn probe(&self) {
        let hosts = self.places.hosts();
        let looks = hosts.iter().map(|known| async {
            // The ping has a deadline of its own, which is longer than anybody should wait here.
            let _ = tokio::time::timeout(HOSTS_WITHIN, hostwatch::look(&*known.host, &self.board)).await;
        });
        tokio::join!(self.prober.probe(), futures::future::join_all(looks));
    }

    /// Writes a setting, which counts from now on; returns its value in its one spelling.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let value = self.store.set_setting(name, value)?;
        self.session_wait.send_replace(session_wait(&self.store)?);
        self.prober.settings_changed();
        Ok(value)
    }

    /// How many clients there are: those of the front, and by a look at every segment those of their own sockets.
    pub async fn sessions(&self) -> u64 {
        self.prober.probe().await;
        let dbids: Vec<Dbid> = self.places.rows().iter().map(|row| row.dbid).collect();
        let at_segments: u64 =
            self.board.read(|k| dbids.iter().filter_map(|dbid| k.answer(*dbid)).map(|report| report.sessions).sum());
        let at_front = self.front.get().map_or(0, FrontHandle::sessions);
        at_segments.saturating_add(u64::try_from(at_front).unwrap_or(u64::MAX))
    }

    /// The front reads its password file again; false where none listens for clients that have passwords.
    pub fn reload_front(&self) -> Result<bool, crate::gateway::PasswordFileError> {
        self.front.get().map_or(Ok(false), FrontHandle::reload)
    }

    fn has_password_file(&self) -> bool {
        self.site.dir.parent().is_some_and(|dir| dir.join(front::PASSWORD_FILE).exists())
    }

    /// Serves clients until the cluster is stopped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        endpoint::serve(self, listener).await;
    }

    /// The cluster now.
    pub fn state(&self) -> Result<State, StoreError> {
        // Copied out: the catalog is read without holding the board.
        let known = self.board.read(Clone::clone);
        let lines = self.operations.recoveries();
        let hosts = self.places.host_places();
        state::build(&self.site, &hosts, &self.store, &known, |content| self.operations.working_on(content), &lines)
    }

    /// The way to acting primaries, for the gateway.
    pub fn routes(&self) -> Routes {
        Routes::new(self.board.clone(), self.prober.clone(), self.site.credentials(), self.places.clone())
    }

    /// Resolves when the cluster has been stopped.
    pub async fn until_stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        // An error means that the sender is gone, which is an end as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

fn session_wait(store: &Store) -> Result<Duration, StoreError> {
    store.setting_number("segsh_session_wait").map(|ms| Duration::from_millis(ms.unwrap_or_default()))
}

/// Who stands behind the goals that FTS writes.
fn fts_owner(site: &Site) -> Owner {
    Owner { user: "FTS".into(), host: site.host.clone(), pid: std::process::id(), ..Owner::default() }
}

/// Hosts, each with the way to its agent.
fn reached(site: &Site, places: Vec<HostPlace>) -> Hosts {
    let reach = |place: HostPlace| {
        let host: Arc<dyn Host> = match &place.ssh {
            Some(ssh) => Arc::new(SshHost::new(place.name.clone(), place.address.clone(), &place.dir, ssh.clone())),
            None => {
                let at = Endpoint::new(place.address.clone(), place.agent_port);
                Arc::new(AgentHost::new(place.name.clone(), at, site.credentials()))
            }
        };
        (place, host)
    };
    places.into_iter().map(reach).collect()
}
