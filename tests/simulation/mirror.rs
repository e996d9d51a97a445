//! The mirror's threads: who waits for the order that a link belongs to, and who applies its frames.

use crate::disk::Trouble;
use crate::planted::Planted;
use crate::process::{Around, Death, Next, Process, Task, Undone, carry_out};
use crate::wire::{End, Item};
use segsh::core::frame::Frame;
use segsh::core::pair::replica::{Applier, ApplierEnd, Effect};
use segsh::core::report::Phase;
use std::collections::VecDeque;

/// A thread that applies the frames of one connection.
#[derive(Debug)]
pub struct Apply {
    applier: Applier,
    /// What the last frame asks for and is not done.
    effects: VecDeque<Effect>,
    last_heard: u64,
}

/// A primary that says nothing for so long does not hold the mirror.
const SILENCE: u64 = 4_000_000;
/// How long a connection waits for the order that it belongs to.
const ORDER_DEADLINE: u64 = 2_000_000;

impl Process {
    /// A connection came for the link; the primary may have heard of the recovery first.
    pub fn accept(&mut self, connection: usize, a: &mut Around) -> Result<Next, Death> {
        let since = a.wire.get(&connection).and_then(|c| c.next_arrival(End::Mirror)).unwrap_or(a.now);
        if self.phase() == Phase::Nobody && a.now < since + ORDER_DEADLINE {
            return Ok(Next::Wait(ORDER_DEADLINE));
        }
        match self.replica.link_arrived() {
            Ok(applier) => {
                let apply = Apply { applier, effects: VecDeque::new(), last_heard: a.now };
                self.appliers.insert(connection, apply);
                self.unjoined.push(connection);
                self.streams.push(connection);
                self.spawned.push(Task::Apply(connection));
                self.announce();
            }
            Err(_) => a.close(connection, End::Mirror),
        }
        Ok(Next::Over)
    }

    pub fn apply(&mut self, connection: usize, a: &mut Around) -> Result<Next, Death> {
        let Some(mut apply) = self.appliers.remove(&connection) else { return Ok(Next::Over) };
        let came = self.apply_next(connection, &mut apply, a)?;
        match came {
            Ok(next) => {
                self.appliers.insert(connection, apply);
                Ok(next)
            }
            Err(end) => {
                a.trace.say(a.now, || format!("{} applier ends: {end:?}", a.side));
                let delay = a.delay();
                if let Some(wire) = a.wire.get_mut(&connection) {
                    wire.send(End::Primary, Item::Frame(Frame::Failed(format!("{end:?}"))), a.now, delay);
                    wire.send(End::Primary, Item::Closed, a.now, delay);
                }
                self.replica.link_ended(&apply.applier, end);
                self.ended.insert(connection);
                self.announce();
                Ok(Next::Over)
            }
        }
    }

    /// Nothing of a frame that was heard is left to be done.
    pub fn is_idle(&self) -> bool {
        self.appliers.values().all(|apply| apply.effects.is_empty())
    }

    fn apply_next(
        &mut self,
        connection: usize,
        apply: &mut Apply,
        a: &mut Around,
    ) -> Result<Result<Next, ApplierEnd>, Death> {
        if let Some(effect) = apply.effects.pop_front() {
            if self.phase() != Phase::Mirror && !matches!(effect, Effect::Answer(_)) {
                a.oracle.broken(format!("side {} applies a frame though it is no mirror any more", a.side));
            }
            return carry(connection, effect, a);
        }
        let mut frame = match a.wire.get_mut(&connection).and_then(|c| c.receive(End::Mirror, a.now)) {
            None if a.now - apply.last_heard > SILENCE => return Ok(Err(ApplierEnd::GivenUp)),
            None => return Ok(Ok(Next::Wait(SILENCE + 1000))),
            Some(Item::Closed) => return Ok(Err(ApplierEnd::Closed)),
            Some(Item::Frame(frame)) => frame,
        };
        apply.last_heard = a.now;
        if let Some(effects) = apply.applier.data(&mut frame) {
            apply.effects.extend(effects);
            return Ok(Ok(Next::After(10)));
        }
        let time = self.time(a);
        a.disk.log_unread.set(a.is(Planted::ContributionDropped));
        let done = self.transact(a, false, |replica, disk| replica.apply(&mut apply.applier, frame, disk, time));
        a.disk.log_unread.set(false);
        match done? {
            Ok(answers) => {
                apply.effects.extend(answers);
                Ok(Ok(Next::After(10)))
            }
            Err(Undone::Event(breach)) => {
                a.trace.say(a.now, || format!("{} {breach}", a.side));
                Ok(Err(ApplierEnd::GivenUp))
            }
            Err(Undone::Full) => Ok(Err(ApplierEnd::Disk("full".into()))),
            Err(Undone::Io) => Ok(Err(ApplierEnd::Disk("it failed".into()))),
        }
    }
}

/// One effect of the data path, which takes no lock.
fn carry(connection: usize, effect: Effect, a: &mut Around) -> Result<Result<Next, ApplierEnd>, Death> {
    let effect = match effect {
        Effect::Answer(frame) => {
            let delay = a.delay();
            let sent =
                a.wire.get_mut(&connection).is_some_and(|c| c.send(End::Primary, Item::Frame(frame), a.now, delay));
            return Ok(if sent { Ok(Next::After(10)) } else { Err(ApplierEnd::Closed) });
        }
        Effect::Sync(_) if a.is(Planted::AnswerWithoutSync) => return Ok(Ok(Next::After(10))),
        effect => effect,
    };
    let syncs = matches!(effect, Effect::Sync(_));
    match carry_out(a.disk, effect) {
        Ok(Ok(())) | Err(_) => Ok(Ok(Next::After(if syncs {
            a.random.between(50, 3000)
        } else {
            a.random.between(10, a.habits.mirror_write)
        }))),
        Ok(Err(Trouble::Crash)) => Err(Death::Crash),
        Ok(Err(trouble)) => Ok(Err(ApplierEnd::Disk(format!("{trouble:?}")))),
    }
}
