//! The documented exit codes.

/// How the process ends. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is done. A reader of stdout that went away is no failure.
    Done = 0,
    /// A script failed by itself: a syntax error, an unknown function, a wrong argument.
    ScriptError = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A dry run found nothing to do.
    NothingToDo = 3,
    /// Refused by the cluster's state, or declined: a confirmation was needed and not given.
    Refused = 4,
    /// Some of it was done, and the rest is named.
    Partial = 5,
    /// The end was not seen: unknown, or timed out.
    Unknown = 6,
    /// No connection to the cluster; also `state` and `status` from the last catalog.
    Unreachable = 7,
    /// Another administrator's operation holds what this one needs.
    Locked = 8,
    /// A check says no: `verify`, `segsh check`, `segsh test`, `state --check`.
    CheckFailed = 9,
    /// Ctrl-C or TERM.
    Interrupted = 130,
}

impl Exit {
    /// Every code there is.
    pub const ALL: [Exit; 11] = [
        Exit::Done,
        Exit::ScriptError,
        Exit::Usage,
        Exit::NothingToDo,
        Exit::Refused,
        Exit::Partial,
        Exit::Unknown,
        Exit::Unreachable,
        Exit::Locked,
        Exit::CheckFailed,
        Exit::Interrupted,
    ];

    /// The number the process ends with.
    /// As the rest of the program carries it: scripts end with any number.
    pub fn process_code(self) -> i32 {
        i32::from(self.code())
    }

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words, as `segsh --help` prints it.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::ScriptError => "script error",
            Exit::Usage => "usage",
            Exit::NothingToDo => "nothing to do (dry run)",
            Exit::Refused => "refused or declined",
            Exit::Partial => "partial",
            Exit::Unknown => "unknown or timed out",
            Exit::Unreachable => "cannot connect, or shown from the last catalog",
            Exit::Locked => "another administrator holds the lock",
            Exit::CheckFailed => "a check says no",
            Exit::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

/// An exit code that a script chose: the lowest eight bits, as the operating system has them.
pub fn from_script(code: i32) -> std::process::ExitCode {
    std::process::ExitCode::from((code & 0xff) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::OutcomeStatus;

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
    }

    #[test]
    fn every_outcome_ends_with_a_documented_code() {
        use OutcomeStatus::*;
        for status in [Done, Started, Planned, Partial, Refused, Unknown, Cancelled, Declined, Differs] {
            let code = status.exit();
            assert!(Exit::ALL.iter().any(|e| i32::from(e.code()) == code), "{code}");
        }
    }
}
