//! Logs go to a file, never into the prompt.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// A file that has grown beyond this is put aside at the next start; one is kept.
const ROTATE_AT: u64 = 8 << 20;

/// `STATE_DIR/segsh/log`; `None` without a home.
pub fn directory() -> Option<PathBuf> {
    let base = dirs::state_dir().or_else(dirs::data_local_dir)?;
    Some(base.join("segsh").join("log"))
}

/// Writes this process's log to `NAME.log` in `directory`, from the level in `SEGSH_LOG` (default
/// `info`) on.
pub fn install(directory: &Path, name: &str) -> io::Result<()> {
    let file = open(directory, name)?;
    let filter = EnvFilter::try_from_env("SEGSH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .finish()
        .try_init()
        .map_err(io::Error::other)
}

fn open(directory: &Path, name: &str) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = directory.join(format!("{name}.log"));
    if path.metadata().is_ok_and(|m| m.len() > ROTATE_AT) {
        std::fs::rename(&path, directory.join(format!("{name}.log.1")))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_log_is_the_owners_and_is_put_aside_when_it_is_large() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut file = open(dir.path(), "shell")?;
        assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
        file.set_len(ROTATE_AT + 1)?;
        file.write_all(b"x")?;
        assert_eq!(open(dir.path(), "shell")?.metadata()?.len(), 0);
        assert!(dir.path().join("shell.log.1").exists());
        Ok(())
    }
}
