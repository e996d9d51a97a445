//! Carrying out an order. Runs on one thread, an order at a time.

use super::state::{Engine, EngineError, Undone};
use crate::core::pair::obey::Obedience;
use crate::core::pair::replica::{Effect, Refused};
use crate::core::report::Order;
use std::sync::Arc;

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
        let mut inner = self.lock();
        let todo = inner.replica.todo(order);
        if todo == Obedience::Nothing {
            return Ok(Then::Nothing);
        }
        let from = inner.replica.phase();
        tracing::info!(?todo, ?from, epoch = %order.row.epoch, row = ?order.row, "order");
        let remaining = loop {
            let now = self.now();
            let remaining = self.transact(&mut inner, |replica| replica.order(order, &self.disk, now))?;
            if remaining != [Effect::JoinAppliers] {
                break remaining;
            }
            inner = self.join_appliers(inner)?;
        };
        drop(inner);
        let mut then = Then::Nothing;
        for effect in remaining {
            match effect {
                Effect::Recover { link, peer } => self.recover(link, peer),
                Effect::Serve => then = Then::Serve,
                Effect::Exit => then = Then::Exit,
                _ => {}
            }
        }
        self.announce();
        Ok(then)
    }

    /// A database is being made: nobody else knows of it yet, so it needs no coordinator's word.
    pub fn serve_alone_to_create(&self) -> Result<(), EngineError> {
        let served = self.transact(&mut self.lock(), |replica| replica.serve_to_create(&self.disk));
        served.map(drop).map_err(|undone: Undone<Refused>| undone.into())
    }
}
