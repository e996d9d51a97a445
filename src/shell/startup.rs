//! The startup file: a person's own names, for the prompt only, so that a script does the same everywhere.

use super::evaluator::{Evaluator, Failure};
use super::render::error::Position;
use rustix::process::geteuid;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// `CONFIG_DIR/segsh/startup.rhai`; `None` without a home.
pub fn path() -> Option<PathBuf> {
    Some(dirs::config_dir()?.join("segsh").join("startup.rhai"))
}

/// Why a startup file was not run.
#[derive(Debug, Error)]
pub enum StartupError {
    #[error("{}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error(
        "{} is not run: others than you may write it or its folder; next: chmod go-w {}",
        path.display(), path.display()
    )]
    Writable { path: PathBuf },
    /// It is Rhai that fails; the failure says where.
    #[error("the startup file fails")]
    Failed(Box<Failure>),
}

/// Runs the file as the first line of the prompt: what it names stays. `Ok(None)` when there is none or
/// it ran through, `Ok(Some(code))` when it called `exit(code)`.
pub fn run(path: &Path, evaluator: &mut dyn Evaluator) -> Result<Option<i32>, StartupError> {
    let failed = |cause| StartupError::Read { path: path.to_path_buf(), cause };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let folder = path.parent().unwrap_or(path);
    if !is_own(path).map_err(failed)? || !is_own(folder).map_err(failed)? {
        return Err(StartupError::Writable { path: path.to_path_buf() });
    }
    match evaluator.eval_line(&text) {
        Ok(value) => Ok(value.exit),
        Err(mut failure) => {
            relocate(&mut failure, path);
            Err(StartupError::Failed(failure))
        }
    }
}

/// Whether nobody but this user and root can change it.
fn is_own(path: &Path) -> io::Result<bool> {
    let meta = std::fs::metadata(path)?;
    let owner = meta.uid() == geteuid().as_raw() || meta.uid() == 0;
    Ok(owner && meta.mode() & 0o022 == 0)
}

/// The engine takes the text for a line of the prompt; it stands in a file.
fn relocate(failure: &mut Failure, path: &Path) {
    let rename = |position: &mut Position| position.file = path.display().to_string();
    failure.view.position.iter_mut().for_each(rename);
    failure.view.calls.iter_mut().filter_map(|call| call.at.as_mut()).for_each(rename);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::evaluator::{Evaluated, Variable};
    use std::os::unix::fs::PermissionsExt;

    /// Fails for the text `bad` and leaves for the text `exit`.
    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Evaluator for Lines {
        fn variables(&self) -> Vec<Variable> {
            Vec::new()
        }
        fn eval_line(&mut self, text: &str) -> Result<Evaluated, Box<Failure>> {
            self.0.push(text.into());
            match text {
                "bad" => {
                    let mut failure = Failure::default();
                    failure.view.position = Some(Position { file: "prompt".into(), line: 3, column: 1 });
                    Err(Box::new(failure))
                }
                "exit" => Ok(Evaluated { exit: Some(3), ..Evaluated::default() }),
                _ => Ok(Evaluated::default()),
            }
        }
        fn rehearse(&mut self, _: bool) {}
        fn run_source(&mut self, _: &str, text: &str, _: &[String]) -> Result<Evaluated, Box<Failure>> {
            self.eval_line(text)
        }
        fn run_file(&mut self, path: &Path, _: &[String]) -> Result<Evaluated, Box<Failure>> {
            self.eval_line(&path.display().to_string())
        }
    }

    fn place() -> io::Result<(tempfile::TempDir, PathBuf)> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("startup.rhai");
        Ok((dir, path))
    }

    #[test]
    fn it_is_run_once_and_one_that_is_not_there_is_no_error() -> io::Result<()> {
        let (_dir, path) = place()?;
        let mut lines = Lines::default();
        assert!(matches!(run(&path, &mut lines), Ok(None)));
        std::fs::write(&path, "let mine = 1;")?;
        assert!(matches!(run(&path, &mut lines), Ok(None)));
        assert_eq!(lines.0, ["let mine = 1;"]);
        std::fs::write(&path, "exit")?;
        assert!(matches!(run(&path, &mut lines), Ok(Some(3))));
        Ok(())
    }

    #[test]
    fn one_that_others_can_write_is_refused() -> io::Result<()> {
        let (dir, path) = place()?;
        std::fs::write(&path, "1")?;
        let mut lines = Lines::default();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664))?;
        assert!(matches!(run(&path, &mut lines), Err(StartupError::Writable { .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777))?;
        assert!(matches!(run(&path, &mut lines), Err(StartupError::Writable { .. })));
        assert!(lines.0.is_empty());
        Ok(())
    }

    #[test]
    fn its_errors_stand_in_the_file() -> io::Result<()> {
        let (_dir, path) = place()?;
        std::fs::write(&path, "bad")?;
        let failed = run(&path, &mut Lines::default());
        let Err(StartupError::Failed(failure)) = failed else { panic!("it ran: {failed:?}") };
        assert_eq!(failure.view.position.map(|p| p.file), Some(path.display().to_string()));
        Ok(())
    }
}
