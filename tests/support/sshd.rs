//! An `sshd` of one test: its own keys, its own port on a loopback address, gone with the test.
//!
//! OpenSSH's server must be installed; it runs as whoever runs the test, and lets nobody else in.

use super::processes;
use super::wait::{secs, wait_for};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where Debian and its kin put it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"];

/// The account of whoever runs the test: the only one that is let in. What the environment says may be another's.
#[track_caller]
pub fn whoami() -> String {
    let said = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(said.stdout).expect("a plain name").trim().to_owned()
}

pub struct Sshd {
    dir: PathBuf,
    pub address: String,
    pub port: u16,
    child: Child,
}

impl Sshd {
    /// On an address and a free port of it; `dir` holds its files.
    #[track_caller]
    pub fn start(dir: &Path, address: &str) -> Sshd {
        fs::create_dir_all(dir).expect("a directory for sshd");
        for name in ["host_key", "user_key"] {
            make_key(&dir.join(name));
        }
        fs::copy(dir.join("user_key.pub"), dir.join("authorized_keys")).expect("the key is let in");
        let port = TcpListener::bind((address, 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let mut sshd = Sshd { dir: dir.into(), address: address.into(), port, child: spawn(dir, address, port) };
        sshd.await_it();
        sshd.trust();
        sshd
    }

    /// The key that is let in.
    pub fn user_key(&self) -> PathBuf {
        self.dir.join("user_key")
    }

    /// What the host is known by.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The host's present key is the one that it is known by.
    #[track_caller]
    pub fn trust(&self) {
        let key = fs::read_to_string(self.dir.join("host_key.pub")).expect("sshd has a key");
        fs::write(self.known_hosts(), format!("[{}]:{} {key}", self.address, self.port)).expect("it is written down");
    }

    /// Hangs it, and whatever sessions it has: the system still takes connections, and nobody answers.
    pub fn hang(&self) {
        // The listener first, so that no session begins meanwhile; one that ends meanwhile answers nobody either.
        processes::stop(self.pid());
        for session in processes::children(self.pid()) {
            processes::signal(session, rustix::process::Signal::STOP);
        }
    }

    /// Ends it, and whatever sessions it has.
    pub fn stop(&mut self) {
        let sessions = processes::children(self.pid());
        for pid in sessions.into_iter().chain([self.pid()]) {
            processes::signal(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Starts it again where it was, with another key if that is wanted.
    #[track_caller]
    pub fn start_again(&mut self, with_another_key: bool) {
        if with_another_key {
            for name in ["host_key", "host_key.pub"] {
                fs::remove_file(self.dir.join(name)).expect("it has a key");
            }
            make_key(&self.dir.join("host_key"));
        }
        self.child = spawn(&self.dir, &self.address, self.port);
        self.await_it();
    }

    #[track_caller]
    fn await_it(&mut self) {
        let (address, port) = (self.address.clone(), self.port);
        let log = self.dir.join("log");
        wait_for("sshd to listen", secs(10), || {
            let ended = self.child.try_wait().expect("a child of this test");
            assert!(ended.is_none(), "sshd ended: {}", fs::read_to_string(&log).unwrap_or_default());
            TcpStream::connect((address.as_str(), port)).is_ok()
        });
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A new pair of keys, the public one beside it.
#[track_caller]
pub fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen (Debian: openssh-client)").success());
}

#[track_caller]
fn spawn(dir: &Path, address: &str, port: u16) -> Child {
    let config = format!(
        "ListenAddress {address}:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/authorized_keys\n\
         UsePAM no\nStrictModes no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         MaxStartups 100\nMaxSessions 100\nSetEnv SHLVL=5\n",
        dir = dir.display()
    );
    fs::write(dir.join("config"), config).expect("a file of the test");
    fs::set_permissions(dir.join("host_key"), fs::Permissions::from_mode(0o600)).expect("its own file");
    if rustix::process::geteuid().is_root() {
        // Without it a server that is started as root ends at once.
        fs::create_dir_all("/run/sshd").expect("root makes it");
    }
    let program = PROGRAMS.iter().find(|p| Path::new(p).exists()).expect("sshd (Debian: openssh-server)");
    let log = fs::File::create(dir.join("log")).expect("a file of the test");
    Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd")
}
