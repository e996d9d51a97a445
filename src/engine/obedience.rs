//! Carrying out what a segment makes of an order. Runs on one thread, an order at a time.

use super::acting::{Acting, Engine, EngineError, Inner, MirrorPart, Part, READ_LEASE};
use super::records;
use crate::core::ids::Epoch;
use crate::core::pair::binding::Binding;
use crate::core::pair::obey::{Obedience, obey};
use crate::core::pair::primary::Primary;
use crate::core::report::Order;
use crate::core::track::DirtyMap;
use std::sync::{Arc, MutexGuard};

/// What the process has to do after an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// Open SQLite and take sessions, then call [`Engine::serving`].
    Serve,
    /// End this process, without closing SQLite (R7).
    Exit,
}

impl Engine {
    /// Obeys an order, or finds that there is nothing to obey.
    pub fn order(self: &Arc<Engine>, order: &Order) -> Result<Then, EngineError> {
        let inner = self.lock();
        if inner.fenced.is_some() {
            return Ok(Then::Exit);
        }
        let (standing, epoch) = (inner.standing(), order.row.epoch);
        let todo = obey(standing, order);
        if todo != Obedience::Nothing {
            tracing::info!(?todo, from = ?standing.phase, epoch = %epoch, row = ?order.row, "order");
        }
        let then = match todo {
            Obedience::Nothing => return Ok(Then::Nothing),
            Obedience::Serve { mirrorless } => self.serve(inner, epoch, mirrorless),
            Obedience::AwaitLink => self.await_link(inner, epoch),
            Obedience::Promote => self.promote(inner, epoch),
            Obedience::CloseLink => self.close_link(inner, epoch),
            Obedience::TrackAlone => self.track_alone(inner, epoch),
            Obedience::Resynchronize => self.resynchronize(inner, order),
            Obedience::Exit => {
                drop(inner);
                self.fence("another segment is the acting primary");
                return Ok(Then::Exit);
            }
        }?;
        self.announce();
        Ok(then)
    }

    /// A database is being made: nobody else knows of it yet, so it needs no coordinator's word.
    pub fn serve_alone_to_create(&self) -> Result<(), EngineError> {
        let inner = self.lock();
        let epoch = inner.meta.epoch.next();
        self.serve(inner, epoch, true).map(drop)
    }

    fn store_epoch(&self, inner: &mut Inner, epoch: Epoch) -> Result<(), EngineError> {
        Ok(self.change_meta(inner, |meta| {
            meta.epoch = epoch;
            meta.stamps.clear();
        })?)
    }

    /// R5: a returning acting primary, alone under a new epoch. After an unclean end the pages its
    /// log names are its contribution; the map that a checkpoint made durable holds the rest.
    fn serve(&self, mut inner: MutexGuard<'_, Inner>, epoch: Epoch, mirrorless: bool) -> Result<Then, EngineError> {
        if !inner.meta.consistent {
            return Err(EngineError::Refused("this copy is not consistent, so it can't serve (R4)".into()));
        }
        let mut dirty = DirtyMap::default();
        let (mut binding, mut map_unusable) = (None, None);
        if !mirrorless {
            match self.disk.timed(|| records::load_map(self.disk.dir())) {
                Ok(map) => (binding, dirty) = (Some(map.binding), map.dirty),
                Err(error) => map_unusable = Some(error.to_string()),
            }
            if inner.meta.written_outside_checkpoint {
                map_unusable = Some("main.db was written outside a checkpoint".into());
            }
            dirty.union(&self.disk.pages_named_by_log()?);
        }
        let mut acting = Acting::alone(mirrorless, dirty, binding, map_unusable);
        self.save_map(&mut acting)?;
        self.store_epoch(&mut inner, epoch)?;
        inner.part = Part::Acting(Box::new(acting));
        Ok(Then::Serve)
    }

    fn await_link(&self, mut inner: MutexGuard<'_, Inner>, epoch: Epoch) -> Result<Then, EngineError> {
        self.store_epoch(&mut inner, epoch)?;
        inner.part = Part::Mirror(MirrorPart::default());
        Ok(Then::Nothing)
    }

    /// R3, in its order: close the link; stop and join the applier; store the higher epoch durably;
    /// then the caller opens SQLite.
    fn promote(&self, mut inner: MutexGuard<'_, Inner>, epoch: Epoch) -> Result<Then, EngineError> {
        let Part::Mirror(mirror) = &mut inner.part else { return Ok(Then::Nothing) };
        let (saw_end, last_ping) = (mirror.saw_end, mirror.last_ping);
        let appliers = mirror.end();
        drop(inner);
        for applier in appliers {
            applier.join().map_err(|_| EngineError::Refused("an applier failed".into()))?;
        }
        let mut inner = self.lock();
        let (Some(peer), true) = (inner.meta.peer, inner.meta.consistent) else {
            return Err(EngineError::Refused("this copy is not consistent, so it can't be promoted (R4)".into()));
        };
        let mut acting = Acting::alone(false, DirtyMap::default(), Some(Binding::to(peer)), None);
        acting.reads_from = last_ping.filter(|_| !saw_end).map(|at| at + READ_LEASE);
        self.save_map(&mut acting)?;
        self.store_epoch(&mut inner, epoch)?;
        inner.part = Part::Acting(Box::new(acting));
        Ok(Then::Serve)
    }

    /// Declared lost: nothing of an earlier link is applied any more.
    fn close_link(&self, mut inner: MutexGuard<'_, Inner>, epoch: Epoch) -> Result<Then, EngineError> {
        let Part::Mirror(mirror) = &mut inner.part else { return Ok(Then::Nothing) };
        let appliers = mirror.end();
        drop(inner);
        for applier in appliers {
            // A failed applier has said so in its own words already.
            let _ = applier.join();
        }
        self.store_epoch(&mut self.lock(), epoch)?;
        Ok(Then::Nothing)
    }

    /// The grant of tracking: the map is durable before the gate opens.
    fn track_alone(&self, mut inner: MutexGuard<'_, Inner>, epoch: Epoch) -> Result<Then, EngineError> {
        inner.close_links();
        inner.gate_closed = false;
        if let Part::Acting(acting) = &mut inner.part {
            acting.primary.mirror_lost();
            acting.progress = None;
            self.save_map(acting)?;
        }
        // Last, so that an order that could not be obeyed to its end is a new one when it comes again.
        self.store_epoch(&mut inner, epoch)?;
        if let Part::Acting(acting) = &mut inner.part {
            acting.lost = None;
            acting.primary.tracking_granted();
        }
        Ok(Then::Nothing)
    }

    fn resynchronize(self: &Arc<Engine>, mut inner: MutexGuard<'_, Inner>, order: &Order) -> Result<Then, EngineError> {
        let Some(peer) = order.peer.clone() else {
            return Err(EngineError::Refused("an order to resynchronize names no mirror".into()));
        };
        self.store_epoch(&mut inner, order.row.epoch)?;
        self.begin_resync(&mut inner, order, peer);
        Ok(Then::Nothing)
    }
}

impl Acting {
    fn alone(mirrorless: bool, dirty: DirtyMap, binding: Option<Binding>, map_unusable: Option<String>) -> Acting {
        Acting {
            primary: Primary::alone(mirrorless, dirty),
            binding,
            map_unusable,
            link: None,
            lost: None,
            progress: None,
            serving: false,
            reads_from: None,
        }
    }
}
