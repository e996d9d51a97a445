//! The listening side: sockets, startup, and the choice between the catalog and a content.

use super::answer::{Answer, Reply};
use super::cancel::Cancels;
use super::frame::{FrameError, FrameStream};
use super::scram::{self, PasswordFile, PasswordFileError};
use super::session::{ClientStream, Ending, Session};
use super::socket::{self, OwnedSocket};
use super::startup::{self, Database, Parameters, Startup, StartupError};
use super::{CatalogServer, Router, catalog, message};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a client may take to say who it is.
const STARTUP_LIMIT: Duration = Duration::from_secs(10);
/// How long a stopping front waits for its sessions to be told.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the front listens, and its limits.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    /// The directory of the Unix socket; it is made 0700.
    pub socket_dir: PathBuf,
    /// The port that names the Unix socket.
    pub port: u16,
    /// TCP too, if wanted.
    pub tcp: Option<TcpConfig>,
    /// How long a statement waits for a primary; what is sent here counts from the next wait on.
    pub primary_wait: watch::Receiver<Duration>,
    /// How many sessions there may be at once.
    pub max_sessions: usize,
    /// Clients over TCP are turned away (57P03): only the owner of the Unix socket is served.
    pub restricted: bool,
}

impl FrontConfig {
    /// The contract's limits, and no TCP.
    pub fn new(socket_dir: impl Into<PathBuf>, port: u16) -> FrontConfig {
        FrontConfig {
            socket_dir: socket_dir.into(),
            port,
            tcp: None,
            primary_wait: watch::channel(Duration::from_secs(30)).1,
            max_sessions: 1000,
            restricted: false,
        }
    }
}

/// TCP with SCRAM-SHA-256.
#[derive(Debug, Clone)]
pub struct TcpConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// See [`PasswordFile`].
    pub password_file: PathBuf,
}

/// Why the front does not listen.
#[derive(Debug, Error)]
pub enum FrontError {
    /// The Unix socket.
    #[error("cannot listen on {path}: {error}")]
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The TCP address.
    #[error("cannot listen on {address}: {error}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The password file.
    #[error(transparent)]
    Password(#[from] PasswordFileError),
}

/// What can be asked of a front and told to it while it serves; clones are as good.
#[derive(Debug, Clone)]
pub struct FrontHandle {
    sessions: watch::Receiver<usize>,
    passwords: Option<(PathBuf, watch::Sender<Arc<PasswordFile>>)>,
}

impl FrontHandle {
    /// How many clients are connected.
    pub fn sessions(&self) -> usize {
        *self.sessions.borrow()
    }

    /// Reads the password file again; from now on it counts. One that cannot be read changes nothing.
    pub fn reload(&self) -> Result<(), PasswordFileError> {
        if let Some((path, passwords)) = &self.passwords {
            passwords.send_replace(Arc::new(PasswordFile::load(path)?));
        }
        Ok(())
    }
}

/// A front that listens. Dropping it ends it and its sessions without waiting for them.
#[derive(Debug)]
pub struct Front {
    stop: watch::Sender<bool>,
    sessions: watch::Sender<usize>,
    passwords: Option<(PathBuf, watch::Sender<Arc<PasswordFile>>)>,
    accepting: Vec<JoinHandle<()>>,
    socket_path: PathBuf,
    tcp_address: Option<SocketAddr>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Front {
    /// Listens, and serves every client on a task of its own. Needs a tokio runtime.
    pub async fn start(
        config: FrontConfig,
        router: Arc<dyn Router>,
        catalog: Arc<dyn CatalogServer>,
    ) -> Result<Front, FrontError> {
        let socket_path = socket::path(&config.socket_dir, config.port);
        let passwords = match &config.tcp {
            Some(tcp) => {
                let file = Arc::new(PasswordFile::load(&tcp.password_file)?);
                Some((tcp.password_file.clone(), watch::Sender::new(file)))
            }
            None => None,
        };
        let tcp = match &config.tcp {
            Some(tcp) => Some(listen_tcp(tcp.address).await?),
            None => None,
        };
        let unix = socket::bind(&config.socket_dir, config.port)
            .map_err(|error| FrontError::Unix { path: socket_path.clone(), error })?;
        let tcp_address = tcp.as_ref().and_then(|l| l.local_addr().ok());
        let stop = watch::Sender::new(false);
        let sessions = watch::Sender::new(0);
        let shared = Arc::new(Shared {
            router,
            catalog,
            cancels: Arc::new(Cancels::default()),
            config,
            stop: stop.subscribe(),
            sessions: sessions.clone(),
        });
        let mut accepting = vec![tokio::spawn(accept_unix(unix, Arc::clone(&shared)))];
        if let (Some(listener), Some((_, passwords))) = (tcp, &passwords) {
            accepting.push(tokio::spawn(accept_tcp(listener, passwords.subscribe(), shared)));
        }
        Ok(Front { stop, sessions, passwords, accepting, socket_path, tcp_address })
    }

    /// What can be asked of it and told to it from elsewhere.
    pub fn handle(&self) -> FrontHandle {
        FrontHandle { sessions: self.sessions.subscribe(), passwords: self.passwords.clone() }
    }

    /// The Unix socket's file.
    pub fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// Where TCP is listened on, if it is.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// How many clients are connected.
    pub fn sessions(&self) -> usize {
        *self.sessions.borrow()
    }

    /// Waits until no client is connected: the smart way to stop.
    pub async fn idle(&self) {
        // The sender lives as long as this front, so waiting can't fail.
        let _ = self.sessions.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Takes no more clients, tells every session that the coordinator stops (57P01), and removes
    /// the socket.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.accepting.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener of the front ended badly");
            }
        }
        if tokio::time::timeout(STOP_LIMIT, self.idle()).await.is_err() {
            tracing::warn!(sessions = self.sessions(), "sessions outlive the front");
        }
    }
}

struct Shared {
    router: Arc<dyn Router>,
    catalog: Arc<dyn CatalogServer>,
    cancels: Arc<Cancels>,
    config: FrontConfig,
    stop: watch::Receiver<bool>,
    sessions: watch::Sender<usize>,
}

/// Counts a client for as long as it is served.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Counted {
        shared.sessions.send_modify(|n| *n += 1);
        Counted(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.send_modify(|n| *n = n.saturating_sub(1));
    }
}

async fn listen_tcp(address: SocketAddr) -> Result<TcpListener, FrontError> {
    TcpListener::bind(address).await.map_err(|error| FrontError::Tcp { address, error })
}

async fn stopped(stop: &watch::Receiver<bool>) {
    // A sender that is gone means a front that is gone: that is a stop as well.
    let _ = stop.clone().wait_for(|stop| *stop).await;
}

async fn accept_unix(socket: OwnedSocket, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = stopped(&shared.stop) => return,
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => begin(Box::new(stream), None, &shared),
                Err(error) => pause(&error).await,
            },
        }
    }
}

async fn accept_tcp(listener: TcpListener, passwords: watch::Receiver<Arc<PasswordFile>>, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = stopped(&shared.stop) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    prepare(&stream, peer);
                    let passwords = Arc::clone(&passwords.borrow());
                    begin(Box::new(stream), Some(passwords), &shared);
                }
                Err(error) => pause(&error).await,
            },
        }
    }
}

fn prepare(stream: &TcpStream, peer: SocketAddr) {
    let keepalive = rustix::net::sockopt::set_socket_keepalive(stream, true);
    if let Err(error) = stream.set_nodelay(true).and(keepalive.map_err(Into::into)) {
        tracing::debug!(%peer, %error, "a client's socket keeps its defaults");
    }
}

/// Out of descriptors, most likely: accepting again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a client could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn begin(stream: ClientStream, passwords: Option<Arc<PasswordFile>>, shared: &Arc<Shared>) {
    let counted = Counted::new(shared);
    tokio::spawn(async move {
        let shared = &counted.0;
        shared.client(FrameStream::new(stream), passwords).await;
    });
}

impl Shared {
    async fn client(&self, mut client: FrameStream<ClientStream>, passwords: Option<Arc<PasswordFile>>) {
        let introduced = tokio::select! {
            introduced = tokio::time::timeout(
                STARTUP_LIMIT,
                self.introduce(&mut client, passwords.as_deref()),
            ) => introduced.unwrap_or(Err(Ending::Gone)),
            () = stopped(&self.stop) => Err(Ending::Fatal(stopping())),
        };
        match introduced {
            Ok(Some((parameters, database))) => self.session(client, parameters, database).await,
            Ok(None) | Err(Ending::Gone) => {}
            Err(Ending::Fatal(reply)) => refuse(&mut client, &reply).await,
        }
    }

    /// Startup and authentication. `None` when the client wanted no session.
    async fn introduce(
        &self,
        client: &mut FrameStream<ClientStream>,
        passwords: Option<&PasswordFile>,
    ) -> Result<Option<(Parameters, Database)>, Ending> {
        let parameters = match startup::read(client).await.map_err(bad_startup)? {
            Startup::Gone => return Ok(None),
            Startup::Cancel(body) => {
                self.cancels.cancel(&body, &*self.router, &*self.catalog).await;
                return Ok(None);
            }
            Startup::Session(parameters) => parameters,
        };
        if self.config.restricted && passwords.is_some() {
            let text = "the cluster was started restricted: only its owner may connect";
            return Err(Ending::Fatal(Reply::new(Answer::Restricted, text)));
        }
        if *self.sessions.borrow() > self.config.max_sessions {
            let text = format!("there are {} sessions already", self.config.max_sessions);
            return Err(Ending::Fatal(Reply::new(Answer::TooManySessions, text)));
        }
        let mut out = BytesMut::new();
        parameters.negotiation(&mut out);
        client.write(&out).await?;
        let name = parameters.database();
        if let Some(passwords) = passwords {
            scram::authenticate(client, name, parameters.user(), passwords).await?;
        }
        let contents = self.router.contents();
        let database = startup::database(name, &contents).ok_or_else(|| {
            let text = startup::unknown_database(name, &contents);
            Ending::Fatal(Reply::new(Answer::UnknownDatabase, text))
        })?;
        Ok(Some((parameters, database)))
    }

    async fn session(&self, mut client: FrameStream<ClientStream>, parameters: Parameters, database: Database) {
        let registration = match self.cancels.register() {
            Ok(registration) => registration,
            Err(error) => {
                let reply = Reply::new(Answer::CatalogGone, error.to_string());
                return refuse(&mut client, &reply).await;
            }
        };
        match database {
            Database::Catalog => {
                let stop = stopped(&self.stop);
                catalog::relay(client, &parameters, &registration, &*self.catalog, stop).await;
            }
            Database::Content(content) => {
                let mut session = Session::new(
                    client,
                    Arc::clone(&self.router),
                    content,
                    &parameters,
                    self.config.primary_wait.clone(),
                    registration,
                );
                let ending = tokio::select! {
                    ending = session.run() => ending,
                    () = stopped(&self.stop) => Ending::Fatal(stopping()),
                };
                if let Ending::Fatal(reply) = ending {
                    session.end(&reply).await;
                }
            }
        }
    }
}

fn stopping() -> Reply {
    Reply::new(Answer::ShuttingDown, "the coordinator stops")
}

fn bad_startup(error: StartupError) -> Ending {
    let answer = match &error {
        StartupError::Frame(FrameError::Io(_) | FrameError::Truncated) => return Ending::Gone,
        StartupError::Version { .. } => Answer::ProtocolVersion,
        StartupError::Frame(FrameError::Length(_)) | StartupError::Malformed => Answer::ProtocolViolation,
    };
    Ending::Fatal(Reply::new(answer, error.to_string()))
}

async fn refuse(client: &mut FrameStream<ClientStream>, reply: &Reply) {
    let mut out = BytesMut::new();
    message::error(&mut out, reply);
    // The client may be gone: then there is nobody to tell.
    let _ = client.write(&out).await;
    let _ = client.shutdown().await;
}
