//! The threads of a primary's link: the recovery, who sends, who receives, the clock.

use crate::disk::Trouble;
use crate::planted::Planted;
use crate::process::{Around, Death, Next, Peer, Process, Task, Undone};
use crate::wire::{Connection, End, Item};
use segsh::core::pair::replica::{Broken, Effect, LinkId, Permit, Work};
use segsh::core::report::MirrorLoss;
use segsh::core::track::{BLOCK_BYTES, FileId};

/// How far the thread of a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialing,
    /// The frames before the link stands are read here.
    Hearing(usize),
    Working,
    /// So many of the files are synced.
    Syncing(usize),
}

/// The thread of one recovery.
#[derive(Debug, Clone, Copy)]
pub struct Resync {
    since: u64,
    stage: Stage,
}

impl Resync {
    pub fn new(now: u64) -> Resync {
        Resync { since: now, stage: Stage::Dialing }
    }
}

fn closed(why: impl Into<String>) -> Broken {
    Broken::Lost(MirrorLoss::LinkClosed(why.into()))
}

/// Bytes that one write to the socket carries at most.
const BATCH_BYTES: usize = 64 << 10;

impl Process {
    pub fn resync(&mut self, link: u64, a: &mut Around) -> Result<Next, Death> {
        match self.recover(link, a)? {
            Ok(next) => Ok(next),
            Err(broken) => {
                if let Some(Resync { stage: Stage::Hearing(connection), .. }) = self.resyncs.remove(&link) {
                    a.close(connection, End::Primary);
                }
                if let Broken::Lost(loss) = broken {
                    self.lose_mirror(LinkId(link), loss, a);
                }
                Ok(Next::Over)
            }
        }
    }

    fn recover(&mut self, link: u64, a: &mut Around) -> Result<Result<Next, Broken>, Death> {
        let Some(resync) = self.resyncs.get(&link).copied() else { return Ok(Ok(Next::Over)) };
        match resync.stage {
            Stage::Dialing => Ok(self.dial(link, resync.since, a)),
            Stage::Hearing(connection) => self.hear(link, connection, resync.since, a),
            Stage::Working => self.work(link, a),
            Stage::Syncing(number) => {
                let Some(file) = FileId::ALL.get(number) else {
                    self.set(link, Stage::Working);
                    return Ok(self.replica.files_synced(LinkId(link)).map(|()| Next::After(10)).map_err(Broken::from));
                };
                match a.disk.sync(*file) {
                    Ok(()) => {
                        self.set(link, Stage::Syncing(number + 1));
                        Ok(Ok(Next::After(a.random.between(50, 800))))
                    }
                    Err(Trouble::Crash) => Err(Death::Crash),
                    Err(_) => {
                        self.fence("its disk failed", a);
                        Ok(Err(Broken::Superseded))
                    }
                }
            }
        }
    }

    fn set(&mut self, link: u64, stage: Stage) {
        if let Some(resync) = self.resyncs.get_mut(&link) {
            resync.stage = stage;
        }
    }

    /// As the engine does it: what former logs left behind the present one is no part of a recovery.
    fn cut_former_logs(&mut self, a: &mut Around) -> Result<(), Broken> {
        let old = a.disk.file(FileId::Wal).current.len() as u64;
        let Some(end) = self.log_end.filter(|end| *end < old) else { return Ok(()) };
        match a.disk.set_len(FileId::Wal, end) {
            Ok(()) => {
                self.replica.truncated(FileId::Wal, old, end);
                Ok(())
            }
            Err(trouble) => {
                // Whoever was to die here dies at the next operation.
                if trouble == Trouble::Crash {
                    a.disk.crash_in = Some(0);
                }
                Err(closed("the log could not be cut"))
            }
        }
    }

    fn dial(&mut self, link: u64, since: u64, a: &mut Around) -> Result<Next, Broken> {
        if let Permit::Wait(_) = self.replica.may_greet(LinkId(link))? {
            // What has a deadline begins after it.
            self.resyncs.insert(link, Resync::new(a.now));
            return Ok(Next::Wait(1_000_000));
        }
        match a.peer {
            Peer::Refused => Err(closed("refused")),
            Peer::Silent if a.now - since > 2_000_000 => Err(closed("no answer")),
            Peer::Silent => Ok(Next::After(100_000)),
            Peer::Up(side, pid) => {
                let greeting = self.replica.greeting(LinkId(link))?;
                self.cut_former_logs(a)?;
                let number = *a.next_connection;
                *a.next_connection += 1;
                let mut connection = Connection::new((a.side, self.pid), (side, pid), a.silent_until);
                let delay = a.delay();
                connection.send(End::Mirror, Item::Frame(greeting), a.now, delay);
                a.wire.insert(number, connection);
                self.carried_by.insert(link, number);
                self.set(link, Stage::Hearing(number));
                Ok(Next::After(100))
            }
        }
    }

    fn hear(
        &mut self,
        link: u64,
        connection: usize,
        since: u64,
        a: &mut Around,
    ) -> Result<Result<Next, Broken>, Death> {
        let frame = match a.wire.get_mut(&connection).and_then(|c| c.receive(End::Primary, a.now)) {
            None if a.now - since > 20_000_000 => return Ok(Err(closed("no manifest in time"))),
            None => return Ok(Ok(Next::Wait(1_000_000))),
            Some(Item::Closed) => return Ok(Err(closed("the other end is gone"))),
            Some(Item::Frame(frame)) => frame,
        };
        a.trace.say(a.now, || format!("{} link {link} hears {}", a.side, frame.name()));
        let (time, without_map) = (self.time(a), a.is(Planted::UnionNotDurable));
        let heard = self
            .transact(a, without_map, |replica, disk| replica.heard_in_preparation(LinkId(link), frame, disk, time))?;
        let mut effects = match heard {
            Ok(effects) => effects,
            Err(Undone::Event(broken)) => return Ok(Err(broken)),
            Err(Undone::Full | Undone::Io) => return Ok(Err(closed("the map could not be saved"))),
        };
        if let Some(Effect::Answer(answer)) = effects.pop() {
            let delay = a.delay();
            if let Some(connection) = a.wire.get_mut(&connection) {
                connection.send(End::Mirror, Item::Frame(answer), a.now, delay);
            }
            self.announce();
            return Ok(Ok(Next::After(50)));
        }
        self.stream = Some((LinkId(link), connection));
        self.straddles = self.unsettled_pages > 0;
        self.replica.link_opened(LinkId(link), std::time::Duration::ZERO);
        self.set(link, Stage::Working);
        self.last_tick = a.now;
        self.spawned.extend([Task::Send(link), Task::Receive(link), Task::Clock(link)]);
        self.announce();
        Ok(Ok(Next::After(50)))
    }

    fn work(&mut self, link: u64, a: &mut Around) -> Result<Result<Next, Broken>, Death> {
        let (id, time) = (LinkId(link), self.time(a));
        let work = match self.replica.work(id, time) {
            Ok(work) => work,
            Err(broken) => return Ok(Err(broken)),
        };
        match work {
            Work::Held => Ok(Ok(Next::Wait(1_000_000))),
            Work::Wait(wait) => {
                self.wakes = true;
                Ok(Ok(Next::Wait(wait.as_micros() as u64 + 1)))
            }
            Work::Copy(mut run) => {
                run.count = run.count.min(a.random.between(1, 6));
                let bytes = a.disk.read(run.file, run.first * BLOCK_BYTES, (run.count * BLOCK_BYTES) as usize);
                let copied = self.replica.copied(id, run, bytes, time);
                self.wakes |= a.random.percent(50);
                Ok(copied.map(|()| Next::After(a.random.between(20, a.habits.copied_run))).map_err(Broken::from))
            }
            Work::SyncFiles => {
                self.wakes = true;
                self.set(link, Stage::Syncing(0));
                Ok(Ok(Next::After(20)))
            }
            Work::Record => match self.transact(a, false, |replica, _| replica.record(id))? {
                Ok(_) => {
                    a.trace.say(a.now, || format!("{} link {link} claims in sync", a.side));
                    let recorded = self.replica.recorded(id, time);
                    self.announce();
                    Ok(recorded.map(|()| Next::After(20)).map_err(Broken::from))
                }
                Err(Undone::Event(_)) => Ok(Err(Broken::Superseded)),
                Err(Undone::Full) => Ok(Err(closed("no room for the claim"))),
                Err(Undone::Io) => {
                    self.fence("its disk failed", a);
                    Ok(Err(Broken::Superseded))
                }
            },
            Work::Done => {
                self.announce();
                Ok(Ok(Next::Over))
            }
        }
    }

    pub fn send(&mut self, link: u64, a: &mut Around) -> Result<Next, Death> {
        let Some(number) = self.carried_by.get(&link).copied() else { return Ok(Next::Over) };
        if a.wire.get(&number).is_some_and(|c| !c.has_room(End::Mirror)) {
            return Ok(if self.replica.open_link_id() == Some(LinkId(link)) { Next::Wait(20_000) } else { Next::Over });
        }
        let Ok(batch) = self.replica.next_frames(LinkId(link), BATCH_BYTES) else { return Ok(Next::Over) };
        if batch.frames.is_empty() {
            return Ok(Next::Wait(1_000_000));
        }
        self.wakes |= batch.made_room;
        for frame in batch.frames {
            let delay = a.delay();
            let sent = a.wire.get_mut(&number).is_some_and(|c| c.send(End::Mirror, Item::Frame(frame), a.now, delay));
            if !sent {
                self.lose_mirror(LinkId(link), MirrorLoss::LinkClosed("the other end is gone".into()), a);
                return Ok(Next::Over);
            }
        }
        Ok(Next::After(a.random.between(10, 300)))
    }

    pub fn receive(&mut self, link: u64, a: &mut Around) -> Result<Next, Death> {
        let Some(number) = self.carried_by.get(&link).copied() else { return Ok(Next::Over) };
        let strangers = a.is(Planted::StrangerHeard);
        match a.wire.get_mut(&number).and_then(|c| c.receive(End::Primary, a.now)) {
            None if strangers || self.replica.open_link_id() == Some(LinkId(link)) => Ok(Next::Wait(1_000_000)),
            None => Ok(Next::Over),
            Some(Item::Closed) => {
                self.lose_mirror(LinkId(link), MirrorLoss::LinkClosed("the other end is gone".into()), a);
                Ok(Next::Over)
            }
            Some(Item::Frame(frame)) => {
                let id = if strangers { self.replica.open_link_id().unwrap_or(LinkId(link)) } else { LinkId(link) };
                if id != LinkId(link) {
                    a.trace.say(a.now, || format!("{} hears {frame:?} of link {link} as link {}", a.side, id.0));
                }
                if self.replica.answered(id, frame).is_err() {
                    return Ok(if strangers { Next::After(50) } else { Next::Over });
                }
                let lost = self.replica.open_link_id() != Some(id);
                self.close_what_is_over(a);
                if lost {
                    self.announce();
                    return Ok(Next::Over);
                }
                self.wakes = true;
                Ok(Next::After(20))
            }
        }
    }

    pub fn clock(&mut self, link: u64, a: &mut Around) -> Result<Next, Death> {
        let late = a.now - self.last_tick > 500_000;
        self.last_tick = a.now;
        match self.replica.tick(LinkId(link), self.time(a), late) {
            Err(_) => Ok(Next::Over),
            Ok(true) => {
                a.trace.say(a.now, || format!("{} link {link}: the mirror is silent", a.side));
                self.close_what_is_over(a);
                self.announce();
                Ok(Next::Over)
            }
            Ok(false) => {
                self.wakes = true;
                Ok(Next::After(50_000))
            }
        }
    }
}
