//! The control endpoint: the coordinator's probes and orders in, reports out.
//!
//! An order is carried out on a thread of its own, one at a time, while the probe that brought it is
//! answered at once: what came of it is pushed, and the order comes again with the next probe.

use super::process::Segment;
use crate::core::report::{FromSegment, Order, Report, ToSegment};
use crate::engine::Then;
use crate::net::{FrameReceiver, FrameSender, Framed, NetError, Stream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use tokio::sync::{Mutex, mpsc, watch};

/// Answers that may wait for a coordinator that does not read.
const OUTBOX: usize = 64;

/// Serves one control connection until it ends. The coordinator holds one at a time; a second one
/// (a coordinator that restarted) is served like the first.
pub async fn serve(segment: Arc<Segment>, stream: Stream) {
    let (sender, receiver) = Framed::new(stream).split();
    let (out, outbox) = mpsc::channel(OUTBOX);
    // Held from the making of a report until its place among the messages is certain: an older one that
    // came behind a newer would be believed.
    let order = Arc::new(Mutex::new(()));
    let writing = tokio::spawn(write(segment.clone(), sender, outbox, segment.changes(), order.clone()));
    if let Err(error) = read(&segment, receiver, &out, &order).await {
        tracing::info!(%error, "control connection ended");
    }
    writing.abort();
}

async fn read(
    segment: &Arc<Segment>,
    mut receiver: FrameReceiver,
    out: &mpsc::Sender<FromSegment>,
    in_order: &Mutex<()>,
) -> Result<(), NetError> {
    loop {
        match receiver.recv::<ToSegment>().await? {
            ToSegment::Probe { seq, order } => {
                let _placed = in_order.lock().await;
                let report = Box::new(answer_to(segment, order).await);
                // A full outbox is a coordinator that does not read: it will ask again.
                let _ = out.try_send(FromSegment::Report { seq: Some(seq), report });
            }
            ToSegment::Drain { seq } => {
                let (segment, out) = (segment.clone(), out.clone());
                tokio::spawn(async move { segment.drain(seq, out).await });
            }
            ToSegment::Stop { seq, mode } => {
                let (segment, out) = (segment.clone(), out.clone());
                tokio::spawn(async move { segment.stop(seq, mode, out).await });
            }
            ToSegment::Verify { op, rate_bytes, .. } => segment.engine().verify(op, rate_bytes),
            ToSegment::EndVerify { op, .. } => segment.engine().end_verify(op),
            ToSegment::Judge { .. } => segment.judge(),
            ToSegment::Hold { seq, stage } => {
                let answer = match segment.hold(stage) {
                    Ok(()) => FromSegment::Held { seq },
                    Err(error) => FromSegment::Failed { seq, message: error.to_string() },
                };
                let _ = out.try_send(answer);
            }
        }
    }
}

/// Hears the order that a probe brings, and reports. While a drill holds a claim back, who asked before it
/// was made is told what was so then; who asks after it is told the truth, and with that it is out.
async fn answer_to(segment: &Arc<Segment>, order: Option<Order>) -> Report {
    let early = if segment.holds_claim() { Some(segment.report().await) } else { None };
    if early.as_ref().is_some_and(Report::is_held_back) {
        segment.release();
    }
    if let Some(order) = order {
        segment.hear(order);
    }
    match early {
        Some(report) => report,
        None => segment.report().await,
    }
}

/// Writes answers, and a report whenever something changed that nobody asked about.
async fn write(
    segment: Arc<Segment>,
    mut sender: FrameSender,
    mut outbox: mpsc::Receiver<FromSegment>,
    mut changes: watch::Receiver<u64>,
    in_order: Arc<Mutex<()>>,
) {
    loop {
        let messages = tokio::select! {
            message = outbox.recv() => match message { Some(message) => vec![message], None => return },
            changed = changes.changed() => match changed {
                Ok(()) => news(&segment, &mut outbox, &in_order).await,
                Err(_) => return,
            },
        };
        for message in messages {
            if sender.send(&message).await.is_err() {
                return;
            }
        }
    }
}

/// What is to be said when something has changed: the answers that were made before, then a report.
async fn news(
    segment: &Arc<Segment>,
    outbox: &mut mpsc::Receiver<FromSegment>,
    in_order: &Mutex<()>,
) -> Vec<FromSegment> {
    let _placed = in_order.lock().await;
    let report = Box::new(segment.report().await);
    let mut messages: Vec<FromSegment> = std::iter::from_fn(|| outbox.try_recv().ok()).collect();
    if !report.is_held_back() {
        messages.push(FromSegment::Report { seq: None, report });
    }
    messages
}

/// Where orders wait for the thread that obeys them: one is enough, a lost one comes again.
#[derive(Clone)]
pub struct Orders(SyncSender<Order>);

impl Orders {
    pub fn channel() -> (Orders, Receiver<Order>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        (Orders(sender), receiver)
    }

    pub fn hear(&self, order: Order) {
        match self.0.try_send(order) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::error!("nobody obeys orders any more"),
        }
    }
}

/// Obeys orders, one at a time, until the process ends.
pub fn obey(segment: &Arc<Segment>, orders: &Receiver<Order>) {
    for order in orders {
        match segment.engine().order(&order) {
            Ok(Then::Nothing) => {}
            Ok(Then::Serve) => {
                if let Err(error) = segment.open_database() {
                    segment.engine().fence(&format!("its database can't be opened: {error}"));
                }
            }
            Ok(Then::Exit) => segment.exit("demoted: another segment is the acting primary"),
            Err(error) => tracing::warn!(%error, ?order, "order not obeyed"),
        }
    }
}
