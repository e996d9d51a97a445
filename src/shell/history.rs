//! The history file: what is kept, and who may read it.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// `DATA_DIR/segsh/history`; `None` without a home.
pub fn path() -> Option<PathBuf> {
    Some(dirs::data_dir()?.join("segsh").join("history"))
}

/// Whether a line may be kept. A leading blank hides it, as in other shells, and so does anything
/// that looks like a secret.
pub fn keeps(line: &str) -> bool {
    const SECRETS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "credential", "api_key"];
    let lower = line.to_lowercase();
    let blank = line.trim().is_empty() || line.starts_with(char::is_whitespace);
    !blank && !SECRETS.iter().any(|word| lower.contains(word)) && !has_url_password(&lower)
}

/// `postgres://user:pass@host`
fn has_url_password(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', ' ', '"']).next().unwrap_or(rest);
        authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Makes sure that the file exists and that only its owner may read it.
pub fn prepare(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_hidden_lines_are_not_kept() {
        for line in [
            " recover()",
            "\tstate()",
            "",
            "sql(\"alter user x PASSWORD 'y'\")",
            "let secret = 1",
            "connect(\"postgres://me:pw@host/db\")",
        ] {
            assert!(!keeps(line), "{line}");
        }
        for line in ["recover()", "sql(2, \"select 1\")", "connect(\"postgres://me@host\")"] {
            assert!(keeps(line), "{line}");
        }
    }

    #[test]
    fn only_the_owner_can_read_the_history() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a").join("history");
        prepare(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        prepare(&path)?;
        let mode = std::fs::metadata(&path)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }
}
