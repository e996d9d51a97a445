//! A utility of Greenplum from the command line: finding the cluster as cron jobs do.

use super::super::call::quoted;
use super::super::{Invocation, find};
use super::session;
use crate::cluster_dir::{self, ClusterDirError, ClusterHandle};
use crate::gp::args::ENVIRONMENT;
use crate::gp::failure::Failure;
use crate::gp::line::Stamp;
use crate::gp::{Utility, directory_of, join_words};
use crate::shell::batch::{Judgement, Source};
use crate::shell::run::Task;
use crate::shell::seat::seat;
use std::path::{Path, PathBuf};

/// Runs it; the exit code is the utility's own.
pub fn run(invocation: &Invocation, utility: Utility, words: &[String]) -> i32 {
    let cluster = match place(invocation, utility, words).map(|dir| opened(&dir)) {
        // Without a place the utility itself says what is missing, after it has looked at its options.
        None => None,
        Some(Ok(handle)) => match session::open(invocation, handle.dir()) {
            Ok(cluster) => Some(cluster),
            Err(code) => return code,
        },
        Some(Err(error)) => return not_there(invocation, utility, &error),
    };
    let code = format!("{}({}, #{{ raise: false }})", utility.name(), quoted(&join_words(words)));
    session::on(cluster, invocation, Task::Batch(Source::Call { code, judgement: Judgement::Utility }))
}

/// `-d`, then the environment as the utilities know it, then what names a cluster to segsh.
fn place(invocation: &Invocation, utility: Utility, words: &[String]) -> Option<PathBuf> {
    let given = directory_of(utility, words).map(PathBuf::from);
    let set = |name: &&str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = || {
        let name = find::named(invocation.cluster.as_deref(), std::env::var_os("SEGSH_CLUSTER"))?;
        // A name that stands for nothing is said by opening it.
        Some(find::directory(&name, find::names_dir().as_deref()).unwrap_or_else(|_| PathBuf::from(name)))
    };
    given.or_else(|| ENVIRONMENT.iter().find_map(set)).or_else(named)
}

/// The cluster of a directory, or of its coordinator's.
fn opened(dir: &Path) -> Result<ClusterHandle, ClusterDirError> {
    match cluster_dir::open(dir) {
        Err(ClusterDirError::NotACluster { dir }) => {
            let parent = dir.parent().map(cluster_dir::open);
            match parent {
                Some(Ok(handle)) if handle.coordinator_dir() == dir => Ok(handle),
                _ => Err(ClusterDirError::NotACluster { dir }),
            }
        }
        opened => opened,
    }
}

fn not_there(invocation: &Invocation, utility: Utility, error: &ClusterDirError) -> i32 {
    let failure = Failure::failed(error.to_string()).next(error.next());
    let seat = seat();
    let stamp = Stamp {
        program: utility.name().into(),
        host: seat.host,
        user: seat.user,
        pid: std::process::id(),
        utc_offset_s: seat.utc_offset_s,
    };
    let tell = super::tell::Tell::new(invocation);
    for line in failure.lines(utility) {
        tell.text(&format!("{}\n", line.stamped(&stamp, crate::shell::seat::now_ms())));
    }
    let thrown = crate::script::Thrown::with_exit("utility_failed", failure.exit(), failure.message(utility));
    tell.failure(thrown.next(failure.next_step()))
}
