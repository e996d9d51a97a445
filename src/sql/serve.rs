//! From a socket to a session: negotiation, startup, and the thread.

use super::control::Control;
use super::core::Core;
use super::error::{SqlError, state};
use super::functions;
use super::gucs::{Gucs, is_utf8};
use super::host::{Client, SqlHost};
use super::registry::{Sessions, Shared, Starting};
use super::session::Session;
use super::wire::{Received, Stream, Wire};
use pgwire::messages::PgWireBackendMessage as B;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey, Startup};
use pgwire::messages::{PgWireFrontendMessage as F, SslNegotiationMetaMessage as Negotiation};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;

/// A client that does not say who it is within this time is let go.
const STARTUP_LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked whether a busy session's client is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Protocol 3.0, the newest we speak.
const PROTOCOL: i32 = 3 << 16;

/// A startup message that somebody else has read already, and whose sender is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupParameters {
    pub parameters: BTreeMap<String, String>,
    /// The client was told that it is authenticated, too.
    pub authentication_told: bool,
}

/// Why a socket directory can't be used.
#[derive(Debug, Error)]
#[error("the socket {path} can't be made: {source}")]
pub struct SocketError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Serves one client of an authenticated TCP stream until it leaves. Dropping the future ends the
/// session.
pub async fn serve_stream(host: Arc<dyn SqlHost>, sessions: Arc<Sessions>, stream: TcpStream) -> io::Result<()> {
    serve(host, sessions, blocking_tcp(stream)?, None).await
}

/// Like [`serve_stream`], when the startup message was read before.
pub async fn serve_started(
    host: Arc<dyn SqlHost>,
    sessions: Arc<Sessions>,
    stream: TcpStream,
    startup: StartupParameters,
) -> io::Result<()> {
    serve(host, sessions, blocking_tcp(stream)?, Some(startup)).await
}

/// Serves one client of an owner-only Unix socket until it leaves.
pub async fn serve_unix(host: Arc<dyn SqlHost>, sessions: Arc<Sessions>, stream: UnixStream) -> io::Result<()> {
    serve(host, sessions, blocking_unix(stream)?, None).await
}

/// Like [`serve_unix`], when the startup message was read before.
pub async fn serve_unix_started(
    host: Arc<dyn SqlHost>,
    sessions: Arc<Sessions>,
    stream: UnixStream,
    startup: StartupParameters,
) -> io::Result<()> {
    serve(host, sessions, blocking_unix(stream)?, Some(startup)).await
}

fn blocking_tcp(stream: TcpStream) -> io::Result<Stream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

fn blocking_unix(stream: UnixStream) -> io::Result<Stream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(Stream::Unix(stream))
}

/// Ends the session when whoever waits for it is gone.
struct HangUp {
    socket: Stream,
    /// The session's brakes, once it has some.
    control: Arc<OnceLock<Arc<Control>>>,
}

impl HangUp {
    /// A session that runs a statement does not read its socket, so somebody else must notice that
    /// its client has left.
    fn look(&self) {
        if let Some(control) = self.control.get()
            && self.socket.is_abandoned()
        {
            control.close("the client is gone");
        }
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if let Some(control) = self.control.get() {
            control.close("the session was dropped");
        }
        self.socket.shutdown(Shutdown::Both);
    }
}

async fn serve(
    host: Arc<dyn SqlHost>,
    sessions: Arc<Sessions>,
    stream: Stream,
    startup: Option<StartupParameters>,
) -> io::Result<()> {
    let control = Arc::new(OnceLock::new());
    let hang_up = HangUp { socket: stream.try_clone()?, control: Arc::clone(&control) };
    let (done, mut finished) = oneshot::channel();
    std::thread::Builder::new().name("sql-session".to_owned()).spawn(move || {
        // The receiver may be gone; then nobody wants to know.
        let _ = done.send(run(&host, &sessions, stream, startup, &control));
    })?;
    loop {
        match tokio::time::timeout(LOOK, &mut finished).await {
            // Without an answer the thread panicked, which its hook has told; the session is over.
            Ok(result) => return result.unwrap_or(Ok(())),
            Err(_) => hang_up.look(),
        }
    }
}

/// A session from its first byte to its last.
fn run(
    host: &Arc<dyn SqlHost>,
    sessions: &Arc<Sessions>,
    stream: Stream,
    startup: Option<StartupParameters>,
    control: &OnceLock<Arc<Control>>,
) -> io::Result<()> {
    let socket = stream.try_clone()?;
    let mut wire = Wire::new(stream);
    let startup = match startup {
        Some(startup) => {
            wire.started();
            startup
        }
        None => match greet(&mut wire, sessions)? {
            Some(startup) => startup,
            None => return Ok(()),
        },
    };
    let (gucs, shared, place) = match begin(host, sessions, &mut wire, socket, &startup) {
        Ok(begun) => begun,
        Err(error) => {
            wire.error(&error);
            return wire.flush();
        }
    };
    // The cell is this session's alone, so it is empty.
    let _ = control.set(Arc::clone(&shared.control));
    let mut session = Session {
        wire,
        host: Arc::clone(host),
        sessions: Arc::clone(sessions),
        shared,
        gucs,
        statements: HashMap::new(),
        portals: HashMap::new(),
        skipping: false,
    };
    let served = session.serve();
    session.shared.core().end();
    drop(session);
    drop(place);
    served
}

/// Reads up to the startup message. `None` when the client wanted something else, or left.
fn greet(wire: &mut Wire, sessions: &Sessions) -> io::Result<Option<StartupParameters>> {
    wire.set_timeout(Some(STARTUP_LIMIT))?;
    loop {
        match wire.receive()? {
            Received::Message(F::SslNegotiation(Negotiation::PostgresSsl(_))) => {
                wire.send(&B::SslResponse(SslResponse::Refuse));
            }
            Received::Message(F::SslNegotiation(Negotiation::PostgresGss(_))) => {
                wire.send(&B::GssEncResponse(GssEncResponse::Refuse));
            }
            Received::Message(F::SslNegotiation(Negotiation::None)) => wire.negotiated(),
            Received::Message(F::CancelRequest(request)) => {
                sessions.cancel(request.pid, &request.secret_key);
                return Ok(None);
            }
            Received::Message(F::Startup(startup)) => return Ok(accept(wire, startup)),
            Received::Closed | Received::TimedOut => return Ok(None),
            Received::Message(_) | Received::Garbage(_) => {
                wire.error(&SqlError::fatal(state::PROTOCOL, "invalid startup packet"));
                wire.flush()?;
                return Ok(None);
            }
        }
    }
}

fn accept(wire: &mut Wire, startup: Startup) -> Option<StartupParameters> {
    if startup.protocol_number_major != 3 {
        let version = startup.protocol_number_major;
        wire.error(&SqlError::fatal(
            state::NOT_SUPPORTED,
            format!("unsupported frontend protocol {version}: server supports 3.0"),
        ));
        // The client may be gone already.
        let _ = wire.flush();
        return None;
    }
    let options: Vec<String> = startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol_number_minor > 0 || !options.is_empty() {
        wire.send(&B::NegotiateProtocolVersion(NegotiateProtocolVersion::new(PROTOCOL, options)));
    }
    wire.started();
    Some(StartupParameters { parameters: startup.parameters, authentication_told: false })
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // The key only keeps one client from cancelling another's query.
        tracing::warn!("no random numbers for a cancel key");
    }
    u32::from_be_bytes(bytes)
}

fn begin(
    host: &Arc<dyn SqlHost>,
    sessions: &Arc<Sessions>,
    wire: &mut Wire,
    socket: Stream,
    startup: &StartupParameters,
) -> Result<(Gucs, Arc<Shared>, Starting), SqlError> {
    let refused = |why: String| SqlError::fatal(state::CANNOT_CONNECT, why);
    let mut place = sessions.start().map_err(refused)?;
    let (gucs, (secret, shared)) =
        set_up(host, sessions, socket, startup).map_err(|error| SqlError { fatal: true, ..error })?;
    place.enter(&shared).map_err(refused)?;
    if !startup.authentication_told {
        wire.send(&B::Authentication(Authentication::Ok));
    }
    for (name, value) in gucs.reported() {
        wire.parameter(name, value);
    }
    wire.send(&B::BackendKeyData(BackendKeyData::new(shared.pid, SecretKey::I32(secret))));
    Ok((gucs, shared, place))
}

type WithSecret = (i32, Arc<Shared>);

fn set_up(
    host: &Arc<dyn SqlHost>,
    sessions: &Arc<Sessions>,
    socket: Stream,
    startup: &StartupParameters,
) -> Result<(Gucs, WithSecret), SqlError> {
    let parameter = |name: &str| startup.parameters.get(name).cloned();
    let user = parameter("user").unwrap_or_default();
    let client = Client {
        database: parameter("database").unwrap_or_else(|| user.clone()),
        application_name: parameter("application_name").unwrap_or_default(),
        user,
    };
    let encoding = parameter("client_encoding").unwrap_or_default();
    if !is_utf8(&encoding) {
        return Err(SqlError::new(state::BAD_SETTING, format!("client_encoding \"{encoding}\" is not supported"))
            .hint("UTF8 is the only one."));
    }
    let version = host.server_version();
    let mut gucs = Gucs::new(host.timeouts(), &version, &client);
    let timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    for name in ["DateStyle", "extra_float_digits", "search_path", "TimeZone"].into_iter().chain(timeouts) {
        if let Some(value) = parameter(name) {
            gucs.set(name, &value)?;
        }
    }
    start_options(&mut gucs, &parameter("options").unwrap_or_default())?;
    let connection = host.open(&client)?;
    let control = Arc::new(Control::new());
    let pid = sessions.free_pid(random());
    functions::add(&connection, &client, &version, pid, &control)
        .map_err(|e| SqlError::new(state::INTERNAL, e.to_string()))?;
    control.set_interrupt(connection.get_interrupt_handle());
    let secret = i32::from_be_bytes(random().to_be_bytes());
    let core = Core::new(connection);
    let shared = Shared::new(pid, secret, control, core, socket);
    Ok((gucs, (secret, Arc::new(shared))))
}

/// `-c name=value` of PGOPTIONS.
fn start_options(gucs: &mut Gucs, options: &str) -> Result<(), SqlError> {
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next(),
            other => other.strip_prefix("-c").or_else(|| other.strip_prefix("--")),
        };
        if let Some((name, value)) = setting.and_then(|s| s.split_once('=')) {
            gucs.set(name, value)?;
        }
    }
    Ok(())
}

/// Listens on `dir/.s.PGSQL.port`, for the owner alone. A socket left behind by a process that died
/// is replaced; the caller holds the lock that says nobody else is there.
pub fn listen_unix(dir: &Path, port: u16) -> Result<UnixListener, SocketError> {
    let path = dir.join(format!(".s.PGSQL.{port}"));
    let made = || -> io::Result<UnixListener> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // The directory is what keeps others out from the first moment; it may have been there.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    made().map_err(|source| SocketError { path, source })
}

/// Serves every client of a Unix socket; ends when dropped. Sessions end with the registry's
/// [`Sessions::close_all`].
pub async fn accept_unix(host: Arc<dyn SqlHost>, sessions: Arc<Sessions>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let session = serve_unix(Arc::clone(&host), Arc::clone(&sessions), stream);
                tokio::spawn(async move {
                    if let Err(e) = session.await {
                        tracing::debug!(error = %e, "a session's socket failed");
                    }
                });
            }
            Err(e) => {
                // Out of file descriptors, most likely: trying again at once would only spin.
                tracing::warn!(error = %e, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
