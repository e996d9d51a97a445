//! The extended protocol: prepared statements and portals.

use super::core::{Core, Transaction};
use super::error::{SqlError, state};
use super::exec::{Wanted, show_fields};
use super::kind::{Kind, classify};
use super::lexer::split;
use super::rows::binary;
use super::session::Session;
use super::types::{PgType, decode};
use super::wire::Field;
use bytes::{Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage as B;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
};
use rusqlite::types::Value;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// The byte that says statement, against `P` for portal.
const STATEMENT: u8 = b'S';

/// A prepared statement. SQLite's own is in the connection's cache, under its text.
#[derive(Debug)]
pub(super) struct Prepared {
    sql: String,
    kind: Kind,
    /// PostgreSQL's numbers of the parameters' types.
    parameters: Vec<u32>,
    fields: OnceLock<Vec<Field>>,
}

/// A statement with its values.
#[derive(Debug)]
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    values: Vec<Value>,
    formats: Vec<i16>,
    fields: Option<Vec<Field>>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Ready,
    /// Rows beyond the last Execute's limit, and the tag of the end.
    Suspended(VecDeque<BytesMut>),
    Finished,
}

impl Session {
    pub(super) fn parse(&mut self, core: &mut Core, parse: &Parse) -> Result<(), SqlError> {
        let statements = split(&parse.query);
        if statements.len() > 1 {
            return Err(SqlError::new(state::SYNTAX, "cannot insert multiple commands into a prepared statement"));
        }
        let sql = statements.first().copied().unwrap_or_default();
        let kind = classify(sql);
        if core.is_failed() && !kind.ends_failed_transaction() {
            return Err(SqlError::in_failed_transaction());
        }
        let parameters = match kind {
            Kind::Sql(_) => self.parameter_types(core, sql, &parse.type_oids)?,
            _ => Vec::new(),
        };
        let prepared = Prepared { sql: sql.to_owned(), kind, parameters, fields: OnceLock::new() };
        let name = parse.name.clone().unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(SqlError::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        self.statements.insert(name, Arc::new(prepared));
        self.wire.send(&B::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    /// The client's types first, then hints such as `$1::int8`, then what the columns around the
    /// parameter say.
    fn parameter_types(&mut self, core: &mut Core, sql: &str, given: &[u32]) -> Result<Vec<u32>, SqlError> {
        let (parameters, _) = self.exec(core).inspect(sql, None, false)?;
        let count = parameters.iter().map(|p| p.number).max().unwrap_or(0);
        if count > usize::from(u16::MAX) {
            return Err(SqlError::new(state::PROTOCOL, "too many parameters"));
        }
        let mut types = vec![0; count.max(given.len())];
        types[..given.len()].copy_from_slice(given);
        for parameter in &parameters {
            let known = &mut types[parameter.number - 1];
            if *known == 0 {
                *known = parameter.hint.unwrap_or(0);
            }
        }
        if types.contains(&0) {
            let guessed = super::params::infer(&core.connection, sql);
            for (i, known) in types.iter_mut().enumerate().filter(|(_, t)| **t == 0) {
                let guess = guessed.get(&(i + 1)).copied();
                *known = guess.unwrap_or(PgType::Text).oid();
            }
        }
        Ok(types)
    }

    fn prepared(&self, name: Option<&String>) -> Result<Arc<Prepared>, SqlError> {
        let name = name.map_or("", String::as_str);
        self.statements
            .get(name)
            .cloned()
            .ok_or_else(|| SqlError::new(state::NO_STATEMENT, format!("prepared statement \"{name}\" does not exist")))
    }

    pub(super) fn bind(&mut self, core: &mut Core, bind: &Bind) -> Result<(), SqlError> {
        let prepared = self.prepared(bind.statement_name.as_ref())?;
        if core.is_failed() && !prepared.kind.ends_failed_transaction() {
            return Err(SqlError::in_failed_transaction());
        }
        let (want, have) = (prepared.parameters.len(), bind.parameters.len());
        if want != have {
            return Err(SqlError::new(
                state::PROTOCOL,
                format!("the statement has {want} parameters, {have} were given"),
            ));
        }
        let values = bind
            .parameters
            .iter()
            .enumerate()
            .map(|(i, bytes): (usize, &Option<Bytes>)| {
                let binary = binary(&bind.parameter_format_codes, i, have)?;
                decode(bytes.as_ref(), prepared.parameters[i], binary)
            })
            .collect::<Result<_, _>>()?;
        let portal = Portal {
            prepared,
            values,
            formats: bind.result_column_format_codes.clone(),
            fields: None,
            progress: Progress::Ready,
        };
        self.portals.insert(bind.portal_name.clone().unwrap_or_default(), portal);
        self.wire.send(&B::BindComplete(BindComplete::new()));
        Ok(())
    }

    pub(super) fn describe(&mut self, core: &mut Core, describe: &Describe) -> Result<(), SqlError> {
        if describe.target_type == STATEMENT {
            let prepared = self.prepared(describe.name.as_ref())?;
            let fields = self.fields_of(core, &prepared, None)?;
            self.wire.send(&B::ParameterDescription(ParameterDescription::new(prepared.parameters.clone())));
            self.describe_fields(&fields);
            return Ok(());
        }
        let name = describe.name.clone().unwrap_or_default();
        let mut portal = self.take_portal(&name)?;
        let described = self.portal_fields(core, &mut portal);
        self.portals.insert(name, portal);
        let fields = described?;
        self.describe_fields(&fields);
        Ok(())
    }

    fn describe_fields(&mut self, fields: &[Field]) {
        if fields.is_empty() {
            self.wire.send(&B::NoData(NoData::new()));
        } else {
            self.wire.describe(fields);
        }
    }

    fn take_portal(&mut self, name: &str) -> Result<Portal, SqlError> {
        self.portals
            .remove(name)
            .ok_or_else(|| SqlError::new(state::NO_PORTAL, format!("portal \"{name}\" does not exist")))
    }

    fn portal_fields(&mut self, core: &mut Core, portal: &mut Portal) -> Result<Vec<Field>, SqlError> {
        if let Some(fields) = &portal.fields {
            return Ok(fields.clone());
        }
        let prepared = Arc::clone(&portal.prepared);
        let mut fields = self.fields_of(core, &prepared, Some(&portal.values))?;
        let columns = fields.len();
        for (i, field) in fields.iter_mut().enumerate() {
            field.binary = binary(&portal.formats, i, columns)?;
        }
        portal.fields = Some(fields.clone());
        Ok(fields)
    }

    fn fields_of(
        &mut self,
        core: &mut Core,
        prepared: &Prepared,
        values: Option<&[Value]>,
    ) -> Result<Vec<Field>, SqlError> {
        match &prepared.kind {
            Kind::Sql(_) => {}
            Kind::Show(name) => return Ok(show_fields(name)),
            _ => return Ok(Vec::new()),
        }
        if let Some(fields) = prepared.fields.get() {
            return Ok(fields.clone());
        }
        let (_, fields) = self.exec(core).inspect(&prepared.sql, values, true)?;
        // What was told about the statement stays: its portals are encoded accordingly.
        Ok(prepared.fields.get_or_init(|| fields).clone())
    }

    pub(super) fn execute(&mut self, core: &mut Core, execute: &Execute) -> Result<(), SqlError> {
        let name = execute.name.clone().unwrap_or_default();
        let mut portal = self.take_portal(&name)?;
        let limit = usize::try_from(execute.max_rows).unwrap_or(0);
        match std::mem::replace(&mut portal.progress, Progress::Finished) {
            Progress::Ready => self.first(core, &mut portal, limit)?,
            Progress::Suspended(rest) => self.next(core, &mut portal, rest, limit)?,
            Progress::Finished => self.wire.complete("SELECT 0"),
        }
        // A portal that failed is gone: it could not say where it stands.
        self.portals.insert(name, portal);
        Ok(())
    }

    fn first(&mut self, core: &mut Core, portal: &mut Portal, limit: usize) -> Result<(), SqlError> {
        let prepared = Arc::clone(&portal.prepared);
        let alone = self.wire.sync_follows();
        if core.transaction == Transaction::None && !alone && matches!(prepared.kind, Kind::Sql(_)) {
            // Everything up to the Sync is one transaction; a lone statement is its own.
            self.exec(core).begin_implicit()?;
        }
        if portal.fields.is_none() && prepared.fields.get().is_some() {
            self.portal_fields(core, portal)?;
        }
        let mut wanted =
            Wanted { fields: portal.fields.clone(), formats: portal.formats.clone(), limit, ..Wanted::default() };
        let tag = self.exec(core).run(&prepared.sql, &prepared.kind, &portal.values, &mut wanted)?;
        self.after(&prepared.kind);
        match tag {
            None => self.empty(),
            Some(_) if !wanted.rest.is_empty() => {
                portal.progress = Progress::Suspended(wanted.rest);
                self.wire.send(&B::PortalSuspended(PortalSuspended::new()));
            }
            Some(tag) => self.wire.complete(&tag),
        }
        Ok(())
    }

    /// Gives more of a result away, which needs a permit each time: the primary may have been
    /// replaced since the rows were read.
    fn next(
        &mut self,
        core: &mut Core,
        portal: &mut Portal,
        mut rest: VecDeque<BytesMut>,
        limit: usize,
    ) -> Result<(), SqlError> {
        if core.is_failed() {
            return Err(SqlError::in_failed_transaction());
        }
        self.exec(core).permit()?;
        core.has_looked = true;
        let count = if limit == 0 { rest.len() } else { limit.min(rest.len()) };
        for row in rest.drain(..count) {
            self.wire.out.extend_from_slice(&row);
        }
        if rest.is_empty() {
            self.wire.complete(&format!("SELECT {count}"));
        } else {
            portal.progress = Progress::Suspended(rest);
            self.wire.send(&B::PortalSuspended(PortalSuspended::new()));
        }
        Ok(())
    }

    pub(super) fn close(&mut self, close: &Close) {
        let name = close.name.clone().unwrap_or_default();
        if close.target_type == STATEMENT {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        self.wire.send(&B::CloseComplete(CloseComplete::new()));
    }
}
