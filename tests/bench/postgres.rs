//! PostgreSQL as a peer: servers of our own, on Unix sockets, in the bench's directory.

use crate::machine::Root;
use crate::program::{Ended, run};
use crate::support::wait::secs;
use crate::support::wait_for;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// It only names the socket; every server has a socket directory of its own, and listens on nothing else.
const PORT: &str = "5432";
const SUPERUSER: &str = "tester";

/// The same promises as ours: every commit synced, pages checked.
const SETTINGS: &str = "
listen_addresses = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 256MB
max_wal_size = 4GB
min_wal_size = 1GB
max_connections = 64
wal_keep_size = 4GB
dynamic_shared_memory_type = mmap
autovacuum = off
logging_collector = off
";

/// Who runs the servers: they refuse to be run by the superuser.
#[derive(Debug, Clone)]
pub struct User(Option<(u32, u32)>);

impl User {
    /// `postgres`, or `nobody`; ourselves when we are not the superuser.
    pub fn find() -> Result<User, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(User(None));
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
        let ids = |name: &str| -> Option<(u32, u32)> {
            let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2).map(str::parse);
            Some((fields.next()?.ok()?, fields.next()?.ok()?))
        };
        let found = ids("postgres").or_else(|| ids("nobody"));
        found.map(|ids| User(Some(ids))).ok_or_else(|| "no user postgres or nobody to run PostgreSQL".into())
    }

    fn command(&self, program: &Path) -> Command {
        match self.0 {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
                command.arg("--").arg(program);
                command
            }
        }
    }

    fn make_dir(&self, path: &Path) {
        fs::create_dir_all(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a fresh directory is ours");
        if let Some((uid, gid)) = self.0 {
            chown(path, Some(uid), Some(gid)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

/// Debian keeps the server's programs off the path, a directory a version.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|v| v.path().join("bin")).collect();
    versions.sort();
    let found = versions.into_iter().rev().chain(std::env::split_paths(&path)).map(|dir| dir.join(name));
    let missing = || format!("{name} is not installed; scripts/dev/bench installs PostgreSQL's server");
    found.into_iter().find(|p| p.is_file()).ok_or_else(missing)
}

/// One server; stopped when dropped.
pub struct Server {
    user: User,
    dir: PathBuf,
}

impl Server {
    /// A new database, started.
    pub fn new(root: &Root, name: &str) -> Server {
        let server = Server::place(root, name);
        let data = server.data();
        server.run("initdb", |c| {
            c.args(["--auth=trust", "--data-checksums", "--no-sync", "--encoding=UTF8", "--locale=C", "--username"]);
            c.arg(SUPERUSER).arg("--pgdata").arg(&data);
        });
        server.append(SETTINGS);
        server.start();
        server
    }

    /// A standby of another, started, streaming; with the seconds of its `pg_basebackup`.
    pub fn standby(root: &Root, name: &str, of: &Server) -> (Server, f64) {
        let standby = Server::place(root, name);
        let seconds = standby.base_backup(of, &standby.data(), true);
        standby.start();
        standby.wait_until_replayed(of);
        (standby, seconds)
    }

    fn place(root: &Root, name: &str) -> Server {
        let server = Server { user: User::find().unwrap_or_else(|e| panic!("{e}")), dir: root.path().join(name) };
        server.user.make_dir(&server.dir);
        server
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn append(&self, text: &str) {
        let path = self.data().join("postgresql.auto.conf");
        let old = fs::read_to_string(&path).unwrap_or_default();
        let sockets = format!("unix_socket_directories = '{}'\n", self.dir.display());
        fs::write(&path, format!("{old}\n{text}\n{sockets}")).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    #[track_caller]
    fn run(&self, name: &str, arguments: impl FnOnce(&mut Command)) -> Ended {
        let program = program(name).unwrap_or_else(|e| panic!("{e}"));
        let mut command = self.user.command(&program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.env("PGHOST", &self.dir).env("PGPORT", PORT).env("PGUSER", SUPERUSER).env("PGDATABASE", "postgres");
        command.current_dir(&self.dir);
        arguments(&mut command);
        run(command)
    }

    /// Seconds of `pg_basebackup` into a directory that it makes; durable when it ends.
    pub fn base_backup(&self, of: &Server, to: &Path, standby: bool) -> f64 {
        let ended = self.run("pg_basebackup", |c| {
            c.args(["--checkpoint=fast", "--wal-method=stream", "--no-manifest", "--host"]).arg(&of.dir);
            c.arg("--pgdata").arg(to).args(standby.then_some("--write-recovery-conf"));
        });
        if standby {
            // The copied settings name the other server's socket directory; the last word counts.
            self.append("");
        }
        ended.seconds
    }

    pub fn start(&self) -> f64 {
        let log = self.dir.join("log");
        self.run("pg_ctl", |c| {
            c.args(["start", "--wait", "--silent", "--timeout=120", "--pgdata"]).arg(self.data()).arg("--log").arg(log);
        })
        .seconds
    }

    pub fn stop(&self, mode: &str) {
        self.run("pg_ctl", |c| {
            c.args(["stop", "--wait", "--silent", "--timeout=120", "--mode", mode, "--pgdata"]).arg(self.data());
        });
    }

    pub fn promote(&self) {
        self.run("pg_ctl", |c| {
            c.args(["promote", "--wait", "--silent", "--timeout=120", "--pgdata"]).arg(self.data());
        });
    }

    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let ended = self.run("psql", |c| {
            c.args([
                "--no-psqlrc",
                "--no-align",
                "--tuples-only",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--command",
                sql,
            ]);
        });
        ended.stdout.trim().to_owned()
    }

    /// Whether this standby has replayed everything the other had written when this was called.
    pub fn wait_until_replayed(&self, of: &Server) {
        let to = of.sql("select pg_current_wal_lsn()");
        let sql = format!("select coalesce(pg_last_wal_replay_lsn() >= '{to}', false)");
        wait_for("the standby to have replayed its primary's log", secs(300), || self.sql(&sql) == "t");
    }

    /// From now on a commit waits until the standby has made it durable.
    pub fn demand_standby(&self) {
        self.sql("alter system set synchronous_standby_names = '*'");
        self.sql("select pg_reload_conf()");
        let sql = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        wait_for("the standby to be synchronous", secs(30), || self.sql(sql) == "1");
    }

    /// Seconds until this server, which went its own way and was stopped, follows the other again and
    /// has replayed what that one had written.
    pub fn rewind(&self, to: &Server) -> f64 {
        let source = format!("host={} port={PORT} user={SUPERUSER} dbname=postgres", to.dir.display());
        let began = std::time::Instant::now();
        self.run("pg_rewind", |c| {
            c.arg("--target-pgdata").arg(self.data()).arg("--source-server").arg(source).arg("--write-recovery-conf");
        });
        self.append("");
        self.start();
        self.wait_until_replayed(to);
        began.elapsed().as_secs_f64()
    }

    /// A client program that connects to this server.
    pub fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name).unwrap_or_else(|e| panic!("{e}")));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        command.env("PGHOST", &self.dir).env("PGPORT", PORT).env("PGUSER", SUPERUSER).env("PGDATABASE", "postgres");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() && !std::thread::panicking() {
            self.stop("immediate");
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
