//! The link: its connection, what travels on it, and how each side sees its end.

use crate::action::Dies;
use crate::pair::{Dropped, Outcome, Pair};
use crate::world::{Connection, World};
use segsh::core::frame::Frame;
use segsh::core::pair::replica::{ApplierEnd, Broken, Effect, LinkId, Permit, Stranger, Time, Work};
use segsh::core::report::{MirrorLoss, Phase};
use segsh::core::track::FileId;

fn link_closed() -> MirrorLoss {
    MirrorLoss::LinkClosed(String::new())
}

impl Pair {
    /// The recovery's first step: the connection to whatever process is there, and the greeting on it.
    pub fn dial(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let mirror = w.nodes[1 - node].process().map(|p| p.pid);
        let Some(process) = w.process_mut(node, pid) else { return false };
        let Some(link) = process.dialing else { return false };
        if matches!(process.replica.may_greet(link), Ok(Permit::Wait(_))) {
            return false;
        }
        process.dialing = None;
        let Some(mirror) = mirror else {
            process.replica.link_lost(link, link_closed());
            return true;
        };
        let Ok(greeting) = process.replica.greeting(link) else { return true };
        let epoch = process.replica.meta().epoch;
        w.links.push(Connection {
            link,
            epoch,
            primary: (node, pid),
            mirror,
            applier: None,
            preparing: true,
            to_mirror: [greeting].into(),
            to_primary: Default::default(),
            cut: false,
            primary_done: false,
            mirror_done: false,
        });
        true
    }

    /// One frame from the replica's queue to the network.
    pub fn send(&self, w: &mut World, at: usize) -> bool {
        let Connection { link, primary: (node, pid), cut, mirror, .. } = w.links[at];
        if cut || w.links[at].mirror_done || self.mirror_closed(w, 1 - node, mirror) {
            return false;
        }
        let Some(process) = w.process_mut(node, pid) else { return false };
        let Ok(batch) = process.replica.next_frames(link, 1) else { return false };
        let is_any = !batch.frames.is_empty();
        w.links[at].to_mirror.extend(batch.frames.into_iter().map(on_the_wire));
        is_any
    }

    /// The mirror reads one frame and does what it asks for.
    pub fn apply(&self, w: &mut World, at: usize, dies: Dies) -> bool {
        let (node, pid) = (1 - w.links[at].primary.0, w.links[at].mirror);
        if w.links[at].mirror_done || w.nodes[node].by_pid(pid).is_none() {
            return false;
        }
        if w.links[at].applier.is_none() && !self.arrive(w, at, node, pid) {
            return dies.is_none() && w.links[at].mirror_done;
        }
        let (Some(mut applier), Some(mut frame)) = (w.links[at].applier.clone(), w.links[at].to_mirror.pop_front())
        else {
            return false;
        };
        if let (true, Frame::Open(open), Some(process)) =
            (self.drops(Dropped::EpochOfLinkUnchecked), &mut frame, w.nodes[node].by_pid(pid))
        {
            open.epoch = process.replica.meta().epoch;
        }
        let applied = match applier.data(&mut frame) {
            Some(effects) => {
                self.judge_applier(w, at, node, pid);
                Ok(self.carry_out(w, node, effects, dies))
            }
            None => {
                if matches!(frame, Frame::Begin | Frame::Consistent { .. }) {
                    self.judge_applier(w, at, node, pid);
                }
                self.transact(w, (node, pid), dies, |replica, disk| {
                    replica.apply(&mut applier, frame, disk, Time::ZERO)
                })
            }
        };
        match applied {
            Ok(Outcome::Died) => true,
            Ok(Outcome::TooFew) => false,
            Ok(Outcome::Done(answers)) => {
                let connection = &mut w.links[at];
                connection.applier = Some(applier);
                connection.to_primary.extend(answers.into_iter().filter_map(|effect| match effect {
                    Effect::Answer(frame) if !connection.cut => Some(frame),
                    _ => None,
                }));
                true
            }
            Err(_) => {
                self.end_applier(w, at, ApplierEnd::GivenUp);
                dies.is_none()
            }
        }
    }

    /// The connection is taken up by a mirror; one that is nobody yet waits for its order.
    fn arrive(&self, w: &mut World, at: usize, node: usize, pid: u8) -> bool {
        let Some(process) = w.process_mut(node, pid) else { return false };
        if process.is_nobody() {
            return false;
        }
        match process.replica.link_arrived() {
            Ok(applier) => {
                process.appliers += 1;
                w.links[at].applier = Some(applier);
                true
            }
            Err(_) => {
                w.links[at].mirror_done = true;
                false
            }
        }
    }

    /// Notes it when a frame changes the files of a process that is no mirror, or of another epoch.
    fn judge_applier(&self, w: &mut World, at: usize, node: usize, pid: u8) {
        let Some(process) = w.nodes[node].by_pid(pid) else { return };
        let may = process.replica.phase() == Phase::Mirror && process.replica.meta().epoch == w.links[at].epoch;
        w.foreign_write |= !may;
    }

    fn end_applier(&self, w: &mut World, at: usize, end: ApplierEnd) {
        let connection = &mut w.links[at];
        connection.mirror_done = true;
        let (node, pid, applier) = (1 - connection.primary.0, connection.mirror, connection.applier.clone());
        if let (Some(applier), Some(process)) = (applier, w.process_mut(node, pid)) {
            process.replica.link_ended(&applier, end);
        }
    }

    fn mirror_closed(&self, w: &World, node: usize, pid: u8) -> bool {
        let process = w.nodes[node].by_pid(pid);
        // One that is nobody holds the connection until its order comes.
        process.is_none_or(|p| !p.is_nobody() && !p.replica.takes_link() && !self.drops(Dropped::ClosedLinkApplied))
    }

    pub fn mirror_sees_end(&self, w: &mut World, at: usize) -> bool {
        let Connection { primary: (node, _), mirror, cut, primary_done, mirror_done, .. } = w.links[at];
        let is_over = cut || primary_done || self.mirror_closed(w, 1 - node, mirror);
        if mirror_done || !is_over {
            return false;
        }
        self.end_applier(w, at, ApplierEnd::Closed);
        true
    }

    pub fn primary_sees_end(&self, w: &mut World, at: usize) -> bool {
        let Connection { primary: (node, pid), link, mirror, cut, primary_done, mirror_done, .. } = w.links[at];
        let is_over = cut || mirror_done || self.mirror_closed(w, 1 - node, mirror);
        if primary_done || !is_over {
            return false;
        }
        self.lose(w, node, pid, link, link_closed());
        w.links[at].primary_done = true;
        true
    }

    /// As `Engine::mirror_is_lost`.
    fn lose(&self, w: &mut World, node: usize, pid: u8, link: LinkId, loss: MirrorLoss) {
        let Some(process) = w.process_mut(node, pid) else { return };
        let was = process.replica.phase();
        if process.replica.link_lost(link, loss) {
            self.grant_itself(w, node, pid, was);
        }
    }

    pub fn cut(&self, w: &mut World, at: usize) -> bool {
        w.happened.cuts += 1;
        w.links[at].cut = true;
        true
    }

    pub fn flap(&self, w: &mut World, at: usize) -> bool {
        w.happened.cuts += 1;
        w.links[at].to_mirror.clear();
        w.links[at].to_primary.clear();
        true
    }

    /// The primary reads one answer.
    pub fn hear(&self, w: &mut World, at: usize) -> bool {
        let Connection { primary: (node, pid), link, primary_done, preparing, .. } = w.links[at];
        let Some(frame) = w.links[at].to_primary.pop_front().filter(|_| !primary_done) else { return false };
        if preparing {
            return self.prepare(w, at, frame);
        }
        let Some(process) = w.process_mut(node, pid) else { return false };
        // A stranger's answer is nobody's business; its connection is closed already.
        let _: Result<(), Stranger> = process.replica.answered(link, frame);
        true
    }

    /// As `Resync::hear`: the union, then the link in its place.
    fn prepare(&self, w: &mut World, at: usize, frame: Frame) -> bool {
        let Connection { primary: (node, pid), link, cut, .. } = w.links[at];
        let keeps_old_map = self.drops(Dropped::UnionNotDurable);
        let heard = self.transact(w, (node, pid), None, |replica, disk| {
            let mut effects = replica.heard_in_preparation(link, frame, disk, Time::ZERO)?;
            effects.retain(|effect| !(keeps_old_map && matches!(effect, Effect::SaveMap(_))));
            Ok::<_, Broken>(effects)
        });
        match heard {
            Ok(Outcome::Done(mut rest)) => match rest.pop() {
                Some(Effect::Answer(answer)) if !cut => w.links[at].to_mirror.push_back(answer),
                Some(_) => {}
                None => w.links[at].preparing = false,
            },
            Ok(_) => return false,
            Err(Broken::Superseded) => w.links[at].primary_done = true,
            Err(Broken::Lost(loss)) => self.lose(w, node, pid, link, loss),
        }
        true
    }

    /// As `Resync::copy_and_claim`, one piece of work.
    pub fn work(&self, w: &mut World, at: usize, dies: Dies) -> bool {
        let Connection { primary: (node, pid), link, .. } = w.links[at];
        let now = w.nodes[node].disk.now;
        let Some(process) = w.process_mut(node, pid) else { return false };
        let before = process.replica.clone();
        let work = match process.replica.work(link, Time::ZERO) {
            Ok(work) => work,
            Err(Broken::Superseded) => return false,
            Err(Broken::Lost(loss)) => {
                self.lose(w, node, pid, link, loss);
                return dies.is_none();
            }
        };
        match work {
            Work::Wait(_) | Work::Held | Work::Done => return dies.is_none() && process.replica != before,
            Work::Copy(run) => {
                let bytes = (run.first..run.end()).map(|block| now.block(run.file, block)).collect();
                if dies.is_some() || process.replica.copied(link, run, bytes, Time::ZERO).is_err() {
                    return false;
                }
            }
            Work::SyncFiles => {
                if dies.is_some() || process.replica.files_synced(link).is_err() {
                    return false;
                }
                let disk = &mut w.node_mut(node).disk;
                FileId::ALL.into_iter().for_each(|file| disk.sync(file));
            }
            Work::Record => return self.record(w, (node, pid), link, dies),
        }
        true
    }

    fn record(&self, w: &mut World, (node, pid): (usize, u8), link: LinkId, dies: Dies) -> bool {
        match self.transact(w, (node, pid), dies, |replica, _| replica.record(link)) {
            Ok(Outcome::Done(_)) => {
                w.process_mut(node, pid).is_some_and(|process| process.replica.recorded(link, Time::ZERO).is_ok())
            }
            Ok(Outcome::Died) => true,
            Ok(Outcome::TooFew) | Err(Stranger) => false,
        }
    }

    /// As `Inner::close_what_is_over`, for both ends; what nobody holds is gone.
    pub fn close_what_is_over(&self, w: &mut World) {
        let nodes = w.nodes.clone();
        for connection in &mut w.links {
            let (node, pid) = connection.primary;
            let open = nodes[node].by_pid(pid).and_then(|p| p.replica.open_link_id());
            connection.primary_done |= open != Some(connection.link);
            connection.mirror_done |= nodes[1 - node].by_pid(connection.mirror).is_none();
            if connection.primary_done {
                connection.to_primary.clear();
            }
            if connection.mirror_done {
                connection.to_mirror.clear();
            }
        }
        w.links.retain(|c| !c.primary_done || !c.mirror_done);
    }
}

/// A block is a byte here: what a whole block carries beyond it is not kept.
fn on_the_wire(frame: Frame) -> Frame {
    match frame {
        Frame::Data { file, offset, mut bytes } => {
            if bytes.len() as u64 == segsh::core::track::BLOCK_BYTES {
                bytes.truncate(1);
            }
            Frame::Data { file, offset, bytes }
        }
        other => other,
    }
}
