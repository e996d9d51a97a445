//! The catalog's tables.

/// The tables. `gp_segment_configuration` and `gp_configuration_history` are Greenplum's, by name and
/// column; what Greenplum has no name for begins with `segsh_`.
pub(super) const TABLES: &str = "
CREATE TABLE gp_segment_configuration (
    dbid             INTEGER PRIMARY KEY,
    content          INTEGER NOT NULL,
    role             TEXT NOT NULL CHECK (role IN ('p', 'm')),
    preferred_role   TEXT NOT NULL CHECK (preferred_role IN ('p', 'm')),
    mode             TEXT NOT NULL CHECK (mode IN ('s', 'r', 'c')),
    status           TEXT NOT NULL CHECK (status IN ('u', 'd')),
    port             INTEGER NOT NULL,
    hostname         TEXT NOT NULL,
    address          TEXT NOT NULL,
    replication_port INTEGER,
    datadir          TEXT NOT NULL,
    UNIQUE (content, preferred_role)
);
CREATE TABLE gp_configuration_history (
    time   TEXT NOT NULL,
    dbid   INTEGER NOT NULL,
    desc   TEXT NOT NULL,
    number INTEGER PRIMARY KEY AUTOINCREMENT
);
CREATE TABLE segsh_content (
    content              INTEGER PRIMARY KEY,
    epoch                INTEGER NOT NULL,
    serving_epoch        INTEGER NOT NULL,
    full_copy            INTEGER NOT NULL DEFAULT 0,
    rate_bytes           INTEGER,
    must_copy_all        INTEGER NOT NULL DEFAULT 0,
    single_copy_since_ms INTEGER,
    serving_copy         TEXT,
    copy_rate_bytes      INTEGER,
    last_event           TEXT NOT NULL DEFAULT '',
    quarantine           TEXT
);
CREATE TABLE segsh_down (
    dbid     INTEGER PRIMARY KEY,
    since_ms INTEGER NOT NULL
);
CREATE TABLE segsh_evidence (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    time    TEXT NOT NULL,
    content INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    seen    TEXT NOT NULL
);
CREATE TABLE segsh_operation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    goal       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    status     TEXT,
    outcome    TEXT
);
CREATE INDEX segsh_operation_active ON segsh_operation (id) WHERE ended_ms IS NULL;
CREATE TABLE segsh_maintenance (
    host     TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    owner    TEXT NOT NULL,
    reason   TEXT NOT NULL
);
CREATE TABLE segsh_left_behind (
    hostname TEXT NOT NULL,
    datadir  TEXT NOT NULL,
    dbid     INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (hostname, datadir)
);
CREATE TABLE segsh_setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
PRAGMA user_version = 5;
";

/// The version that [`TABLES`] makes.
pub(super) const VERSION: i64 = 5;
