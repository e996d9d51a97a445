//! The primary's end of a replication link: the threads that carry it.
//!
//! A link is born in a recovery and ends with the first lost connection; it is never resumed (R6).

use super::state::{Engine, Inner};
use crate::core::frame::{Frame, FrameError, HEADER_BYTES};
use crate::core::pair::replica::LinkId;
use crate::core::report::MirrorLoss;
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clock's step; a step that took longer than [`LATE`] voids the deadlines it would judge.
const CLOCK_STEP: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);
/// Bytes that one write to the socket carries at most.
const BATCH_BYTES: usize = 1 << 20;
/// Data from this size on go to the socket from where they are; copying less is cheaper than a call.
const COPIED_BYTES: usize = 16 << 10;

/// Why reading a frame failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the other end is gone")]
    Ended,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            // However the end of a process shows on its connections, it is the same news.
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => ReadError::Ended,
            _ => ReadError::Io(error),
        }
    }
}

pub(super) fn read_frame(stream: &mut impl Read) -> Result<Frame, ReadError> {
    read_frame_into(stream, Vec::new())
}

/// Reads a frame, its body into `room` when that is as long: a copy's frames are, and nothing is then
/// allocated or zeroed for them.
pub(super) fn read_frame_into(stream: &mut impl Read, room: Vec<u8>) -> Result<Frame, ReadError> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Frame::header(header)?;
    let mut body = room;
    body.resize(header.body_len as usize, 0);
    stream.read_exact(&mut body)?;
    Ok(Frame::decode(header, body)?)
}

pub(super) fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    stream.write_all(&bytes)
}

/// Writes frames in their order: small ones together, long data from where they are.
fn write_frames(stream: &mut impl Write, frames: &[Frame], gathered: &mut Vec<u8>) -> io::Result<()> {
    gathered.clear();
    for frame in frames {
        let data = frame.encode_head(gathered);
        if data.len() < COPIED_BYTES {
            gathered.extend_from_slice(data);
        } else {
            write_both(stream, gathered, data)?;
            gathered.clear();
        }
    }
    stream.write_all(gathered)
}

/// Writes all of two pieces, with one call if that takes them.
fn write_both(stream: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<()> {
    let written = loop {
        match stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => break written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if let Some(rest) = first.get(written..).filter(|rest| !rest.is_empty()) {
        stream.write_all(rest)?;
    }
    stream.write_all(&second[written.saturating_sub(first.len())..])
}

impl Engine {
    /// Starts the threads of the link that was just put into place.
    pub(super) fn run_link(self: &Arc<Engine>, link: LinkId, stream: &TcpStream) -> io::Result<()> {
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
        };
        let (engine, mut writer) = (self.clone(), stream.try_clone()?);
        spawn("link-send", Box::new(move || engine.send_frames(link, &mut writer)))?;
        let (engine, reader) = (self.clone(), stream.try_clone()?);
        spawn("link-receive", Box::new(move || engine.receive_answers(link, reader)))?;
        let engine = self.clone();
        spawn("link-clock", Box::new(move || engine.watch_link(link)))
    }

    fn send_frames(&self, link: LinkId, stream: &mut TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let mut inner = self.lock();
            let batch = loop {
                match inner.replica.next_frames(link, BATCH_BYTES) {
                    Err(_) => return,
                    Ok(batch) if !batch.frames.is_empty() => break batch,
                    Ok(_) => inner = self.to_send.wait(inner).expect("a panic under this lock ends the process"),
                }
            };
            drop(inner);
            if batch.made_room {
                self.changed.notify_all();
            }
            if let Err(error) = write_frames(stream, &batch.frames, &mut bytes) {
                return self.mirror_is_lost(link, MirrorLoss::LinkClosed(ReadError::from(error).to_string()));
            }
        }
    }

    fn receive_answers(&self, link: LinkId, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let frame = match read_frame(&mut reader) {
                Ok(frame) => frame,
                Err(error) => return self.mirror_is_lost(link, MirrorLoss::LinkClosed(error.to_string())),
            };
            let mut inner = self.lock();
            let now = self.now();
            let oldest = |inner: &Inner| inner.replica.acting().ok()?.link()?.oldest_unanswered(now);
            let before = oldest(&inner);
            let is_ours = match frame {
                Frame::Hashes { file, offset, held } => self.take_hashes(&mut inner, link, file, offset, &held),
                frame => inner.replica.answered(link, frame).is_ok(),
            };
            if !is_ours {
                return;
            }
            if oldest(&inner) < before {
                inner.pacing.answered(now, before);
            }
            let lost = inner.replica.open_link_id() != Some(link);
            inner.close_what_is_over();
            drop(inner);
            if lost {
                return self.announce();
            }
            self.changed.notify_all();
        }
    }

    /// Lets the link's clock run, while the link is ours.
    fn watch_link(&self, link: LinkId) {
        let mut last_step = Instant::now();
        loop {
            let mut inner = self.lock();
            let late = last_step.elapsed() > LATE;
            last_step = Instant::now();
            match inner.replica.tick(link, self.now(), late) {
                Err(_) => return,
                Ok(true) => {
                    tracing::warn!(link = link.0, "the mirror is silent: it counts as lost");
                    inner.close_what_is_over();
                    drop(inner);
                    return self.announce();
                }
                Ok(false) => drop(inner),
            }
            self.to_send.notify_all();
            std::thread::sleep(CLOCK_STEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::track::FileId;

    /// Takes a few bytes at a time, as a socket whose buffer is nearly full.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_arrive_in_their_order_however_little_the_socket_takes_at_a_time() {
        let data = |offset: u64, len: usize| Frame::Data { file: FileId::Main, offset, bytes: vec![offset as u8; len] };
        let frames = [
            Frame::Barrier(1),
            data(4096, 100),
            data(8192, COPIED_BYTES),
            data(1 << 20, 3 * COPIED_BYTES + 1),
            Frame::Ping(7),
            data(3, COPIED_BYTES - 1),
        ];
        for width in [1, 7, HEADER_BYTES, HEADER_BYTES + 1, COPIED_BYTES, 1 << 20] {
            let mut wire = Narrow(Vec::new(), width);
            write_frames(&mut wire, &frames, &mut vec![0xff; 9]).expect("written");
            let mut wire = &wire.0[..];
            let mut room = vec![0x5a; COPIED_BYTES];
            for frame in &frames {
                let read = read_frame_into(&mut wire, std::mem::take(&mut room)).expect("a frame");
                assert_eq!(&read, frame, "{width} bytes at a time");
                if let Frame::Data { bytes, .. } = read {
                    room = bytes;
                }
            }
            assert!(wire.is_empty());
        }
    }
}
