//! Database `postgres`: the catalog under Greenplum's names, read-only, and the admin functions.
//!
//! A session's connection reads the catalog's file; what changes anything is a function that asks the
//! coordinator and waits for its answer, so no session ever writes to the catalog.

use super::Coordinator;
use super::operations::{Answer, Watching};
use super::pause::PauseError;
use super::store::{StoreError, timestamp};
use crate::cluster::request::Owner;
use crate::cluster::settings::duration_ms;
use crate::cluster::{Intent, Outcome, Plan, Selection, State};
use crate::core::ids::{Content, Dbid};
use crate::core::report::StopMode;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Error, OpenFlags};
use serde::Deserialize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Handle;

/// Why an admin function failed.
#[derive(Debug, Error)]
pub enum FunctionError {
    #[error("bad options: {0}")]
    Options(#[from] serde_json::Error),
    #[error("mode `{0}` is none of smart, fast, immediate")]
    Mode(String),
    #[error("{0}")]
    Locked(String),
    #[error("the operation's end was not seen")]
    Unknown,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pause(#[from] PauseError),
    #[error("the coordinator is ending")]
    Ending,
}

/// The options of the admin functions, as one JSON object.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    contents: Vec<Content>,
    dbids: Vec<Dbid>,
    hosts: Vec<String>,
    rate_bytes: Option<i64>,
    jobs: Option<i64>,
    in_place: bool,
    mode: Option<String>,
    /// `false` returns as soon as the operation is durable.
    wait: Option<bool>,
}

/// Every recovery under way, one row a segment: as `recoveries()` of the script API.
const RECOVERY_VIEW: &str = "
CREATE TEMP VIEW gp_stat_recovery AS
SELECT value ->> 'dbid' AS dbid, value ->> 'content' AS content, value ->> 'host' AS hostname,
       value ->> 'stage' AS stage, value ->> 'stage_name' AS stage_name,
       value ->> 'total_blocks' AS total_blocks, value ->> 'copied_blocks' AS copied_blocks,
       value ->> 'percent' AS percent, value ->> 'rate_bytes' AS rate_bytes, value ->> 'left_ms' AS left_ms,
       value ->> 'pause_open_us' AS pause_open_us, value ->> 'pause_claim_us' AS pause_claim_us,
       value ->> 'elapsed_ms' AS elapsed_ms, value ->> 'operation' AS operation
FROM json_each(segsh_recoveries())";

/// A connection for a session on `postgres`.
pub fn open(coordinator: &Arc<Coordinator>, runtime: &Handle) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(coordinator.store.path(), flags)?;
    db.busy_timeout(Duration::from_secs(10))?;
    register(&db, coordinator, runtime)?;
    db.execute_batch(RECOVERY_VIEW)?;
    Ok(db)
}

fn register(db: &Connection, coordinator: &Arc<Coordinator>, runtime: &Handle) -> Result<(), Error> {
    // They act on the world: never from a view or a trigger, never folded into one call.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    let (c, r) = (coordinator.clone(), runtime.clone());
    db.create_scalar_function("gp_request_fts_probe_scan", 0, flags, move |_| {
        let c = c.clone();
        wait(&r, async move {
            c.probe().await;
            Ok(())
        })?;
        Ok(true)
    })?;
    let c = coordinator.clone();
    db.create_scalar_function("segsh_state", 0, flags, move |_| {
        let state = c.state().map_err(|e| failed(e.into()))?;
        serde_json::to_string(&state).map_err(|e| failed(e.into()))
    })?;
    register_fts(db, coordinator, runtime)?;
    let c = coordinator.clone();
    // It only reads, and a view of every session's own is made of it.
    let reads = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    db.create_scalar_function("segsh_recoveries", 0, reads, move |_| {
        let state = c.state().map_err(|e| failed(e.into()))?;
        serde_json::to_string(&state.recoveries).map_err(|e| failed(e.into()))
    })?;
    for verb in ["recover", "full_recover", "rebalance", "restart", "verify"] {
        for arguments in [0, 1] {
            let (c, r) = (coordinator.clone(), runtime.clone());
            let name = format!("segsh_{verb}");
            db.create_scalar_function(name.as_str(), arguments, flags, move |context| {
                let options = options(context)?;
                let c = c.clone();
                wait(&r, async move { change(&c, verb, options).await })
            })?;
        }
    }
    Ok(())
}

/// The pause of FTS, and the view on what it saw.
fn register_fts(db: &Connection, coordinator: &Arc<Coordinator>, runtime: &Handle) -> Result<(), Error> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    for arguments in [0, 1] {
        let (c, r) = (coordinator.clone(), runtime.clone());
        db.create_scalar_function("segsh_fts_pause", arguments, flags, move |context| {
            let length = if context.is_empty() { None } else { context.get::<Option<String>>(0)? };
            let c = c.clone();
            wait(&r, async move { pause(&c, length.as_deref()).await })
        })?;
    }
    let (c, r) = (coordinator.clone(), runtime.clone());
    db.create_scalar_function("segsh_fts_resume", 0, flags, move |_| {
        let c = c.clone();
        wait(&r, async move { Ok(c.resume_fts(&owner(&c)).await?) })?;
        Ok(true)
    })?;
    // It changes nothing, so a view may call it.
    let (c, r) = (coordinator.clone(), runtime.clone());
    db.create_scalar_function("segsh_fts_evidence", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        let c = c.clone();
        wait(&r, async move { sights(&c).await })
    })?;
    db.execute_batch(EVIDENCE_VIEW)
}

/// What FTS knows now and saw in its last rounds, then its decisions with what they were made from.
const EVIDENCE_VIEW: &str = "
CREATE TEMP VIEW gp_fts_evidence (content, time, kind, what, evidence) AS
    SELECT value ->> 'content', value ->> 'time', value ->> 'kind', value ->> 'what', NULL
    FROM json_each(segsh_fts_evidence())
    UNION ALL
    SELECT content, time, 'decision', reason, seen FROM main.segsh_evidence;
";

/// Pauses FTS; until when, as the history writes it.
async fn pause(coordinator: &Coordinator, length: Option<&str>) -> Result<String, FunctionError> {
    let ms = length.map(|text| duration_ms(text).map_err(PauseError::Unit)).transpose()?;
    let ms = ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    coordinator.pause_fts(ms, &owner(coordinator)).await?;
    Ok(coordinator.state()?.fts_paused_until_ms.map(timestamp).unwrap_or_default())
}

async fn sights(coordinator: &Coordinator) -> Result<String, FunctionError> {
    let contents: Vec<Content> = coordinator.board.read(|k| k.contents.keys().copied().collect());
    let mut rows = Vec::new();
    for content in contents {
        let evidence = coordinator.evidence(content).await?;
        let mut row = |kind: &str, ms: i64, what: &str| {
            rows.push(serde_json::json!({ "content": content, "time": timestamp(ms), "kind": kind, "what": what }));
        };
        evidence.seen.iter().for_each(|seen| row("seen", seen.time_ms, &seen.what));
        evidence.now.iter().for_each(|what| row("now", super::clock::unix_ms(), what));
    }
    Ok(serde_json::to_string(&rows)?)
}

fn options(context: &Context<'_>) -> Result<Options, Error> {
    if context.is_empty() {
        return Ok(Options::default());
    }
    match context.get::<Option<String>>(0)? {
        Some(text) => serde_json::from_str(&text).map_err(|e| failed(e.into())),
        None => Ok(Options::default()),
    }
}

/// Runs work of the coordinator's runtime and blocks this session's own thread until it is done.
fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, FunctionError>> + Send + 'static,
) -> Result<T, Error> {
    let (reply, done) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The session may be gone by then.
        let _ = reply.send(work.await);
    });
    done.recv().unwrap_or(Err(FunctionError::Ending)).map_err(failed)
}

fn failed(error: FunctionError) -> Error {
    Error::UserFunctionError(Box::new(error))
}

/// Plans, begins and follows a change; its outcome as JSON.
async fn change(coordinator: &Coordinator, verb: &str, options: Options) -> Result<String, FunctionError> {
    coordinator.probe().await;
    let waits = options.wait.unwrap_or(true);
    let plan = make_plan(&coordinator.state()?, &intent(verb, options)?);
    if plan.refuses || plan.is_empty() {
        return Ok(serde_json::to_string(&plan)?);
    }
    let op = match coordinator.operations.begin(&plan, &owner(coordinator))? {
        Answer::Begun { op, .. } => op,
        Answer::Refused(refusals) => return Ok(serde_json::to_string(&refusals)?),
        Answer::Locked { message, .. } => return Err(FunctionError::Locked(message)),
        Answer::NothingToDo => return Ok(serde_json::to_string(&plan)?),
    };
    if !waits {
        return Ok(serde_json::json!({ "status": "started", "op": op }).to_string());
    }
    Ok(serde_json::to_string(&end_of(coordinator, op).await?)?)
}

async fn end_of(coordinator: &Coordinator, op: i64) -> Result<Outcome, FunctionError> {
    match coordinator.operations.watch(op)? {
        Watching::Ended(outcome) => Ok(*outcome),
        Watching::Unknown => Err(FunctionError::Unknown),
        Watching::Running { mut outcome, .. } => {
            let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            ended.ok_or(FunctionError::Unknown)
        }
    }
}

fn intent(verb: &str, options: Options) -> Result<Intent, FunctionError> {
    let selection = Selection { contents: options.contents, dbids: options.dbids, hosts: options.hosts };
    let (rate_bytes, jobs) = (options.rate_bytes, options.jobs);
    Ok(match verb {
        "recover" => Intent::Recover { selection, rate_bytes, jobs },
        "full_recover" => Intent::FullRecover { selection, rate_bytes, jobs, in_place: options.in_place },
        "rebalance" => Intent::Rebalance { selection },
        "verify" => Intent::Verify { selection, rate_bytes, jobs },
        _ => {
            let mode = match options.mode {
                Some(text) => StopMode::parse(&text).ok_or(FunctionError::Mode(text))?,
                None => StopMode::Fast,
            };
            Intent::Restart { selection, mode }
        }
    })
}

/// The same plan as a client's.
fn make_plan(state: &State, intent: &Intent) -> Plan {
    crate::cluster::plan(state, intent, super::clock::unix_ms())
}

fn owner(coordinator: &Coordinator) -> Owner {
    Owner {
        user: "postgres".into(),
        host: coordinator.site.host.clone(),
        pid: std::process::id(),
        script: "SQL".into(),
        ..Owner::default()
    }
}
