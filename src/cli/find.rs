//! Which cluster is meant: a directory, or a name that stands for one.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a cluster's directory could not be found.
#[derive(Debug, Error)]
pub enum FindError {
    #[error(
        "no cluster `{name}`: it is no directory, and {} does not exist",
        file.display()
    )]
    Unknown { name: String, file: PathBuf },
    #[error("cluster `{name}`: {} cannot be read: {source}", file.display())]
    Unreadable { name: String, file: PathBuf, source: io::Error },
    #[error("cluster `{name}`: {} must hold one absolute path", file.display())]
    NotAPath { name: String, file: PathBuf },
}

/// `-c`, else `SEGSH_CLUSTER`, else none.
pub fn named(flag: Option<&str>, environment: Option<OsString>) -> Option<String> {
    let environment = || environment.map(|v| v.to_string_lossy().into_owned());
    flag.map(str::to_string).or_else(environment).filter(|name| !name.is_empty())
}

/// Where names are kept: `CONFIG_DIR/segsh/clusters`, a file for each that holds a path.
pub fn names_dir() -> Option<PathBuf> {
    Some(dirs::config_dir()?.join("segsh").join("clusters"))
}

/// The directory that `DIR|NAME` means. A path is taken as it is, whether or not it exists yet;
/// a bare word is a directory here if there is one, else a name.
pub fn directory(target: &str, names: Option<&Path>) -> Result<PathBuf, FindError> {
    let path = Path::new(target);
    let bare = !target.contains('/') && target != "." && target != "..";
    if !bare || path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let file = names.map_or_else(|| PathBuf::from("clusters").join(target), |n| n.join(target));
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = target.to_string();
            return Err(FindError::Unknown { name, file });
        }
        Err(source) => {
            let name = target.to_string();
            return Err(FindError::Unreadable { name, file, source });
        }
    };
    let found = PathBuf::from(text.trim());
    if found.is_absolute() && text.trim().lines().count() == 1 {
        Ok(found)
    } else {
        let name = target.to_string();
        Err(FindError::NotAPath { name, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment() {
        let env = || Some(OsString::from("there"));
        assert_eq!(named(Some("here"), env()).as_deref(), Some("here"));
        assert_eq!(named(None, env()).as_deref(), Some("there"));
        assert_eq!(named(None, Some(OsString::new())), None);
        assert_eq!(named(None, None), None);
    }

    #[test]
    fn a_path_is_itself_and_a_name_is_looked_up() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("prod"), "/srv/prod\n")?;
        std::fs::write(dir.path().join("bad"), "srv/prod")?;
        let find = |name| directory(name, Some(dir.path()));
        assert_eq!(find("/srv/x")?, Path::new("/srv/x"));
        assert_eq!(find("./x")?, Path::new("./x"));
        assert_eq!(find("prod")?, Path::new("/srv/prod"));
        assert!(matches!(find("bad"), Err(FindError::NotAPath { .. })));
        assert!(matches!(find("none"), Err(FindError::Unknown { .. })));
        Ok(())
    }
}
