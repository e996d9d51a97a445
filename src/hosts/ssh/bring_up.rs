//! What a host needs before it can do anything: our directory, the program, its configuration, the key.
//!
//! Each step may be repeated, and one that is done already costs a question. The program is named by its
//! digest, so that releases stand beside each other; it is copied under another name, and what arrived says
//! itself what it is before it gets its own.

use super::place::{Layout, quoted};
use super::session::{Deadline, Ran, Session};
use super::{REPLY_MARK, SshHost, in_thread};
use crate::hosts::config::{AGENT_FILE, AgentConfig, IDENTITY_FILE, SEGMENT_FILE};
use crate::hosts::files;
use crate::hosts::host::{HostError, HostFailure};
use crate::net::NetError;
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long all of it may take: a program of 30 MB goes over a slow line, too.
const WITHIN: Duration = Duration::from_secs(300);
/// How long it may take until the host lets us in.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// What a host is equipped with.
#[derive(Debug, Clone)]
pub struct Outfit {
    /// The cluster's own identity.
    pub cluster_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's key file on this machine.
    pub key_file: PathBuf,
    /// The program on this machine that the host shall run.
    pub program: PathBuf,
    /// Directories for segments beside the host's own.
    pub roots: Vec<PathBuf>,
}

impl SshHost {
    /// Equips the host; whether anything was copied to it. Every step may be repeated. A directory that holds
    /// something else is [`HostFailure::NotMine`]: all that is in it would go with the cluster.
    pub async fn bring_up(&self, outfit: &Outfit) -> Result<bool, HostError> {
        let (name, outfit) = (self.0.name.clone(), outfit.clone());
        let brought = self.work(move |work| match work.taken(&name, &outfit.cluster_id)? {
            Some(why) => Ok(Err(HostFailure::NotMine { path: work.layout.dir.clone(), why })),
            None => work.all(&name, &outfit).map(Ok),
        });
        brought.await?.map_err(|failure| HostError::Failed { host: self.0.name.clone(), failure })
    }

    /// Puts the files of a directory of this machine into a data directory there, which exists; the one that says
    /// which copy it is comes last.
    pub async fn fill(&self, datadir: &Path, from: &Path) -> Result<(), HostError> {
        let (datadir, from) = (datadir.to_owned(), from.to_owned());
        self.work(move |work| work.fill(&datadir, &from)).await
    }

    /// Does something in one session.
    async fn work<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Work<'_>) -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, HostError> {
        let shared = self.0.clone();
        let worked = in_thread(WITHIN, move || {
            let session = Session::open(&shared.address, &shared.place, Deadline::of(OPEN_WITHIN))?;
            let deadline = Deadline::of(WITHIN);
            let mut work = Work { session, layout: &shared.layout, address: &shared.address, deadline };
            let done = what(&mut work)?;
            shared.keep(work.session);
            Ok(done)
        });
        worked.await.map_err(|cause| HostError::Unreachable { host: self.0.name.clone(), cause })
    }
}

struct Work<'a> {
    session: Session,
    layout: &'a Layout,
    address: &'a str,
    deadline: Deadline,
}

impl Work<'_> {
    /// Why the host's directory can't be this host's: `None` when it is, or is new or empty.
    fn taken(&mut self, host: &str, cluster_id: &str) -> Result<Option<String>, NetError> {
        let (dir, config) = (quoted(&self.layout.dir), quoted(&self.layout.dir.join(AGENT_FILE)));
        let command = format!(
            "if [ -e {config} ]; then tr -d '\\n' < {config} | sed 's/^/{REPLY_MARK}/'; \
             elif [ -d {dir} ]; then ls -A {dir} | sed 's/^/{REPLY_MARK}/'; fi"
        );
        let ran = self.done(&command, &mut std::io::empty())?;
        let text = String::from_utf8_lossy(&ran.output);
        let mut said = text.lines().filter_map(|line| line.trim().strip_prefix(REPLY_MARK));
        let own = self.layout.own();
        Ok(match said.next() {
            Some(agent) if agent.starts_with('{') => match AgentConfig::parse(agent) {
                Ok(there) if there.cluster_id == cluster_id && there.host == host => None,
                Ok(there) => Some(format!("it is of host {} of cluster {}", there.host, there.cluster)),
                Err(error) => Some(error.to_string()),
            },
            first => first
                .into_iter()
                .chain(said)
                .find(|name| own.file_name().is_none_or(|own| own != *name))
                .map(|name| format!("it holds {name}; a host's directory is new or empty")),
        })
    }

    fn fill(&mut self, datadir: &Path, from: &Path) -> Result<(), NetError> {
        let local = |e: std::io::Error| NetError::Local(format!("{}: {e}", from.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(from).map_err(local)? {
            let entry = entry.map_err(local)?;
            if entry.file_type().map_err(local)?.is_file() && entry.file_name() != SEGMENT_FILE {
                files.push(entry.path());
            }
        }
        files.sort_by_key(|path| (path.ends_with(IDENTITY_FILE), path.clone()));
        for path in files {
            let bytes = std::fs::read(&path).map_err(local)?;
            self.put_bytes(&datadir.join(path.file_name().unwrap_or_default()), &bytes)?;
        }
        self.done(&format!("sync {}", quoted(datadir)), &mut std::io::empty()).map(drop)
    }

    fn all(&mut self, host: &str, outfit: &Outfit) -> Result<bool, NetError> {
        self.make_dirs(&outfit.roots)?;
        let copied = self.program(&outfit.program)?;
        let config = AgentConfig {
            cluster_id: outfit.cluster_id.clone(),
            cluster: outfit.cluster.clone(),
            host: host.into(),
            address: self.address.into(),
            port: 0,
            key_file: self.layout.key_file(),
            log_dir: self.layout.log_dir(),
            program: Some(self.layout.program()),
            roots: outfit.roots.clone(),
        };
        let key = files::read_text(&outfit.key_file).map_err(|e| NetError::Local(e.to_string()))?;
        self.put_bytes(&self.layout.key_file(), key.as_bytes())?;
        let text = config.text().map_err(|e| NetError::Local(e.to_string()))?;
        self.put_bytes(&self.layout.dir.join(AGENT_FILE), &text)?;
        Ok(copied)
    }

    fn make_dirs(&mut self, roots: &[PathBuf]) -> Result<(), NetError> {
        let own = [self.layout.dir.clone(), self.layout.own(), self.layout.log_dir(), self.layout.socket_dir()];
        let all: Vec<String> = own.iter().chain(roots).map(|dir| quoted(dir)).collect();
        self.done(&format!("umask 077 && mkdir -p {}", all.join(" ")), &mut std::io::empty()).map(drop)
    }

    /// Copies the program unless the host has it, and makes it the one that is run.
    fn program(&mut self, here: &Path) -> Result<bool, NetError> {
        let local = |e: std::io::Error| NetError::Local(format!("{}: {e}", here.display()));
        let mut file = File::open(here).map_err(local)?;
        let digest = digest(&mut file).map_err(local)?;
        let there = self.layout.program_of(&digest);
        let copied = self.digest_of(&there)?.as_deref() != Some(digest.as_str());
        if copied {
            let arriving = there.with_extension("arriving");
            file.seek(SeekFrom::Start(0)).map_err(local)?;
            let len = file.metadata().map_err(local)?.len();
            self.put(&arriving, len, &mut file)?;
            self.done(&format!("chmod 700 {}", quoted(&arriving)), &mut std::io::empty())?;
            match self.digest_of(&arriving)? {
                Some(found) if found == digest => {}
                found => {
                    let found = found.unwrap_or_else(|| "a program that does not run".into());
                    let message = format!("the copy of {} arrived as {found}", here.display());
                    return Err(NetError::NoProgram { message });
                }
            }
            self.done(&format!("mv -f {} {}", quoted(&arriving), quoted(&there)), &mut std::io::empty())?;
        }
        let (link, new) = (self.layout.program(), self.layout.own().join("segsh.new"));
        let renamed = format!("ln -sf {} {new} && mv -fT {new} {}", quoted(&there), quoted(&link), new = quoted(&new));
        self.done(&renamed, &mut std::io::empty())?;
        Ok(copied)
    }

    /// What a program there says that it is; `None` when it is not there, or does not run.
    fn digest_of(&mut self, program: &Path) -> Result<Option<String>, NetError> {
        let ran = self.run(&format!("{} host-do --digest", quoted(program)), &mut std::io::empty())?;
        let text = String::from_utf8_lossy(&ran.output);
        let said = text.lines().rev().find_map(|line| line.trim().strip_prefix(REPLY_MARK));
        Ok(said.filter(|_| ran.status == Some(0)).map(str::to_owned))
    }

    fn put_bytes(&mut self, path: &Path, mut bytes: &[u8]) -> Result<(), NetError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.put(path, len, &mut bytes)
    }

    /// Writes a file that is whole or not there, for its owner alone. To the other side the end of a session that
    /// broke looks like the end of the content, so it counts.
    fn put(&mut self, path: &Path, len: u64, content: &mut dyn Read) -> Result<(), NetError> {
        let part = quoted(&path.with_extension("part"));
        let is_whole = format!("[ \"$(wc -c < {part})\" -eq {len} ]");
        let path = quoted(path);
        self.done(&format!("umask 077 && cat > {part} && {is_whole} && sync {part} && mv -f {part} {path}"), content)
            .map(drop)
    }

    fn run(&mut self, command: &str, input: &mut dyn Read) -> Result<Ran, NetError> {
        self.session.run(command, input, self.deadline)
    }

    fn done(&mut self, command: &str, input: &mut dyn Read) -> Result<Ran, NetError> {
        let ran = self.run(command, input)?;
        match ran.status {
            Some(0) => Ok(ran),
            _ => Err(NetError::NoProgram { message: ran.last_words() }),
        }
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(in crate::hosts) fn digest(file: &mut File) -> std::io::Result<String> {
    let mut context = Context::new(&SHA256);
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => break,
            count => context.update(&part[..count]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
