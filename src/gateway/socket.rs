//! The owner-only Unix socket of the front.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// A listening socket whose file goes with it.
#[derive(Debug)]
pub(super) struct OwnedSocket {
    pub listener: UnixListener,
    path: PathBuf,
    /// The file's own number: another front may have put its socket there since.
    inode: u64,
}

impl Drop for OwnedSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the socket was not removed");
        }
    }
}

/// Where PostgreSQL clients look for a port's socket.
pub(super) fn path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

/// Makes the directory 0700 and the socket 0600, and listens. A socket that nobody listens on any
/// more is replaced; one that somebody does is an error.
pub(super) fn bind(directory: &Path, port: u16) -> io::Result<OwnedSocket> {
    private_directory(directory)?;
    let path = path(directory, port);
    remove_stale(&path)?;
    // Between bind and chmod only the directory protects the socket, which is why it comes first.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let inode = std::fs::symlink_metadata(&path)?.ino();
    Ok(OwnedSocket { listener, path, inode })
}

fn private_directory(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mode = std::fs::metadata(directory)?.permissions().mode();
    if mode & 0o1000 != 0 {
        // /tmp and its like belong to everyone and must not be taken from them.
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the socket directory is a shared one"));
    }
    if mode & 0o077 != 0 {
        // Fails when the directory is another user's, which is as it should be.
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn remove_stale(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_directory_and_the_socket_are_the_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("sock");
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let socket = bind(&directory, 6543).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&path(&directory, 6543)), 0o600);
        drop(socket);
        assert!(!path(&directory, 6543).exists());
    }

    #[tokio::test]
    async fn a_socket_in_use_is_kept_and_a_stale_one_is_replaced() {
        let base = tempfile::tempdir().unwrap();
        let first = bind(base.path(), 1).unwrap();
        let second = bind(base.path(), 1);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        // A listener that dies leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(path(base.path(), 1)).unwrap());
        assert!(path(base.path(), 1).exists());
        bind(base.path(), 1).unwrap();
    }
}
