//! The catalog: what its columns hold, and the file itself.

use crate::harness::mutate;
use crate::samples;
use rusqlite::{Connection, params};
use segsh::coordinator::store::{Begun, CATALOG_FILE, Store, StoreError};
use segsh::core::ids::Content;
use std::path::{Path, PathBuf};

/// Each iteration is a transaction and a query or more.
const TRANSACTIONS: usize = 1_500;

struct Catalog {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: Store,
    /// Past the store, as a hand or a disk would change it.
    raw: Connection,
    op: i64,
}

impl Catalog {
    fn new() -> Catalog {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(CATALOG_FILE);
        Store::create(&path, &samples::rows(), &[]).expect("a catalog");
        let store = Store::open(&path).expect("the catalog");
        let Begun::New(op) = store.begin(&samples::goal(), &samples::owner(), 1).expect("a goal") else {
            panic!("nothing else is under way")
        };
        let raw = Connection::open(&path).expect("the catalog");
        raw.execute_batch("PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON").expect("a pragma");
        Catalog { _dir: dir, path, store, raw, op }
    }

    fn column(&self, table: &str, column: &str) -> Vec<u8> {
        let sql = format!("SELECT CAST({column} AS BLOB) FROM {table} LIMIT 1");
        self.raw.query_row(&sql, [], |r| r.get::<_, Option<Vec<u8>>>(0)).expect("a row").unwrap_or_default()
    }

    /// Writes a value as text when it is text, and otherwise as the bytes it is.
    fn write(&self, table: &str, column: &str, value: &[u8]) {
        let sql = format!("UPDATE {table} SET {column} = ?1");
        let written = match std::str::from_utf8(value) {
            Ok(text) => self.raw.execute(&sql, params![text]),
            Err(_) => self.raw.execute(&sql, params![value]),
        };
        // A constraint that still holds keeps the value out, which is as good.
        let _ = written;
    }

    /// All that is ever read of it.
    fn read(&self) -> Vec<Result<(), StoreError>> {
        vec![
            self.store.active().map(drop),
            self.store.operation(self.op).map(drop),
            self.store.rows().map(drop),
            self.store.contents().map(drop),
            self.store.content(Content(0)).map(drop),
            self.store.down_since().map(drop),
            self.store.setting("gp_fts_probe_interval").map(drop),
            self.store.setting_number("gp_fts_probe_interval").map(drop),
        ]
    }
}

fn named(results: Vec<Result<(), StoreError>>, path: &Path, what: &str) {
    for error in results.into_iter().filter_map(Result::err) {
        let said = error.to_string();
        // A setting's error names the setting, which is more than the file.
        let named = said.contains(&path.display().to_string()) || matches!(error, StoreError::Setting(_));
        assert!(named, "{what}: {said}");
    }
}

#[test]
fn a_damaged_column_is_named_with_the_catalog_and_never_more_than_an_error() {
    let catalog = Catalog::new();
    catalog.raw.execute("INSERT INTO segsh_setting VALUES ('gp_fts_probe_interval', '1s')", []).expect("a setting");
    let columns = [
        ("segsh_operation", "goal"),
        ("segsh_operation", "owner"),
        ("segsh_content", "epoch"),
        ("segsh_content", "serving_copy"),
        ("segsh_content", "rate_bytes"),
        ("segsh_content", "last_event"),
        ("gp_segment_configuration", "role"),
        ("gp_segment_configuration", "mode"),
        ("gp_segment_configuration", "port"),
        ("gp_segment_configuration", "datadir"),
        ("segsh_setting", "value"),
    ];
    let valid: Vec<Vec<u8>> = columns.iter().map(|(table, column)| catalog.column(table, column)).collect();
    mutate(TRANSACTIONS, |mutation| {
        let chosen = usize::from(mutation.number()) % columns.len();
        let (table, column) = columns[chosen];
        catalog.write(table, column, &mutation.of(&valid, |_| ()));
        named(catalog.read(), &catalog.path, column);
        catalog.write(table, column, &valid[chosen]);
    });
    let said = {
        catalog.write("segsh_operation", "goal", b"{\"kind\":");
        catalog.store.active().expect_err("it is cut").to_string()
    };
    assert!(said.contains(CATALOG_FILE) && said.contains("operation 1"), "{said}");
}

#[test]
fn a_damaged_catalog_is_named_when_it_is_opened_or_read() {
    let made = Catalog::new();
    made.raw.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("a checkpoint");
    let sound = std::fs::read(&made.path).expect("it is there");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(CATALOG_FILE);
    let samples = [sound];
    mutate(TRANSACTIONS / 10, |mutation| {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("{CATALOG_FILE}{suffix}")));
        }
        std::fs::write(&path, mutation.of(&samples, |_| ())).expect("room for a file");
        match Store::open(&path) {
            Err(error) => assert!(error.to_string().contains(CATALOG_FILE), "{error}"),
            Ok(store) => {
                named(
                    vec![store.rows().map(drop), store.contents().map(drop), store.active().map(drop)],
                    &path,
                    "file",
                );
            }
        }
    });
}

#[test]
fn a_catalog_of_another_version_is_refused_with_both_versions_and_left_as_it_is() {
    let catalog = Catalog::new();
    let Catalog { path, raw, store, _dir: dir, .. } = catalog;
    let ours: i64 = raw.query_row("PRAGMA user_version", [], |r| r.get(0)).expect("a version");
    raw.pragma_update(None, "user_version", 99).expect("another version");
    raw.pragma_update(None, "journal_mode", "DELETE").err();
    drop((raw, store));
    let before = std::fs::read(&path).expect("it is there");
    for open in [Store::open, Store::open_read_only] {
        let said = open(&path).expect_err("another version").to_string();
        assert!(said.contains("version 99") && said.contains(&format!("version {ours}")), "{said}");
    }
    assert!(std::fs::read(&path).expect("it is there") == before, "it was written to");
    drop(dir);
}
