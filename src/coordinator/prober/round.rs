//! The prober's loop: one event at a time into the content's [`Fts`], its decisions carried out.

use super::link::{self, Heard, Link, Pace, Tell};
use super::remarks::{self, Watch};
use super::{Command, Setup, Sight};
use crate::cluster::estimate::rate_of_all;
use crate::coordinator::board::{ContentSeen, Failing};
use crate::coordinator::clock::unix_ms;
use crate::coordinator::site::Site;
use crate::coordinator::store::{Change, Changed, ContentRow, Store, StoreError};
use crate::core::fts::{self, Decision, Event, Failure, Fts, Patience};
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::{FromSegment, Order, PeerAddress, Report, Stage};
use crate::core::row::{Member, Mode, PairRow, Pairing, Status};
use crate::core::transition::{Event as Happening, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

const TICK: Duration = Duration::from_millis(100);
/// How long a requested probe waits for what is undecided: three attempts, and some.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A requested probe: whoever asked wants to know what was true no earlier than that.
struct Asked {
    at: Instant,
    /// Whose answer to a question that was put since then is missing.
    awaits: BTreeSet<Dbid>,
    reply: oneshot::Sender<()>,
}

pub(super) struct Round {
    setup: Setup,
    start: Instant,
    contents: BTreeMap<Content, Fts>,
    /// The content of every segment. Where they are may change, which they are does not.
    segments: BTreeMap<Dbid, Content>,
    extras: BTreeMap<Content, (bool, Option<u64>)>,
    links: BTreeMap<Dbid, Link>,
    /// Whose last result was silence.
    silent: BTreeSet<Dbid>,
    asked: Vec<Asked>,
    patience: Patience,
    pace: watch::Sender<Pace>,
    all_silent: bool,
    /// When a content's segments had last been started by an operation.
    released: BTreeMap<Content, tokio::time::Instant>,
    /// It was said that every segment is silent: once for each time it happens.
    said_silent: bool,
    paused_until: Option<Instant>,
    watch: Watch,
    #[cfg(test)]
    dead: bool,
}

impl Round {
    pub fn new(setup: Setup) -> Result<Round, StoreError> {
        let (patience, pace) = read_settings(&setup.store)?;
        let contents = setup.store.contents()?;
        setup.board.write(|k| k.probed_every(pace.interval, pace.timeout));
        let mut round = Round {
            start: Instant::now(),
            segments: setup.places.rows().iter().map(|s| (s.dbid, s.content)).collect(),
            contents: BTreeMap::new(),
            extras: BTreeMap::new(),
            links: BTreeMap::new(),
            silent: BTreeSet::new(),
            asked: Vec::new(),
            patience,
            pace: watch::Sender::new(pace),
            all_silent: false,
            released: BTreeMap::new(),
            said_silent: false,
            paused_until: None,
            watch: Watch::new(remarks::thresholds(&setup.store)?),
            #[cfg(test)]
            dead: false,
            setup,
        };
        for content in contents {
            round.adopt(content);
        }
        for (content, event) in std::mem::take(&mut round.setup.taken_up) {
            round.step(content, event);
        }
        Ok(round)
    }

    fn adopt(&mut self, content: ContentRow) {
        let row = content.pair.clone().unwrap_or_else(|_| impossible(content.content));
        self.extras.insert(content.content, (content.full_copy, content.rate_bytes));
        self.contents.insert(
            content.content,
            Fts::new(row, self.patience)
                .knowing(content.serving_copy, content.quarantine.clone())
                .having_said(&content.last_event),
        );
        self.publish(&content, Vec::new());
    }

    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let (heard_tx, mut heard) = mpsc::unbounded_channel();
        for dbid in self.segments.keys().copied().collect::<Vec<_>>() {
            self.connect(dbid, &heard_tx);
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            #[cfg(test)]
            if self.dead {
                return;
            }
            tokio::select! {
                biased;
                Some(said) = heard.recv() => {
                    // Its end is in the history before what follows from it, whatever is heard first.
                    self.notice_end_of_pause();
                    // What was said on a link that has ended since, was said of another place.
                    if self.links.get(&said.dbid).is_some_and(|link| link.number == said.link) {
                        self.take_heard(said.dbid, said.what);
                    }
                }
                command = commands.recv() => match command {
                    #[cfg(test)]
                    Some(Command::End(reply)) => {
                        let _ = reply.send(());
                        return;
                    }
                    Some(Command::Moved(dbid)) => self.moved(dbid, &heard_tx),
                    Some(command) => self.take_command(command),
                    None => return,
                },
                _ = ticks.tick() => {
                    self.notice_end_of_pause();
                    self.step_all(&Event::Tick);
                }
            }
            self.answer_probes();
        }
    }

    /// Begins the link to a segment where it is now; one to another place ends.
    fn connect(&mut self, dbid: Dbid, heard: &mpsc::UnboundedSender<link::Said>) {
        let Some(row) = self.setup.places.row(dbid) else {
            return;
        };
        let number = self.links.remove(&dbid).map_or(0, |old| old.number + 1);
        let (to, me) = (Site::endpoint(&row), self.setup.me.clone());
        self.links.insert(dbid, link::start((dbid, number), to, me, self.pace.subscribe(), heard.clone()));
    }

    /// A segment is elsewhere: nothing that is known of its process is of the one that will be there.
    fn moved(&mut self, dbid: Dbid, heard: &mpsc::UnboundedSender<link::Said>) {
        let Some(content) = self.content_of(dbid) else {
            return;
        };
        self.connect(dbid, heard);
        self.setup.board.write(|k| k.segments.remove(&dbid));
        self.notice_silence(dbid, false);
        self.step(content, Event::Moved(dbid));
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn content_of(&self, dbid: Dbid) -> Option<Content> {
        self.segments.get(&dbid).copied()
    }

    fn take_heard(&mut self, dbid: Dbid, what: Heard) {
        let Some(content) = self.content_of(dbid) else {
            return;
        };
        match what {
            Heard::Message { message, answers } => {
                self.take_message(dbid, content, *message);
                if let Some(asked) = answers {
                    self.answered(dbid, asked.into_std());
                }
            }
            // An attempt from before the segments were started says nothing about the new processes.
            Heard::Failed { asked, .. } if self.released.get(&content).is_some_and(|at| asked < *at) => {
                self.kick(Some(dbid));
            }
            Heard::Hindered { why, asked } => {
                let why = format!("the coordinator itself can't connect: {why}");
                if !self.silent.contains(&dbid) {
                    tracing::error!(dbid = dbid.0, why);
                }
                self.show_failure(dbid, Failure::Timeout, &why);
                self.notice_silence(dbid, true);
                self.answered(dbid, asked.into_std());
            }
            Heard::Failed { failure, why, asked } => {
                self.show_failure(dbid, failure, &why);
                self.notice_silence(dbid, matches!(failure, Failure::Timeout | Failure::HostSilent));
                self.step(content, Event::Failed { dbid, failure, why });
                self.answered(dbid, asked.into_std());
            }
        }
    }

    fn take_message(&mut self, dbid: Dbid, content: Content, message: FromSegment) {
        match message {
            FromSegment::Report { report, .. } if report.dbid != dbid || report.content != content => {
                tracing::warn!(dbid = dbid.0, "a report of another segment was dropped");
            }
            FromSegment::Report { report, .. } => {
                self.notice_silence(dbid, false);
                if self.contents.get(&content).is_some_and(|fts| fts.is_overtaken(&report)) {
                    return;
                }
                self.show_report(dbid, &report);
                self.remark(content, &report);
                self.step(content, Event::Heard(report));
            }
            FromSegment::Drained { .. } => {
                self.step(content, Event::Drained(dbid));
                self.kick(Some(dbid));
            }
            FromSegment::Held { .. } => {}
            FromSegment::Failed { message, .. } => {
                tracing::warn!(dbid = dbid.0, message, "a segment can't follow its order now");
            }
        }
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::RowChanged(content) => self.reread(content),
            Command::Hold(content, held) => self.step(content, Event::Hold(held)),
            Command::Release(content) => {
                self.released.insert(content, tokio::time::Instant::now());
                self.step(content, Event::Release);
                self.kick(None);
            }
            Command::Kick(dbid) => self.kick(dbid),
            Command::ProbeNow(reply) => {
                self.asked.push(Asked { at: Instant::now(), awaits: self.segments.keys().copied().collect(), reply });
                self.kick(None);
            }
            Command::Drain(dbid, reply) => match self.links.get(&dbid) {
                Some(link) => drop(link.tell.send(Tell::Drain(reply))),
                None => drop(reply.send(Err(format!("no segment dbid {dbid}")))),
            },
            Command::Stop(dbid, mode) => {
                if let Some(link) = self.links.get(&dbid) {
                    let _ = link.tell.send(Tell::Stop(mode));
                }
            }
            Command::Verify(dbid, request) => {
                // Its connection may be just ending: then it is asked again.
                if let Some(link) = self.links.get(&dbid) {
                    let _ = link.tell.send(Tell::Verify(request));
                }
            }
            Command::HoldRecovery(dbid, stage, reply) => match self.links.get(&dbid) {
                Some(link) => drop(link.tell.send(Tell::Hold(stage, reply))),
                None => drop(reply.send(Err(format!("no segment dbid {dbid}")))),
            },
            Command::SettingsChanged => match read_settings(&self.setup.store) {
                Ok((patience, pace)) => {
                    self.patience = patience;
                    self.pace.send_replace(pace);
                    self.setup.board.write(|k| k.probed_every(pace.interval, pace.timeout));
                    self.step_all(&Event::Patience(patience));
                    match remarks::thresholds(&self.setup.store) {
                        Ok(limits) => self.watch.limits = limits,
                        Err(error) => tracing::error!(%error, "the thresholds stay as they were"),
                    }
                }
                Err(error) => tracing::error!(%error, "the settings stay as they were"),
            },
            // Taken where the links are begun.
            Command::Moved(_) => {}
            #[cfg(test)]
            Command::End(_) => {}
            Command::Pause(length, reply) => {
                self.pause(length);
                let _ = reply.send(());
            }
            Command::Look(content, reply) => drop(reply.send(self.sight(content))),
        }
    }

    fn pause(&mut self, length: Option<Duration>) {
        self.paused_until = length.and_then(|length| Instant::now().checked_add(length));
        self.setup.board.write(|k| k.paused_until = self.paused_until);
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let until_ms = length.map(|length| self.now_ms().saturating_add(ms(length)));
        self.step_all(&Event::Pause { until_ms });
    }

    /// A pause that has run out is in the history too, and what it withheld is decided now.
    fn notice_end_of_pause(&mut self) {
        if self.paused_until.is_some_and(|until| Instant::now() >= until) {
            self.tried(self.setup.store.event("FTS: the pause has run out", unix_ms()));
            self.pause(None);
        }
    }

    fn sight(&self, content: Content) -> Option<Sight> {
        let now = self.now_ms();
        let fts = self.contents.get(&content)?;
        let seen = fts.observations().map(|(at, text)| (now.saturating_sub(*at), text.clone()));
        Some(Sight { now: fts.evidence(now), seen: seen.collect() })
    }

    fn kick(&self, dbid: Option<Dbid>) {
        for (_, link) in self.links.iter().filter(|(d, _)| dbid.is_none_or(|wanted| wanted == **d)) {
            link.kick.notify_one();
        }
    }

    fn step_all(&mut self, event: &Event) {
        for content in self.contents.keys().copied().collect::<Vec<_>>() {
            self.step(content, event.clone());
        }
    }

    fn step(&mut self, content: Content, event: Event) {
        let now = self.now_ms();
        let Some(fts) = self.contents.get_mut(&content) else {
            return;
        };
        let mut decisions = fts.step(now, event);
        // A changed row is a new event, which may decide again; a row settles in a few steps.
        while !decisions.is_empty() {
            let mut next = Vec::new();
            for decision in decisions {
                next.extend(self.carry_out(content, decision));
            }
            decisions = next;
        }
        self.send_orders(content);
    }

    fn carry_out(&mut self, content: Content, decision: Decision) -> Vec<Decision> {
        match decision {
            Decision::Ask(dbid) => self.kick(Some(dbid)),
            Decision::Say(text) => {
                tracing::warn!(content = content.0, text);
                self.say_silence();
            }
            Decision::DoubleFault { reason, evidence } => {
                tracing::error!(content = content.0, reason);
                self.tried(self.setup.store.note(content, &reason, &evidence, unix_ms()));
                self.show_content(content);
            }
            Decision::Quarantine { reason, evidence } => {
                tracing::error!(content = content.0, reason, "quarantined");
                self.tried(self.setup.store.quarantine(content, &reason, &evidence, unix_ms()));
                self.show_content(content);
            }
            Decision::Change(change) => return self.change(content, &change),
        }
        Vec::new()
    }

    /// Changes the row in the catalog, then tells FTS which row stands.
    fn change(&mut self, content: Content, change: &fts::Change) -> Vec<Decision> {
        #[cfg(test)]
        if self.dies("before FTS writes a row") {
            return Vec::new();
        }
        let result = self.setup.store.change(&Change {
            transition: &change.transition,
            reason: &change.reason,
            evidence: &change.evidence,
            recover: change.recover.map(|dbid| (dbid, &self.setup.owner)),
            full_copy: false,
            rate_bytes: None,
            serving_copy: change.serving_copy,
            copy_rate_bytes: self.copy_rate(&change.transition),
            place: None,
            at_ms: unix_ms(),
        });
        #[cfg(test)]
        if self.dies("after FTS wrote a row") {
            return Vec::new();
        }
        let mut begun = None;
        let event = match result {
            Ok(Changed::Done { row, op }) => {
                begun = op;
                if row.pairing() == Some(Pairing::Synchronized) {
                    self.extras.remove(&content);
                }
                Event::Row(row)
            }
            Ok(Changed::Stale { row }) => Event::Row(row),
            Err(error) => {
                tracing::error!(content = content.0, %error, "a decision could not be written");
                Event::NotWritten
            }
        };
        let now = self.now_ms();
        let decisions = self.contents.get_mut(&content).map(|fts| fts.step(now, event)).unwrap_or_default();
        self.show_content(content);
        if let Some(op) = begun {
            // Nobody listens only when the coordinator ends; the goal is in the catalog.
            let _ = self.setup.begun.send(op);
        }
        decisions
    }

    /// The rate of the copy that has made a pair equal, by its primary's own claim.
    fn copy_rate(&self, transition: &Transition) -> Option<i64> {
        if transition.event != Happening::InSync {
            return None;
        }
        self.setup.board.read(|k| {
            let report = k.segments.get(&transition.after.primary.dbid)?.report.as_ref()?;
            report.progress.as_ref().filter(|p| p.stage == Stage::Claimed).and_then(rate_of_all)
        })
    }

    /// Whether a test ends the coordinator here: this thread does nothing from here on.
    #[cfg(test)]
    fn dies(&mut self, point: &str) -> bool {
        self.dead |= self.setup.store.doom.strikes(point);
        self.dead
    }

    fn reread(&mut self, content: Content) {
        match self.setup.store.content(content) {
            Ok(row) => {
                self.extras.insert(content, (row.full_copy, row.rate_bytes));
                self.show_content(content);
                if let Ok(pair) = row.pair {
                    // The row first: what is beside it is judged together with it.
                    let (serving_copy, quarantined) = (row.serving_copy, row.quarantine);
                    self.step(content, Event::Row(pair));
                    self.step(content, Event::Beside { serving_copy, quarantined });
                }
            }
            Err(error) => tracing::error!(content = content.0, %error, "the row could not be read"),
        }
    }

    fn tried(&self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!(%error, "could not be recorded");
        }
    }

    /// Every member's order is the row that stands; a link sends it at once when it changes.
    fn send_orders(&self, content: Content) {
        let Some(fts) = self.contents.get(&content) else {
            return;
        };
        let row = *fts.row();
        let (full_copy, rate_bytes) = self.extras.get(&content).copied().unwrap_or_default();
        for dbid in std::iter::once(row.primary.dbid).chain(row.mirror.map(|m| m.dbid)) {
            let Some(link) = self.links.get(&dbid) else {
                continue;
            };
            let order = fts.may_order(dbid).then(|| Order { row, peer: self.peer(&row, dbid), full_copy, rate_bytes });
            link.order.send_if_modified(|old| {
                let changed = *old != order;
                *old = order;
                changed
            });
        }
    }

    fn peer(&self, row: &PairRow, dbid: Dbid) -> Option<PeerAddress> {
        let peer = self.setup.places.row(row.peer_of(dbid)?)?;
        Some(PeerAddress { dbid: peer.dbid, address: peer.address.clone(), replication_port: peer.replication_port? })
    }

    /// A fault that makes every segment silent at once may be this side's own.
    fn notice_silence(&mut self, dbid: Dbid, is_silent: bool) {
        if is_silent {
            self.silent.insert(dbid);
        } else {
            self.silent.remove(&dbid);
        }
        let silent = !self.segments.is_empty() && self.silent.len() == self.segments.len();
        self.said_silent &= silent;
        if std::mem::replace(&mut self.all_silent, silent) != silent {
            self.step_all(&Event::AllSilent(silent));
        }
    }

    /// That nothing is decided because everybody is silent is for the history, where an administrator
    /// looks for what FTS did.
    fn say_silence(&mut self) {
        if self.all_silent && !std::mem::replace(&mut self.said_silent, true) {
            let text = "FTS: every segment is silent: the fault may be the coordinator's, so nothing is decided";
            self.tried(self.setup.store.event(text, unix_ms()));
        }
    }

    /// A segment has answered, or failed to answer, what it was asked then.
    fn answered(&mut self, dbid: Dbid, when_asked: Instant) {
        for asked in self.asked.iter_mut().filter(|asked| when_asked >= asked.at) {
            asked.awaits.remove(&dbid);
        }
    }

    fn answer_probes(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let now = self.now_ms();
        let contents = &self.contents;
        let is_done = |asked: &Asked| {
            let all_seen = asked.awaits.is_empty() && !contents.values().any(|fts| fts.is_undecided(now));
            all_seen || asked.at.elapsed() >= PROBE_LIMIT
        };
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.asked).into_iter().partition(is_done);
        self.asked = waiting;
        if !done.is_empty() {
            self.setup.board.write(|k| k.probed = Some(Instant::now()));
        }
        for asked in done {
            let _ = asked.reply.send(());
        }
    }

    /// Writes down what is not a fault yet.
    fn remark(&mut self, content: Content, report: &Report) {
        let mirror = self.contents.get(&content).and_then(|fts| fts.row().peer_of(report.dbid));
        for (dbid, text) in self.watch.look(self.now_ms(), report, mirror) {
            tracing::warn!(content = content.0, dbid = dbid.0, text);
            self.tried(self.setup.store.remark(dbid, &text, unix_ms()));
        }
    }

    fn show_report(&self, dbid: Dbid, report: &Report) {
        let now_ms = self.now_ms();
        self.setup.board.write(|k| {
            let seen = k.segments.entry(dbid).or_default();
            let lost = report.mirror_lost.clone().map(|loss| (report.epoch, loss)).or(seen.lost.take());
            let mut report = report.clone();
            seen.measure(now_ms, &mut report);
            (seen.report, seen.heard, seen.failing, seen.lost) = (Some(report), Some(Instant::now()), None, lost);
            k.probed = Some(Instant::now());
        });
    }

    fn show_failure(&self, dbid: Dbid, failure: Failure, why: &str) {
        let is_news = self.setup.board.write(|k| {
            let seen = k.segments.entry(dbid).or_default();
            let (now, now_ms) = (Instant::now(), unix_ms());
            let (since, since_ms) = seen.failing.as_ref().map_or((now, now_ms), |f| (f.since, f.since_ms));
            let known = seen.failing.as_ref().and_then(|f| f.absent_since);
            let absent_since = failure.is_proof_of_absence().then(|| known.unwrap_or(now));
            seen.failing = Some(Failing { since, since_ms, last: now, why: why.into(), absent_since });
            known.is_none() && absent_since.is_some()
        });
        if is_news {
            // Its host knows best whether the process is gone; it may be gone itself.
            self.setup.places.glance_at(&self.setup.places.host_of(dbid));
        }
    }

    fn show_content(&self, content: Content) {
        let now = self.now_ms();
        match self.setup.store.content(content) {
            Ok(row) => {
                let evidence = self.contents.get(&content).map(|fts| fts.evidence(now)).unwrap_or_default();
                self.publish(&row, evidence);
            }
            Err(error) => tracing::error!(content = content.0, %error, "the row could not be read"),
        }
    }

    fn publish(&self, row: &ContentRow, evidence: Vec<String>) {
        let seen = ContentSeen {
            pair: row.pair.clone(),
            serving_epoch: row.serving_epoch,
            must_copy_all: row.must_copy_all,
            quarantine: row.quarantine.clone().or_else(|| row.pair.clone().err()),
            last_event: row.last_event.clone(),
            single_copy_since_ms: row.single_copy_since_ms,
            evidence,
        };
        self.setup.board.write(|k| k.contents.insert(row.content, seen));
    }
}

/// A row that is no pair at all, so that its content is quarantined by the rule for impossible rows.
fn impossible(content: Content) -> PairRow {
    let primary = Member { dbid: Dbid(0), mode: Mode::ChangeTracking, status: Status::Down };
    PairRow { content, epoch: Epoch(0), primary, mirror: None }
}

fn read_settings(store: &Store) -> Result<(Patience, Pace), StoreError> {
    let number = |name: &str| store.setting_number(name).map(Option::unwrap_or_default);
    let timeout_ms = number("gp_fts_probe_timeout")?;
    let retries = u32::try_from(number("gp_fts_probe_retries")?).unwrap_or(u32::MAX);
    let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX);
    let pace = Pace {
        interval: Duration::from_millis(number("gp_fts_probe_interval")?),
        timeout: Duration::from_millis(timeout_ms),
    };
    Ok((Patience { timeout_ms, retries, tick_ms }, pace))
}
