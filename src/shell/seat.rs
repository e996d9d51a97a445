//! Who runs this process and where, for lines that name him.

use super::{logging, terminal};
use crate::script::ui::Seat;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seat of this process: the account that it acts as, as the utilities of Greenplum write it.
pub fn seat() -> Seat {
    Seat {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        user: name_of(rustix::process::geteuid().as_raw()),
        utc_offset_s: terminal::stderr_style().utc_offset_s,
        log_dir: logging::directory(),
    }
}

/// Unix milliseconds.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The name of a user, or the number where `/etc/passwd` does not know it.
pub fn name_of(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(&users, id).unwrap_or_else(|| format!("uid {id}"))
}

fn named(users: &str, id: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_among_lines_that_are_none() {
        let users = "root:x:0:0:root:/r:/bin/sh\n\n+::::::\nsam:x:1000:1000::/h:/bin/sh\n";
        assert_eq!(named(users, 1000).as_deref(), Some("sam"));
        assert_eq!(named(users, 0).as_deref(), Some("root"));
        assert_eq!(named(users, 7), None);
    }

    #[test]
    fn a_seat_is_somebodys_and_somewhere() {
        let seat = seat();
        assert!(!seat.user.is_empty() && !seat.host.is_empty());
    }
}
