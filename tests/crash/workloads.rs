//! What is run over the recording storage. Each is a few hundred operations: an image of every cut is
//! opened, so a larger one would only say the same again.

use crate::session::{Recorded, Session};
use rusqlite::params;
use segsh::segment::vfs::CheckpointMode::{Passive, Truncate};

const PAIR: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, v INTEGER NOT NULL);
                    CREATE TABLE b (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)";

/// Text of a length, different for every `n`.
fn text(n: i64, len: usize) -> String {
    let seed = format!("{n:04x}-");
    seed.chars().cycle().take(len).collect()
}

/// Single rows in two tables, with a passive checkpoint now and then, after which the log starts anew.
pub fn single_rows(name: &'static str) -> Recorded {
    let mut session = Session::start(name, PAIR);
    for n in 0..36i64 {
        session.transaction(|db| {
            db.execute("INSERT OR REPLACE INTO a VALUES (?1, ?2)", [n % 7, n])?;
            db.execute("INSERT OR REPLACE INTO b VALUES (?1, ?2)", [n % 5, -n]).map(drop)
        });
        if n % 9 == 5 {
            assert!(session.checkpoint(Passive).is_complete());
        }
    }
    session.finish()
}

/// Transactions larger than the cache: their pages reach the log before the commit, more than once.
pub fn large_transactions(name: &'static str) -> Recorded {
    let mut session = Session::start(name, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
    session.db.execute_batch("PRAGMA cache_size = 6").expect("a small cache");
    for n in 0..5i64 {
        session.transaction(|db| {
            for id in 0..40 {
                db.execute("INSERT OR REPLACE INTO t VALUES (?1, ?2)", params![id, text(n * 40 + id, 900)])?;
            }
            db.execute("UPDATE t SET v = upper(v) WHERE id % 3 = ?1", [n % 3]).map(drop)
        });
        // What a rolled back transaction spilled stays in the log, without a commit.
        session.unchanged(|db| db.execute_batch("BEGIN; UPDATE t SET v = v || 'gone'; ROLLBACK"));
        match n {
            1 => assert!(session.checkpoint(Passive).is_complete()),
            3 => assert!(session.checkpoint(Truncate).is_complete()),
            _ => {}
        }
    }
    session.finish()
}

/// VACUUM rewrites every page and shortens the file at the next checkpoint.
pub fn vacuum(name: &'static str) -> Recorded {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX t_v ON t (v)";
    let mut session = Session::start(name, tables);
    for round in 0..3i64 {
        session.transaction(|db| {
            for id in 0..60 {
                db.execute("INSERT INTO t VALUES (?1, ?2)", params![round * 100 + id, text(id, 300)])?;
            }
            Ok(())
        });
        session.transaction(|db| db.execute("DELETE FROM t WHERE id % 4 > 0", []).map(drop));
        session.vacuum();
        session.transaction(|db| db.execute("UPDATE t SET v = v || ?1", [text(round, 9)]).map(drop));
        assert!(session.checkpoint(if round == 1 { Truncate } else { Passive }).is_complete());
        session.transaction(|db| db.execute("DELETE FROM t WHERE id % 8 = 0", []).map(drop));
    }
    session.finish()
}

/// Checkpoints of every kind: partial ones beside a reader, complete ones, a log that starts anew behind
/// old frames, a log that is emptied.
pub fn checkpoints(name: &'static str) -> Recorded {
    let mut session = Session::start(name, PAIR);
    let reader = session.connect();
    let write = |session: &mut Session, n: i64| {
        session.transaction(|db| {
            db.execute("INSERT OR REPLACE INTO a VALUES (?1, ?2)", [n % 4, n])?;
            db.execute("INSERT OR REPLACE INTO b VALUES (?1, ?2)", [n, n]).map(drop)
        });
    };
    for round in 0..6i64 {
        for n in 0..3 {
            write(&mut session, round * 10 + n);
        }
        reader.execute_batch("BEGIN; SELECT count(*) FROM a").expect("a snapshot");
        write(&mut session, round * 10 + 3);
        assert!(!session.checkpoint(Passive).is_complete(), "the reader still needs the log");
        write(&mut session, round * 10 + 4);
        reader.execute_batch("COMMIT").expect("the snapshot ends");
        if round % 3 == 2 {
            assert!(session.checkpoint(Truncate).is_complete());
        } else {
            assert!(session.checkpoint(Passive).is_complete());
        }
    }
    session.finish()
}

/// Tables, indexes, views and triggers come and go; what is freed is used again.
pub fn schema_changes(name: &'static str) -> Recorded {
    let mut session = Session::start(name, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w INTEGER)");
    session.transaction(|db| {
        for id in 0..120 {
            db.execute("INSERT INTO t VALUES (?1, ?2, ?3)", params![id, text(id, 120), id * 7 % 31])?;
        }
        Ok(())
    });
    for (i, sql) in [
        "CREATE INDEX t_v ON t (v)",
        "CREATE UNIQUE INDEX t_w ON t (w, id)",
        "ALTER TABLE t ADD COLUMN x TEXT DEFAULT 'x'",
        "CREATE TABLE u AS SELECT id, v FROM t WHERE w < 15",
        "CREATE VIEW both AS SELECT t.id FROM t JOIN u USING (id)",
        "CREATE TRIGGER follow AFTER DELETE ON t BEGIN DELETE FROM u WHERE id = old.id; END",
        "DELETE FROM t WHERE id BETWEEN 20 AND 50",
        "DROP INDEX t_v",
        "DROP VIEW both; DROP TABLE u; DROP TRIGGER follow",
        "CREATE TABLE later (k TEXT UNIQUE, v BLOB); INSERT INTO later SELECT v, zeroblob(50) FROM t",
        "REINDEX; ALTER TABLE later RENAME TO latest",
        "DROP TABLE t",
    ]
    .into_iter()
    .enumerate()
    {
        session.transaction(|db| db.execute_batch(sql));
        match i % 5 {
            2 => drop(session.checkpoint(Passive)),
            4 => drop(session.checkpoint(Truncate)),
            _ => {}
        }
    }
    session.finish()
}

/// Savepoints, released and rolled back, whole transactions rolled back, statements that fail.
pub fn savepoints(name: &'static str) -> Recorded {
    let mut session = Session::start(name, PAIR);
    session.db.execute_batch("PRAGMA cache_size = 6").expect("a small cache");
    for n in 0..12i64 {
        session.transaction(|db| {
            db.execute("INSERT INTO a VALUES (?1, 1)", [n])?;
            db.execute_batch("SAVEPOINT one")?;
            for i in 0..150 {
                db.execute("INSERT INTO b VALUES (?1, ?2)", [n * 1000 + i, i])?;
            }
            db.execute_batch("SAVEPOINT two; DELETE FROM b; ROLLBACK TO two; RELEASE two")?;
            let again = db.execute("INSERT INTO a VALUES (?1, 2)", [n]);
            assert!(again.is_err(), "the key is taken");
            db.execute_batch(if n % 3 == 0 { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" })
        });
        session.unchanged(|db| db.execute_batch("BEGIN; DELETE FROM a; DELETE FROM b; ROLLBACK"));
        if n % 4 == 3 {
            assert!(session.checkpoint(Passive).is_complete());
        }
    }
    session.finish()
}

/// Large values overwritten by shorter and longer ones: overflow pages are freed and taken.
pub fn blobs(name: &'static str) -> Recorded {
    let mut session = Session::start(name, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)");
    for n in 0..24i64 {
        session.transaction(|db| {
            let len = [100, 9_000, 30_000, 4_088, 0, 17_000][(n % 6) as usize];
            let value = text(n, len).into_bytes();
            db.execute("INSERT OR REPLACE INTO t VALUES (?1, ?2)", params![n % 4, value]).map(drop)
        });
        match n % 8 {
            3 => assert!(session.checkpoint(Passive).is_complete()),
            7 => assert!(session.checkpoint(Truncate).is_complete()),
            _ => {}
        }
    }
    session.finish()
}

/// Two sessions take turns as the writer, as those of a gateway do.
pub fn two_writers(name: &'static str) -> Recorded {
    let mut session = Session::start(name, PAIR);
    let mut other = session.connect();
    for n in 0..24i64 {
        session.transaction(|db| {
            db.execute("INSERT INTO a VALUES (?1, ?1)", [n])?;
            db.execute("INSERT OR REPLACE INTO b VALUES (?1, ?2)", [n % 3, n]).map(drop)
        });
        std::mem::swap(&mut session.db, &mut other);
        if n % 10 == 7 {
            assert!(session.checkpoint(Passive).is_complete());
        }
    }
    session.finish()
}

/// Sessions write one after the other and share the sync that acknowledges them; some spill, some are
/// rolled back after they did, and checkpoints come while commits still wait.
pub fn shared_syncs(name: &'static str) -> Recorded {
    let mut session = Session::start(name, PAIR);
    let mut other = session.connect();
    other.execute_batch("PRAGMA cache_size = 6").expect("a small cache");
    for n in 0..30i64 {
        session.owed(|db| {
            let rows = if n % 9 == 4 { 150 } else { 1 };
            (0..rows).try_for_each(|i| {
                db.execute("INSERT OR REPLACE INTO a VALUES (?1, ?2)", [n * 1000 + i, n])?;
                db.execute("INSERT OR REPLACE INTO b VALUES (?1, ?2)", [n % 3, n + i]).map(drop)
            })
        });
        if n % 11 == 6 {
            session.unchanged(|db| db.execute_batch("BEGIN; UPDATE a SET v = v + 1; DELETE FROM b; ROLLBACK"));
        }
        if n % 10 == 7 {
            assert!(session.checkpoint(if n == 17 { Truncate } else { Passive }).is_complete());
        }
        if n % 4 == 3 {
            session.acknowledge();
        }
        std::mem::swap(&mut session.db, &mut other);
    }
    session.acknowledge();
    session.finish()
}
