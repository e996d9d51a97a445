//! Who asks: the real user behind a shared account, where, and on which terminal.

use crate::cluster::request::Owner;
use crate::shell::seat::name_of;
use std::path::Path;

/// What the kernel says of a process that no login stands behind.
const NO_LOGIN: u32 = u32::MAX;

/// Who this process is. What is asked for, and by which script, is added with each call.
pub fn owner() -> Owner {
    let account_id = rustix::process::getuid().as_raw();
    let account = name_of(account_id);
    let user = real_user().unwrap_or_else(|| account.clone());
    let terminal = std::fs::read_link("/proc/self/fd/0").ok().filter(|p| p.starts_with("/dev") && is_terminal(p));
    Owner {
        account: if user == account { String::new() } else { account },
        user,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        terminal: terminal.map(|p| p.display().to_string()).unwrap_or_default(),
        ..Owner::default()
    }
}

fn is_terminal(path: &Path) -> bool {
    path.starts_with("/dev/pts") || path.starts_with("/dev/tty") || path == Path::new("/dev/console")
}

/// Who logged in, before any `sudo` or `su`: the kernel keeps it, and only root could set it otherwise. Where
/// nobody has logged in, as in a container, `sudo`'s own word is the best there is.
fn real_user() -> Option<String> {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    match login.filter(|id| *id != NO_LOGIN) {
        Some(id) => Some(name_of(id)),
        None => sudo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_always_named() {
        let owner = owner();
        assert!(!owner.user.is_empty() && !owner.host.is_empty());
        assert_eq!(owner.pid, std::process::id());
        assert_ne!(owner.user, owner.account);
    }
}
