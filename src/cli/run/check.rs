//! `segsh check FILE…`: what is wrong with scripts, without running them and without a cluster.

use super::super::{Exit, Invocation};
use super::tell::Tell;
use crate::shell::check::{Checked, check_files};
use std::path::PathBuf;

/// Checks every file; 9 when any has an error. Warnings change no exit code.
pub fn check(invocation: &Invocation, files: &[PathBuf]) -> i32 {
    let tell = Tell::new(invocation);
    match check_files(files) {
        Err((file, cause)) => tell.failed("unreadable", Exit::Usage, &format!("{}: {cause}", file.display()), ""),
        Ok(checked) => {
            tell.text(&checked.text());
            tell.value("check", checked.to_json(), exit(&checked))
        }
    }
}

fn exit(checked: &Checked) -> i32 {
    let code = if checked.errors() > 0 { Exit::CheckFailed } else { Exit::Done };
    code.process_code()
}
