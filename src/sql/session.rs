//! One session: a plain thread with a socket and a connection.

use super::core::{Core, Transaction};
use super::error::{SqlError, state};
use super::exec::{Exec, Wanted};
use super::extended::{Portal, Prepared};
use super::gucs::Gucs;
use super::host::SqlHost;
use super::kind::{Kind, classify};
use super::lexer::split;
use super::registry::{Sessions, Shared};
use super::wire::{Received, Wire, status};
use crate::segment::vfs::owing;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    End,
}

/// A session after its startup.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) host: Arc<dyn SqlHost>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) shared: Arc<Shared>,
    pub(super) gucs: Gucs,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error in the extended protocol everything up to the next Sync is skipped.
    pub(super) skipping: bool,
}

impl Session {
    /// Answers messages until the client leaves or the session is ended.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        self.ready();
        loop {
            let idle_limit = self.idle_limit();
            self.wire.set_timeout(idle_limit)?;
            let flow = match self.wire.receive()? {
                Received::Message(message) => self.answer(message),
                Received::Closed => self.closed(),
                Received::TimedOut => self.end_with(&SqlError::fatal(
                    state::IDLE_IN_TRANSACTION,
                    "terminating connection due to idle-in-transaction timeout",
                )),
                Received::Garbage(why) => self.end_with(&SqlError::fatal(state::PROTOCOL, why)),
            };
            if flow == Flow::End {
                return self.wire.flush();
            }
        }
    }

    /// The limit while a transaction is open and its client silent.
    fn idle_limit(&self) -> Option<std::time::Duration> {
        let core = self.shared.core();
        let idle = self.gucs.timeouts().idle_in_transaction;
        idle.filter(|_| core.transaction != Transaction::None)
    }

    /// The socket ended: the client left, or the server closes.
    fn closed(&mut self) -> Flow {
        match self.shared.control.closing() {
            Some(why) => self.end_with(&SqlError::fatal(state::SHUTDOWN, why)),
            None => Flow::End,
        }
    }

    fn end_with(&mut self, error: &SqlError) -> Flow {
        self.wire.error(error);
        Flow::End
    }

    fn answer(&mut self, message: PgWireFrontendMessage) -> Flow {
        use PgWireFrontendMessage as M;
        match message {
            M::Terminate(_) => Flow::End,
            M::Sync(_) => self.sync(),
            M::Flush(_) => match self.wire.flush() {
                Ok(()) => Flow::Go,
                Err(_) => Flow::End,
            },
            _ if self.skipping => Flow::Go,
            M::Query(query) => self.simple(&query.query),
            M::Parse(parse) => self.extended(|s, core| s.parse(core, &parse)),
            M::Bind(bind) => self.extended(|s, core| s.bind(core, &bind)),
            M::Describe(describe) => self.extended(|s, core| s.describe(core, &describe)),
            M::Execute(execute) => self.extended(|s, core| s.execute(core, &execute)),
            M::Close(close) => {
                self.close(&close);
                Flow::Go
            }
            // COPY is never begun, so its messages are late ones of a refused one.
            M::CopyData(_) | M::CopyDone(_) | M::CopyFail(_) => Flow::Go,
            other => self.end_with(&SqlError::fatal(state::PROTOCOL, format!("unexpected message {other:?}"))),
        }
    }

    /// Runs one message's work with the core, stoppable from outside. On an error the transaction
    /// is failed before anybody else can look.
    pub(super) fn guarded(
        &mut self,
        work: impl FnOnce(&mut Session, &mut Core) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let shared = Arc::clone(&self.shared);
        let number = shared.control.begin();
        let limit = self.gucs.timeouts().statement;
        let deadline = limit.map(|l| self.sessions.watchdog.watch(&shared.control, number, l));
        let answer = self.admitted(&shared, work);
        drop(deadline);
        shared.control.end();
        answer
    }

    fn admitted(
        &mut self,
        shared: &Shared,
        work: impl FnOnce(&mut Session, &mut Core) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        loop {
            self.wait_while_held(shared);
            let mut core = shared.core();
            let stop = shared.control.stopped();
            if self.sessions.is_held() && !core.is_failed() && stop.is_none() {
                // A hold came between the wait and the lock; a drain relies on nothing starting now.
                continue;
            }
            // Nothing that this message answers leaves, error or not, before all that it can have seen is
            // durable; and whoever else wants to write does not wait for that.
            self.wire.hold();
            let answer = match stop {
                Some(stop) => Err(stop.error()),
                None => owing(|| work(self, &mut core)),
            };
            if answer.is_err() {
                core.fail();
            }
            let answer = self.exec(&mut core).leave(answer);
            if answer.is_err() {
                core.fail();
            }
            if core.transaction == Transaction::None {
                shared.failed.store(false, Ordering::Release);
            }
            return answer;
        }
    }

    /// New statements wait while they are held, except in a transaction that has failed: it can
    /// only be ended.
    fn wait_while_held(&self, shared: &Shared) {
        if !self.sessions.is_held() || shared.core().is_failed() {
            return;
        }
        shared.control.set_held(true);
        self.sessions.wait_while_held(&|| shared.control.stopped().is_none() && !shared.failed.load(Ordering::Acquire));
        shared.control.set_held(false);
    }

    pub(super) fn exec<'a>(&'a mut self, core: &'a mut Core) -> Exec<'a> {
        Exec { wire: &mut self.wire, host: &*self.host, control: &self.shared.control, gucs: &mut self.gucs, core }
    }

    /// A batch of the simple protocol. Several statements without BEGIN are one transaction.
    fn simple(&mut self, batch: &str) -> Flow {
        let statements: Vec<(&str, Kind)> = split(batch).into_iter().map(|sql| (sql, classify(sql))).collect();
        self.portals.remove("");
        self.statements.remove("");
        let flow = if statements.is_empty() {
            self.empty();
            Flow::Go
        } else {
            let answer = self.guarded(|session, core| session.batch(core, &statements));
            self.told(answer)
        };
        if flow == Flow::Go {
            self.ready();
        }
        flow
    }

    pub(super) fn empty(&mut self) {
        self.wire.send(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
    }

    fn told(&mut self, answer: Result<(), SqlError>) -> Flow {
        match answer {
            Ok(()) => Flow::Go,
            Err(error) => {
                self.wire.error(&error);
                if error.fatal { Flow::End } else { Flow::Go }
            }
        }
    }

    fn batch(&mut self, core: &mut Core, statements: &[(&str, Kind)]) -> Result<(), SqlError> {
        let together = statements.len() > 1
            && core.transaction == Transaction::None
            && !statements.iter().any(|(_, kind)| kind.controls_transaction());
        if together {
            self.exec(core).begin_implicit()?;
        }
        let mut last = String::new();
        let answer = statements.iter().enumerate().try_for_each(|(i, (sql, kind))| {
            let tag = self.statement(core, sql, kind)?;
            if i + 1 == statements.len() {
                last = tag;
            } else {
                self.wire.complete(&tag);
            }
            Ok(())
        });
        let answer = match answer {
            // The last completion is told only when the transaction holds.
            Ok(()) if together => self.exec(core).end_implicit(),
            Err(error) if together => {
                core.end();
                Err(error)
            }
            other => other,
        };
        if answer.is_ok() {
            self.wire.complete(&last);
        }
        answer
    }

    fn statement(&mut self, core: &mut Core, sql: &str, kind: &Kind) -> Result<String, SqlError> {
        let mut wanted = Wanted { describe: true, ..Wanted::default() };
        let tag = self.exec(core).run(sql, kind, &[], &mut wanted)?;
        self.after(kind);
        Ok(tag.unwrap_or_default())
    }

    /// What some statements do to the session itself.
    pub(super) fn after(&mut self, kind: &Kind) {
        match kind {
            Kind::Deallocate(Some(name)) => {
                self.statements.remove(name);
            }
            Kind::Deallocate(None) | Kind::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
            }
            _ => {}
        }
    }

    fn extended(&mut self, work: impl FnOnce(&mut Session, &mut Core) -> Result<(), SqlError>) -> Flow {
        let answer = self.guarded(work);
        self.skipping = answer.is_err();
        self.told(answer)
    }

    /// The end of a series of the extended protocol.
    fn sync(&mut self) -> Flow {
        self.skipping = false;
        let implicit = self.shared.core().implicit;
        let flow = if implicit {
            let answer = self.guarded(|session, core| {
                if core.is_failed() && core.failure.is_none() {
                    // The error was told when it happened.
                    core.end();
                    return Ok(());
                }
                session.exec(core).end_implicit()
            });
            let flow = self.told(answer);
            let mut core = self.shared.core();
            if core.implicit {
                core.end();
            }
            flow
        } else {
            Flow::Go
        };
        self.portals.remove("");
        if flow == Flow::Go {
            self.ready();
        }
        flow
    }

    fn status(&self) -> TransactionStatus {
        let core = self.shared.core();
        status(core.is_explicit(), core.is_explicit() && core.is_failed())
    }

    fn ready(&mut self) {
        let status = self.status();
        if status == TransactionStatus::Idle {
            // Portals end with their transaction.
            self.portals.clear();
        }
        self.wire.ready(status);
    }
}
