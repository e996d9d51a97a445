//! Driving one operation: every target on a task of its own, so many at a time.

use super::{Live, Shared, backup, outcome, restore};
use crate::cluster::Progressing;
use crate::coordinator::board::HostSeen;
use crate::coordinator::clock::unix_ms;
use crate::coordinator::hostwatch;
use crate::coordinator::prober::VerifyRequest;
use crate::coordinator::store::{Change, Changed, ContentRow, StoreError};
use crate::core::ids::Dbid;
use crate::core::operation::{
    Came, Destination, Ended, Facts, Goal, GoalKind, MemberFacts, Others, Process, Stage, Step, Target, WaitFor,
};
use crate::core::report::{Phase, Report};
use crate::core::row::{PairRow, Pairing, Place, SegmentRow};
use crate::hosts::{Host, HostError, HostFailure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Between two looks, when nothing new is heard.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Between two looks, however much is heard.
const LOOK_AT_MOST: Duration = Duration::from_millis(20);
/// Between two attempts to write an operation's end.
const END_AGAIN: Duration = Duration::from_millis(500);
/// A drain finishes commits in flight; beyond this the primary counts as hung.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn drive(shared: Arc<Shared>, live: Arc<Live>) {
    let (kind, jobs, count) = {
        let goal = live.goal();
        (goal.kind, goal.jobs.max(1), goal.targets.len())
    };
    let slots = Arc::new(Semaphore::new(jobs));
    // The contents of a restore wait for each other: there a slot is taken only while files are written.
    let is_together = matches!(kind, GoalKind::Restore { .. });
    let mut targets = JoinSet::new();
    let is_one = matches!(kind, GoalKind::Backup { .. });
    if is_one {
        backup::run(&shared, &live).await;
    }
    if is_together {
        restore::check(&shared, &live).await;
    }
    for index in (0..count).filter(|_| !is_one) {
        let (shared, live, slots) = (shared.clone(), live.clone(), slots.clone());
        targets.spawn(async move {
            // The semaphore is never closed.
            let _slot = if is_together { None } else { slots.acquire().await.ok() };
            TargetDriver { shared, live, index, kind, slots: slots.clone(), at: Instant::now() }.run().await;
        });
    }
    while let Some(ended) = targets.join_next().await {
        if let Err(error) = ended {
            tracing::error!(op = live.id, %error, "a target was given up");
        }
    }
    #[cfg(test)]
    shared.store.doom.pass("before the end is written").await;
    // Until its end is written it holds its contents: nobody is told otherwise meanwhile.
    while !finish(&shared, &live) {
        tokio::time::sleep(END_AGAIN).await;
    }
}

/// Writes the end of an operation, then tells it. Returns whether it could be written.
pub(super) fn finish(shared: &Shared, live: &Live) -> bool {
    let goal = {
        let mut goal = live.goal();
        for target in goal.targets.iter_mut().filter(|t| t.ended.is_none()) {
            target.ended = Some(Ended::Cancelled { note: "given up".into() });
        }
        goal.clone()
    };
    let outcome = outcome::of(shared, live, &goal);
    if let Err(error) = shared.store.end(live.id, &goal, &outcome, unix_ms()) {
        tracing::error!(op = live.id, %error, "the end of an operation could not be written");
        return false;
    }
    shared.audit.append(live.id, &live.owner, live.started_ms, &outcome);
    shared.live().remove(&live.id);
    live.outcome.send_replace(Some(outcome));
    true
}

struct TargetDriver {
    shared: Arc<Shared>,
    live: Arc<Live>,
    index: usize,
    kind: GoalKind,
    /// How many write at a time.
    slots: Arc<Semaphore>,
    at: Instant,
}

impl TargetDriver {
    async fn run(self) {
        let Some(mut target) = self.live.goal().targets.get(self.index).cloned() else {
            return;
        };
        let mut news = self.shared.board.news();
        let mut flags = self.live.flags.subscribe();
        while target.ended.is_none() {
            let Some(facts) = self.facts(&target).await else {
                target.ended = Some(Ended::Failed { cause: "its rows can't be read".into() });
                break;
            };
            let (kept, before) = (kept(&target), target.clone());
            let step = target.next(self.kind, &facts);
            self.show(&target, &step, &facts);
            if step != Step::Ended && kept != self::kept(&target) {
                #[cfg(test)]
                self.shared.store.doom.pass("before a stage is kept").await;
                self.keep(&target);
            }
            match &step {
                Step::Ended => {
                    #[cfg(test)]
                    self.shared.store.doom.pass("before a target's end is kept").await;
                    let is_done = matches!(target.ended, Some(Ended::Done { .. }));
                    if is_done && !self.keep_on(&target, &facts.row) {
                        target = before;
                    }
                }
                Step::Wait(_) => wait(&mut news, &mut flags).await,
                step => {
                    tracing::info!(op = self.live.id, content = target.content.0, ?step);
                    #[cfg(test)]
                    self.shared.store.doom.pass("before a step").await;
                    let came = self.carry_out(&target, step).await;
                    #[cfg(test)]
                    self.shared.store.doom.pass("after a step").await;
                    if let Came::Failed(cause) | Came::Gone(cause) = &came {
                        tracing::warn!(op = self.live.id, content = target.content.0, cause, "a step failed");
                    }
                    // A name that could not be given is given later: nothing is worse for it meanwhile.
                    let names = matches!(step, Step::Exchange { .. } | Step::PutInPlace { .. });
                    let later = came == Came::Stale || (names && matches!(came, Came::Failed(_)));
                    target.did(step, came);
                    self.keep(&target);
                    if later {
                        wait(&mut news, &mut flags).await;
                    }
                }
            }
        }
        // A content whose target ends on the way must not be left held.
        if matches!(target.stage, Stage::Stopping | Stage::Starting) {
            self.shared.prober.release(target.content);
        }
        self.keep(&target);
    }

    /// Writes down that the target is done, if its row still says so. A catalog that can't be written does not
    /// keep the operation from its end.
    fn keep_on(&self, target: &Target, row: &PairRow) -> bool {
        let mut goal = self.live.goal().clone();
        if let Some(mine) = goal.targets.get_mut(self.index) {
            *mine = target.clone();
        }
        self.shared.store.save_goal_on(self.live.id, &goal, row).unwrap_or_else(|error| {
            tracing::error!(op = self.live.id, %error, "the end of a target could not be written");
            true
        })
    }

    /// Writes down how far the target is.
    fn keep(&self, target: &Target) {
        let goal = {
            let mut goal = self.live.goal();
            if let Some(mine) = goal.targets.get_mut(self.index) {
                *mine = target.clone();
            }
            goal.clone()
        };
        if let Err(error) = self.shared.store.save_goal(self.live.id, &goal) {
            tracing::error!(op = self.live.id, %error, "how far a goal is could not be written");
        }
    }

    /// Everything the next step depends on. The hosts are asked only when they can matter.
    async fn facts(&self, target: &Target) -> Option<Facts> {
        // The catalog itself is asked: the board's copy may be a moment behind a row that was just
        // written, and a step must never be decided on the row before it.
        let content = match self.shared.store.content(target.content) {
            Ok(content) => content,
            Err(error) => {
                tracing::error!(content = target.content.0, %error, "the row could not be read");
                return None;
            }
        };
        let row = match &content.pair {
            Ok(row) => *row,
            // Without a pair there is nothing to look at but the reason.
            Err(_) => return Some(self.with(&content, no_pair(target), BTreeMap::new(), None)),
        };
        let (cancelled, stopping) = {
            let goal = self.live.goal();
            (goal.cancelled, matches!(target.stage, Stage::Pending | Stage::Stopping | Stage::Starting))
        };
        let primary_answers = self.shared.board.read(|k| k.answer(row.primary.dbid).is_some());
        let copying = row.pairing() == Some(Pairing::Resynchronizing) && primary_answers;
        let ask_hosts = stopping || cancelled || !copying;
        let mut members = BTreeMap::new();
        for dbid in std::iter::once(row.primary.dbid).chain(row.mirror.map(|m| m.dbid)) {
            members.insert(dbid, self.member(target, dbid, ask_hosts).await);
        }
        let place = self.shared.places.row(target.dbid).map(|row| row.place());
        let destination = self.destination(target, place.as_ref()).await;
        Some(Facts { destination, ..self.with(&content, row, members, place) })
    }

    fn with(
        &self,
        content: &ContentRow,
        row: PairRow,
        members: BTreeMap<Dbid, MemberFacts>,
        place: Option<Place>,
    ) -> Facts {
        let (cancelled, stop_after_segment, others) = {
            let mut goal = self.live.goal();
            let others = self.others(&mut goal);
            (goal.cancelled, goal.stop_after_segment, others)
        };
        Facts {
            now_ms: u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX),
            op: self.live.id,
            row,
            quarantined: content.quarantine.clone().or_else(|| content.pair.clone().err()),
            members,
            place,
            destination: None,
            must_copy_all: content.must_copy_all,
            serving_copy: content.serving_copy,
            other_works: self.shared.others_work_on(content.content, self.live.id),
            others,
            cancelled,
            stop_after_segment,
        }
    }

    /// How far the other contents are. That none goes back any more is written down before anybody acts on it.
    fn others(&self, goal: &mut Goal) -> Others {
        if !matches!(self.kind, GoalKind::Restore { .. }) {
            return Others::Working;
        }
        let was_decided = goal.replaces;
        let others = goal.others();
        if goal.replaces
            && !was_decided
            && let Err(error) = self.shared.store.save_goal(self.live.id, goal)
        {
            tracing::error!(op = self.live.id, %error, "how far a goal is could not be written");
            goal.replaces = false;
            return Others::Working;
        }
        others
    }

    async fn member(&self, target: &Target, dbid: Dbid, ask_hosts: bool) -> MemberFacts {
        let (report, last, lost) = self.shared.board.read(|k| {
            let seen = k.segments.get(&dbid);
            (k.answer(dbid).cloned(), seen.and_then(|s| s.report.clone()), seen.and_then(|s| s.lost.clone()))
        });
        let mut facts = MemberFacts { report, last, lost, ..MemberFacts::default() };
        let Some((segment, host)) = self.shared.places.segment(dbid).filter(|_| ask_hosts) else {
            return facts;
        };
        let seen = hostwatch::look(&*host, &self.shared.board).await;
        if seen.pid.is_some() {
            facts.process = process(&seen, Path::new(&segment.datadir));
            facts.sibling = process(&seen, &sibling(&segment.datadir));
            let wants_room = matches!(self.kind, GoalKind::Recover { full: true, in_place: false, .. });
            if wants_room && !target.prepared && dbid == target.dbid {
                facts.free_bytes = host.free_bytes(Path::new(&segment.datadir)).await.ok();
            }
        }
        facts
    }

    async fn carry_out(&self, target: &Target, step: &Step) -> Came {
        let prober = &self.shared.prober;
        match step {
            Step::Hold => prober.hold(target.content, true),
            Step::Release => prober.release(target.content),
            Step::Stop { dbid, mode } => prober.stop(*dbid, *mode),
            Step::Drain { dbid } => return self.drain(*dbid).await,
            Step::Fill { dbid } => {
                // The semaphore is never closed.
                let _slot = self.slots.acquire().await;
                return restore::fill(&self.shared, &self.live, target, *dbid).await;
            }
            Step::Verify { dbid, rate_bytes } => {
                prober.verify(*dbid, VerifyRequest::Begin { op: self.live.id, rate_bytes: *rate_bytes });
            }
            Step::EndVerify { dbid } => prober.verify(*dbid, VerifyRequest::End { op: self.live.id }),
            Step::Judge { dbid } => prober.verify(*dbid, VerifyRequest::Judge),
            Step::Change { transition, full_copy, rate_bytes, reason, serving_copy, place } => {
                let rate_bytes = match self.rate(*rate_bytes) {
                    Ok(rate_bytes) => rate_bytes,
                    Err(error) => return Came::Failed(error.to_string()),
                };
                // Who overrode it is part of the record.
                let owner = &self.live.owner;
                let overridden = || format!("override by {} on {}: {reason}", owner.user, owner.host);
                let reason = if transition.event.is_override() { &overridden() } else { reason };
                let change = Change {
                    transition,
                    reason,
                    evidence: &[],
                    recover: None,
                    full_copy: *full_copy,
                    rate_bytes,
                    serving_copy: *serving_copy,
                    copy_rate_bytes: None,
                    place: place.as_ref().map(|place| (target.dbid, place)),
                    at_ms: unix_ms(),
                };
                return self.change(&change).await;
            }
            Step::Kill { dbid, .. }
            | Step::Start { dbid, .. }
            | Step::Prepare { dbid, .. }
            | Step::Exchange { dbid }
            | Step::MakeBeside { dbid }
            | Step::StartBeside { dbid }
            | Step::DropBeside { dbid }
            | Step::PutInPlace { dbid }
            | Step::DropOld { dbid } => return self.at_host(*dbid, step).await,
            Step::DropFormer { place, .. } => return self.drop_former(place).await,
            Step::Wait(_) | Step::Ended => {}
        }
        Came::Fine
    }

    /// Ends what runs at a former place, and drops the directory. A host that is gone keeps nobody waiting.
    async fn drop_former(&self, place: &Place) -> Came {
        let Some(host) = self.shared.places.host(&place.hostname) else {
            return Came::Failed(format!("there is no host {} any more", place.hostname));
        };
        // Who watches it knows; asking again would only wait.
        if self.shared.board.read(|k| k.hosts.get(&place.hostname).is_some_and(|seen| seen.pid.is_none())) {
            return Came::Failed(format!("host {} does not answer", place.hostname));
        }
        for datadir in [PathBuf::from(&place.datadir), sibling(&place.datadir)] {
            let done = host.kill_segment(&datadir).await.map(drop);
            if let Err(error) = match done {
                Ok(()) => host.remove_dir(&datadir).await,
                failed => failed,
            } {
                return Came::Failed(error.to_string());
            }
        }
        self.shared.places.forget_left(&place.hostname, &place.datadir);
        match self.shared.store.forget_left_behind(&place.hostname, &place.datadir) {
            Ok(()) => Came::Fine,
            Err(error) => Came::Failed(error.to_string()),
        }
    }

    /// What is at the place that the target is to be moved to.
    async fn destination(&self, target: &Target, from: Option<&Place>) -> Option<Destination> {
        let to = target.to.as_ref().filter(|to| from != Some(to))?;
        let host = self.shared.places.host(&to.hostname)?;
        // The ports that it has on that very host already, it has itself.
        let kept = from.filter(|from| from.hostname == to.hostname);
        let is_new = |port: &u16| kept.is_none_or(|from| ![from.port, from.replication_port].contains(port));
        let ports: Vec<u16> = [to.port, to.replication_port].into_iter().filter(is_new).collect();
        match host.survey(Path::new(&to.datadir), target.dbid, &ports).await {
            Ok(survey) => Some(Destination::Surveyed(survey)),
            Err(HostError::Failed { failure, .. }) => {
                Some(Destination::Refused(format!("host {}: {failure}", to.hostname)))
            }
            Err(HostError::Unreachable { .. }) => None,
        }
    }

    /// The cap on a copy: the call's own, or else the setting as it is when the copy begins.
    fn rate(&self, of_call: Option<u64>) -> Result<Option<u64>, StoreError> {
        of_call.map_or_else(|| self.shared.store.setting_number("segsh_recovery_rate"), |rate| Ok(Some(rate)))
    }

    async fn drain(&self, dbid: Dbid) -> Came {
        match tokio::time::timeout(DRAIN_WITHIN, self.shared.prober.drain(dbid)).await {
            Ok(Ok(())) => Came::Fine,
            Ok(Err(why)) => Came::Failed(why),
            Err(_) => Came::Failed(format!("dbid {dbid} was not quiet within {} s", DRAIN_WITHIN.as_secs())),
        }
    }

    async fn change(&self, change: &Change<'_>) -> Came {
        let changed = self.shared.store.change(change);
        #[cfg(test)]
        self.shared.store.doom.pass("after a row is written").await;
        match changed {
            Ok(Changed::Done { row, .. }) => {
                if let Some((dbid, place)) = change.place {
                    self.shared.places.set_place(dbid, place, change.at_ms);
                    self.shared.prober.moved(dbid);
                }
                self.shared.board.write(|k| {
                    if let Some(content) = k.contents.get_mut(&row.content) {
                        content.pair = Ok(row);
                    }
                });
                self.shared.prober.row_changed(row.content);
                Came::Changed(row.epoch)
            }
            Ok(Changed::Stale { .. }) => Came::Stale,
            Err(error) => Came::Failed(error.to_string()),
        }
    }

    async fn at_host(&self, dbid: Dbid, step: &Step) -> Came {
        let Some((segment, host)) = self.shared.places.segment(dbid) else {
            return Came::Failed(format!("dbid {dbid} is on no host of this cluster"));
        };
        // What was copied anew, and is no unfinished copy, has its name before anything is started there.
        let unfinished = match self.shared.store.content(segment.content) {
            Ok(content) => {
                content.must_copy_all && content.pair.is_ok_and(|p| p.mirror.is_some_and(|m| m.dbid == dbid))
            }
            Err(error) => return Came::Failed(error.to_string()),
        };
        match host_step(&*host, &self.shared, &segment, step, !unfinished).await {
            Ok(came) => {
                self.shared.prober.kick(Some(dbid));
                came
            }
            // Somebody else was faster: look again.
            Err(HostError::Failed { failure: HostFailure::Running { .. }, .. })
                if matches!(step, Step::Start { .. }) =>
            {
                Came::Stale
            }
            Err(error @ HostError::Failed { failure: HostFailure::Gone { .. }, .. }) => Came::Gone(error.to_string()),
            Err(error) => Came::Failed(error.to_string()),
        }
    }

    fn show(&self, target: &Target, step: &Step, facts: &Facts) {
        let primary = facts.members.get(&facts.row.primary.dbid).and_then(|m| m.report.as_ref());
        // The figures are this recovery's only while its link stands, or once it has claimed.
        let copy = primary
            .filter(|p| matches!(p.phase, Phase::Resynchronizing | Phase::InSync) && p.epoch == facts.row.epoch)
            // Before this operation's own recovery they are those of an earlier one.
            .filter(|_| target.granted.is_some() || target.joined)
            .and_then(|p| p.progress.clone());
        if let Some(copy) = &copy {
            self.live.copies().insert(target.content, copy.clone());
        }
        self.live.progress.send_modify(|now: &mut Progressing| {
            now.elapsed_ms = self.live.elapsed_ms();
            if let Some(line) = now.contents.get_mut(self.index) {
                line.finished = target.ended.is_some();
                line.doing = match (&target.ended, &copy) {
                    (Some(ended), _) => outcome::short(ended).into(),
                    (None, Some(copy)) if matches!(step, Step::Wait(_)) => copy.stage.word().into(),
                    (None, _) if *step == Step::Wait(WaitFor::Verification) => compared(primary, self.live.id, step),
                    (None, _) => step.words().into(),
                };
                line.progress = copy;
            }
        });
    }
}

/// How far a comparison is: `comparing 120 of 512 MiB, 23 %`.
fn compared(primary: Option<&Report>, op: i64, step: &Step) -> String {
    let Some(seen) = primary.and_then(|p| p.verification.as_ref()).filter(|v| v.op == op) else {
        return step.words().into();
    };
    let (done, all) = (seen.verified_bytes, seen.total_bytes.max(1));
    let differ = match seen.differing_blocks {
        0 => String::new(),
        n => format!(", {n} differ"),
    };
    format!("{} {} of {} MiB, {} %{differ}", step.words(), done >> 20, all >> 20, done.min(all) * 100 / all)
}

/// Waits for news, a changed flag, or a while.
async fn wait(news: &mut watch::Receiver<u64>, flags: &mut watch::Receiver<u64>) {
    tokio::time::sleep(LOOK_AT_MOST).await;
    tokio::select! {
        _ = news.changed() => {}
        _ = flags.changed() => {}
        () = tokio::time::sleep(LOOK_AGAIN) => {}
    }
}

/// What of a target must survive the coordinator.
fn kept(target: &Target) -> (Stage, Option<crate::core::ids::Epoch>, [bool; 9], Option<bool>) {
    let Target { stage, granted, continues, was_in_sync, joined, revives, prepared, dropped, filled, .. } = *target;
    let (gave_up, moves) = (target.put_back.is_some(), target.from.is_some());
    (
        stage,
        granted.max(Some(target.above)),
        [was_in_sync, joined, revives, prepared, dropped, filled, gave_up, target.ended.is_some(), moves],
        continues,
    )
}

fn sibling(datadir: &str) -> PathBuf {
    PathBuf::from(format!("{datadir}{}", crate::hosts::NEW_COPY_SUFFIX))
}

fn process(seen: &HostSeen, datadir: &Path) -> Process {
    let running = seen.running.iter().find(|r| r.datadir == datadir);
    running.map_or(Process::Absent, |r| Process::Running(r.pid))
}

/// A row for a content that has none; its quarantine is judged before anything of it is looked at.
fn no_pair(target: &Target) -> PairRow {
    use crate::core::ids::Epoch;
    use crate::core::row::{Member, Mode, Status};
    let primary = Member { dbid: target.dbid, mode: Mode::Synchronized, status: Status::Down };
    PairRow { content: target.content, epoch: Epoch(0), primary, mirror: None }
}

async fn host_step(
    host: &dyn Host,
    shared: &Shared,
    segment: &SegmentRow,
    step: &Step,
    names: bool,
) -> Result<Came, HostError> {
    let config = shared.site.segment_config(segment);
    let beside = config.on_new_copy();
    let of = |is_sibling: bool| if is_sibling { &beside } else { &config };
    match step {
        Step::Kill { sibling, .. } => host.kill_segment(&of(*sibling).datadir).await.map(|_| Came::Fine),
        Step::Start { sibling, .. } => {
            if *sibling {
                // Only a full copy begins beside the name, and whatever an earlier attempt left under
                // the name must not pass for a copy.
                host.remove_identity(&config.datadir).await?;
            } else if names {
                host.name_copy(&config.datadir, &beside.datadir).await?;
            }
            host.start_segment(of(*sibling)).await.map(Came::Pid)
        }
        Step::Prepare { sibling, .. } => {
            // First of all, so that whatever is interrupted, nothing but a full copy can follow.
            host.remove_identity(&config.datadir).await?;
            host.remove_dir(&beside.datadir).await?;
            // The one that is copied to may be gone, too.
            host.make_dir(&of(*sibling).datadir).await?;
            Ok(Came::Fine)
        }
        Step::Exchange { .. } => {
            host.name_copy(&config.datadir, &beside.datadir).await?;
            host.write_segment_config(&config).await?;
            Ok(Came::Fine)
        }
        Step::MakeBeside { .. } => {
            // What serves may be there still, under the sibling's name.
            host.name_copy(&config.datadir, &beside.datadir).await?;
            host.remove_dir(&beside.datadir).await?;
            host.make_dir(&beside.datadir).await?;
            Ok(Came::Fine)
        }
        Step::StartBeside { .. } => host.start_segment(&beside).await.map(Came::Pid),
        Step::DropBeside { .. } => host.remove_dir(&beside.datadir).await.map(|()| Came::Fine),
        Step::PutInPlace { .. } => {
            host.replace_copy(&config.datadir, &beside.datadir).await?;
            host.write_segment_config(&config).await?;
            Ok(Came::Fine)
        }
        Step::DropOld { .. } => {
            // Written again: the coordinator may have died between the exchange and this.
            host.write_segment_config(&config).await?;
            host.remove_dir(&beside.datadir).await?;
            Ok(Came::Fine)
        }
        _ => Ok(Came::Fine),
    }
}
