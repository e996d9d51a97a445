//! The SQL functions that clients of PostgreSQL call by habit.

use super::control::Control;
use super::host::Client;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// Adds them to a session's connection.
pub(super) fn add(
    connection: &Connection,
    client: &Client,
    server_version: &str,
    pid: i32,
    control: &Arc<Control>,
) -> Result<()> {
    let constant = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let text =
        |name: &str, value: String| connection.create_scalar_function(name, 0, constant, move |_| Ok(value.clone()));
    text("version", format!("PostgreSQL {server_version} on SQLite {}", rusqlite::version()))?;
    text("current_database", client.database.clone())?;
    text("current_schema", "main".to_owned())?;
    connection.create_scalar_function("pg_backend_pid", 0, constant, move |_| Ok(pid))?;
    connection.create_scalar_function("pg_is_in_recovery", 0, constant, |_| Ok(false))?;
    let control = Arc::clone(control);
    connection.create_scalar_function("pg_sleep", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        let seconds: f64 = context.get(0)?;
        let time = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|e| Error::UserFunctionError(Box::new(e)))?;
        match control.wait_stopped(time) {
            None => Ok(String::new()),
            Some(stop) => Err(Error::UserFunctionError(Box::new(stop.error()))),
        }
    })
}
