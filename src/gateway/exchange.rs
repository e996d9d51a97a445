//! One exchange: what was sent to the segment, until all of it is answered or the segment is lost.

use super::frame::{Frame, FrameError, FrameStream};
use super::message;
use super::prepared::Prepared;
use super::session::ClientStream;
use super::upstream::Upstream;
use super::{Router, ServingId};
use crate::core::ids::Content;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use std::collections::VecDeque;
use tokio::io::AsyncWriteExt;

/// How much of a response is kept back, so that it can still be dropped as a whole.
const KEEP_BACK: usize = 1024 * 1024;
/// How much of a COPY's data waits for the segment before no more is read from the client.
const COPY_WINDOW: usize = 256 * 1024;

/// An answer that is still to come.
#[derive(Debug)]
pub(super) enum Pending {
    /// ReadyForQuery, after a simple query or a Sync.
    Ready,
    Parse {
        name: Bytes,
        text: Bytes,
        frame: Frame,
    },
    /// A Parse of the gateway's own, of which the client must see nothing but an error.
    ParseAgain {
        name: Bytes,
    },
    Bind,
    Describe,
    Execute,
    CloseStatement {
        name: Bytes,
    },
    ClosePortal,
}

/// How an exchange ended. Unless it is lost, its answer has been passed on.
#[derive(Debug)]
pub(super) enum End {
    /// ReadyForQuery with this transaction byte.
    Ready(u8),
    /// Everything is answered, and no Sync was sent; after an error the segment waits for one.
    Answered { failed: bool },
    /// The segment ended the session for what the client sent. Its own words were passed on.
    Refused,
    /// The segment is lost, and the rest of its answer was dropped.
    Lost(Loss),
}

/// How the segment was lost.
#[derive(Debug)]
pub(super) struct Loss {
    /// In words.
    pub reason: String,
    /// Whether anything at all was sent.
    pub sent: bool,
    /// The segment itself said, before it closed, that nothing was committed.
    pub certain: bool,
    /// The coordinator does not know it yet.
    pub trouble: bool,
}

/// Everything that one exchange works on.
pub(super) struct Exchange<'a> {
    pub client: &'a mut FrameStream<ClientStream>,
    pub upstream: &'a mut Upstream,
    pub router: &'a dyn Router,
    pub content: Content,
    pub prepared: &'a mut Prepared,
    pub pending: VecDeque<Pending>,
    pub wire: BytesMut,
}

/// What has come of an exchange so far.
#[derive(Debug, Default)]
struct Progress {
    out: BytesMut,
    sent: bool,
    copying: bool,
    failed: bool,
    status: Option<u8>,
    session_changed: bool,
    /// A statement was completed: an error after it says nothing about that one.
    completed: bool,
    last_error: Option<message::ErrorFields>,
}

/// The end, and whether a statement changed the session itself (SET and its like).
pub(super) type Ended = (End, bool);

impl Exchange<'_> {
    /// Runs the exchange. An error is the client's: the session is over.
    pub async fn run(mut self) -> Result<Ended, FrameError> {
        let serving = self.upstream.route.serving;
        let router = self.router;
        let mut changed = router.changed(self.content, serving);
        let mut progress = Progress::default();
        loop {
            if let Some(end) = self.take_buffered(&mut progress, serving).await? {
                return Ok((end, false));
            }
            if let Some(end) = self.finished(&mut progress, serving).await? {
                return Ok((end, progress.session_changed));
            }
            tokio::select! {
                biased;
                () = &mut changed => {
                    self.hear_out(&mut progress);
                    return Ok(progress.switched());
                }
                read = self.upstream.reader.fill() => match read {
                    Ok(true) => {}
                    Ok(false) => return self.hung_up(progress, serving, "the segment closed the connection").await,
                    Err(error) => {
                        let reason = format!("the segment's connection failed: {error}");
                        return self.hung_up(progress, serving, &reason).await;
                    }
                },
                wrote = self.upstream.writer.write_buf(&mut self.wire), if !self.wire.is_empty() => match wrote {
                    Ok(_) => progress.sent = true,
                    Err(error) => return Ok(progress.lost(&format!("the segment's connection failed: {error}"))),
                },
                frame = self.client.next(), if progress.copying && self.wire.len() < COPY_WINDOW => {
                    let frame = frame?.ok_or(FrameError::Truncated)?;
                    progress.copying = !matches!(frame.tag(), b'c' | b'f');
                    self.wire.extend_from_slice(frame.raw());
                }
            }
        }
    }

    /// The end, when everything is answered. What is left to write is written first: half a message
    /// would spoil the stream for the next exchange.
    async fn finished(&mut self, progress: &mut Progress, serving: ServingId) -> Result<Option<End>, FrameError> {
        let end = match progress.status {
            _ if !self.wire.is_empty() => return Ok(None),
            Some(status) => End::Ready(status),
            None if self.pending.is_empty() => End::Answered { failed: progress.failed },
            None => return Ok(None),
        };
        Ok(Some(self.pass_on(progress, serving).await?.unwrap_or(end)))
    }

    /// The segment's end of the connection is closed. Who broke the protocol has lost the session on any
    /// server, and hears what the segment says of it; everybody else has lost a segment.
    async fn hung_up(&mut self, mut progress: Progress, serving: ServingId, reason: &str) -> Result<Ended, FrameError> {
        let refused = progress.last_error.as_ref().is_some_and(message::ErrorFields::is_protocol_violation);
        if !refused {
            return Ok(progress.lost(reason));
        }
        let end = self.pass_on(&mut progress, serving).await?.unwrap_or(End::Refused);
        Ok((end, false))
    }

    /// Takes what has arrived, up to ReadyForQuery. Some end means that the segment is lost.
    async fn take_buffered(&mut self, progress: &mut Progress, serving: ServingId) -> Result<Option<End>, FrameError> {
        while progress.status.is_none() {
            let frame = match self.upstream.reader.buffered() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Ok(Some(progress.lost(&error.to_string()).0)),
            };
            self.take(frame, progress);
            if progress.out.len() > KEEP_BACK || progress.copying {
                let dropped = self.pass_on(progress, serving).await?;
                if dropped.is_some() {
                    return Ok(dropped);
                }
            }
        }
        Ok(None)
    }

    /// What a segment that was replaced had said already: of its results nothing is passed on, but its last
    /// words may make certain that nothing was committed.
    fn hear_out(&mut self, progress: &mut Progress) {
        while let Some(Ok(true)) = self.upstream.reader.fill().now_or_never() {}
        while let Ok(Some(frame)) = self.upstream.reader.buffered() {
            self.take(frame, progress);
        }
    }

    /// Passes on what was kept back, if the process that said it still serves.
    async fn pass_on(&mut self, progress: &mut Progress, serving: ServingId) -> Result<Option<End>, FrameError> {
        if self.router.serving(self.content) != serving {
            return Ok(Some(progress.switched().0));
        }
        if !progress.out.is_empty() {
            self.client.write(&progress.out).await?;
            progress.out.clear();
        }
        Ok(None)
    }

    fn take(&mut self, frame: Frame, progress: &mut Progress) {
        match frame.tag() {
            b'Z' => {
                if matches!(self.pending.front(), Some(Pending::Ready)) {
                    self.pending.pop_front();
                    progress.status = Some(frame.raw().get(5).copied().unwrap_or(b'I'));
                }
            }
            b'1' if self.parsed() => return,
            b'2' => self.answered(|p| matches!(p, Pending::Bind)),
            b'3' => self.closed(),
            b'T' | b'n' => self.answered(|p| matches!(p, Pending::Describe)),
            b'C' => {
                progress.completed = true;
                progress.session_changed |= changes_session(&frame.raw()[5..]);
                self.answered(|p| matches!(p, Pending::Execute));
            }
            b'I' | b's' => self.answered(|p| matches!(p, Pending::Execute)),
            b'E' => self.failed(&frame, progress),
            b'G' => progress.copying = true,
            _ => {}
        }
        progress.out.extend_from_slice(frame.raw());
    }

    fn answered(&mut self, expected: impl Fn(&Pending) -> bool) {
        if self.pending.front().is_some_and(expected) {
            self.pending.pop_front();
        }
    }

    /// True when the answer is to a Parse of the gateway's own.
    fn parsed(&mut self) -> bool {
        let generation = self.upstream.generation;
        match self.pending.pop_front() {
            Some(Pending::Parse { name, text, frame }) => {
                self.prepared.insert(name, text, frame, generation);
                false
            }
            Some(Pending::ParseAgain { name }) => {
                self.prepared.parsed_again(&name, generation);
                true
            }
            Some(other) => {
                self.pending.push_front(other);
                false
            }
            None => false,
        }
    }

    fn closed(&mut self) {
        if let Some(Pending::CloseStatement { name }) = self.pending.front() {
            self.prepared.remove(name);
        }
        self.answered(|p| matches!(p, Pending::CloseStatement { .. } | Pending::ClosePortal));
    }

    fn failed(&mut self, frame: &Frame, progress: &mut Progress) {
        let error = message::read_error(frame.body());
        // After a fatal one only the end of the stream is left to wait for.
        if !error.fatal {
            self.pending.retain(|p| matches!(p, Pending::Ready));
            progress.failed = true;
            progress.copying = false;
        }
        progress.last_error = Some(error);
    }
}

impl Progress {
    fn lost(&self, reason: &str) -> Ended {
        let said = self.last_error.as_ref();
        let loss = Loss {
            reason: match said.filter(|e| e.fatal) {
                Some(error) => error.message.clone(),
                None => reason.to_owned(),
            },
            sent: self.sent,
            certain: self.is_certain(),
            trouble: true,
        };
        (End::Lost(loss), false)
    }

    fn switched(&self) -> Ended {
        let loss = Loss {
            reason: "another process became its primary".to_owned(),
            sent: self.sent,
            certain: self.is_certain(),
            trouble: false,
        };
        (End::Lost(loss), false)
    }

    /// Whether the segment itself said that nothing was committed. A drain says so with 40001, a segment that
    /// leaves with 57P01: whoever commits at that moment is told 08007, or nothing.
    fn is_certain(&self) -> bool {
        let said = self.last_error.as_ref();
        !self.completed && said.is_some_and(|e| e.code == "40001" || (e.fatal && e.code == "57P01"))
    }
}

fn changes_session(tag: &[u8]) -> bool {
    [&b"SET"[..], b"RESET", b"DISCARD", b"DEALLOCATE"].iter().any(|t| tag.starts_with(t))
}
