//! The connection to the segment that serves a session's content, and the waiting for one.

use super::answer::{Answer, Reply};
use super::cancel::{CancelPoint, ServerKey};
use super::frame::{FrameError, FrameStream, take_cstr};
use super::message::{self, ErrorFields};
use super::prepared::Generation;
use super::{Route, Router};
use crate::core::ids::Content;
use bytes::Bytes;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A session on a segment, past its startup.
#[derive(Debug)]
pub(super) struct Upstream {
    pub reader: FrameStream<OwnedReadHalf>,
    pub writer: OwnedWriteHalf,
    pub route: Route,
    pub key: Option<ServerKey>,
    pub generation: Generation,
    /// What the segment reported about itself while it started the session.
    pub parameters: Vec<(String, String)>,
}

/// Why a segment that is known did not take the session.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Open(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it closed the connection")]
    Closed,
    #[error("it answered {}: {}", .0.code, .0.message)]
    Refused(ErrorFields),
    #[error("it asked for a password")]
    Password,
    #[error("another process took over")]
    Changed,
    #[error("it did not answer in time")]
    Silent,
}

/// What is needed to open an upstream.
pub(super) struct Opening<'a> {
    pub router: &'a dyn Router,
    pub content: Content,
    /// The startup packet.
    pub packet: &'a Bytes,
    /// Statements that restore the session's settings; may be empty.
    pub settings: &'a [u8],
    pub limit: Duration,
    pub point: &'a CancelPoint,
    pub generation: Generation,
}

impl Opening<'_> {
    /// Waits for a primary that takes the session, up to the limit, or until the client cancels.
    pub async fn run(&self) -> Result<Upstream, Reply> {
        let cancelled = self.point.waiting.notified();
        tokio::select! {
            opened = self.until_deadline() => opened,
            () = cancelled => Err(Reply::new(
                Answer::Canceled,
                "canceling statement due to user request, while it waited for a primary",
            )),
        }
    }

    async fn until_deadline(&self) -> Result<Upstream, Reply> {
        let deadline = Instant::now() + self.limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let route = self
                .router
                .primary(self.content, deadline.into_std())
                .await
                .map_err(|none| self.no_primary(&none.reason))?;
            let error = match self.attempt(&route, deadline).await {
                Ok(upstream) => return Ok(upstream),
                Err(error) => error,
            };
            tracing::debug!(content = %self.content, dbid = %route.dbid, %error, "no session on the segment");
            if !matches!(error, ConnectError::Changed) {
                self.router.trouble(self.content);
            }
            if Instant::now() + pause >= deadline {
                return Err(self.no_primary(&format!("dbid {}: {error}", route.dbid)));
            }
            // A change cuts the pause short, but never to nothing: a route that stays older than
            // the row would make this a busy loop.
            sleep(FIRST_PAUSE).await;
            tokio::select! {
                () = sleep(pause) => {}
                () = self.router.changed(self.content, route.serving) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, route: &Route, deadline: Instant) -> Result<Upstream, ConnectError> {
        tokio::select! {
            connected = timeout_at(deadline, self.connect(route)) => {
                connected.unwrap_or(Err(ConnectError::Silent))
            }
            // A primary that hangs must not hold the session once another serves.
            () = self.router.changed(self.content, route.serving) => Err(ConnectError::Changed),
        }
    }

    async fn connect(&self, route: &Route) -> Result<Upstream, ConnectError> {
        let stream = self.router.open(route).await?;
        // A statement is one small write, and its answer is waited for.
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let mut upstream = Upstream {
            reader: FrameStream::new(read),
            writer: write,
            route: route.clone(),
            key: None,
            generation: self.generation,
            parameters: Vec::new(),
        };
        upstream.writer.write_all(self.packet).await?;
        if let Some(error) = upstream.until_ready().await? {
            return Err(ConnectError::Refused(error));
        }
        if !self.settings.is_empty() {
            let query = message::query(self.settings);
            upstream.writer.write_all(&query).await?;
            if let Some(error) = upstream.until_ready().await? {
                tracing::warn!(code = error.code, "a session's settings were not restored");
            }
        }
        Ok(upstream)
    }

    fn no_primary(&self, reason: &str) -> Reply {
        Reply::new(Answer::NoPrimary, format!("content {} has no primary: {reason}", self.content))
    }
}

impl Upstream {
    /// Reads up to ReadyForQuery; the error that came on the way, if one did.
    async fn until_ready(&mut self) -> Result<Option<ErrorFields>, ConnectError> {
        let mut error = None;
        loop {
            let Some(frame) = self.reader.next().await? else {
                return match error {
                    Some(error) => Ok(Some(error)),
                    None => Err(ConnectError::Closed),
                };
            };
            match frame.tag() {
                b'Z' => return Ok(error),
                b'E' => error = Some(message::read_error(frame.body())),
                b'R' if frame.body()[..] != [0; 4] => return Err(ConnectError::Password),
                b'S' => self.parameters.extend(read_parameter(frame.body())),
                b'K' => self.key = ServerKey::read(&frame.body()),
                _ => {}
            }
        }
    }
}

/// Reads the body of ParameterStatus.
pub(super) fn read_parameter(mut body: Bytes) -> Option<(String, String)> {
    let name = take_cstr(&mut body)?;
    let value = take_cstr(&mut body)?;
    let text = |b: Bytes| String::from_utf8_lossy(&b).into_owned();
    Some((text(name), text(value)))
}
