//! Hosts that a start or a stop went on without: named in its outcome, with what is on them.

use super::control::ask_state;
use super::error::ClusterDirError;
use super::handle::ClusterHandle;
use crate::cluster::{Outcome, OutcomeStatus, Refusal, RefusalCode};
use crate::core::ids::{Content, Dbid};

/// A host that could not be brought up, or asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentHost {
    /// Its name.
    pub host: String,
    /// Why, in words.
    pub cause: String,
    /// The next step as it would be typed; empty when there is none to name.
    pub next: String,
}

impl SilentHost {
    /// A host and what was found about it. `None` when the whole command must end: another release is
    /// nothing that passes, and the cluster's own key is nobody's fault but this side's.
    pub(super) fn of(host: &str, error: ClusterDirError) -> Result<SilentHost, ClusterDirError> {
        match error {
            ClusterDirError::OtherRelease { .. } | ClusterDirError::Key(_) => Err(error),
            error => {
                let (cause, next) = (error.to_string(), error.next());
                // Who reads it knows which host it is of.
                let cause = cause.strip_prefix(&format!("host {host} ")).unwrap_or(&cause).to_owned();
                Ok(SilentHost { host: host.into(), cause, next })
            }
        }
    }

    fn refusal(&self, on_it: &OnIt) -> Refusal {
        let list: Vec<String> = on_it.dbids.iter().map(Dbid::to_string).collect();
        let segments = match list.as_slice() {
            [] if on_it.is_certain => {
                format!("no segment is on it, and remove_host(\"{}\") lets the cluster forget it", self.host)
            }
            [] => "no segment was made on it".into(),
            [one] => format!("it has dbid {one}"),
            list => format!("it has dbids {}", list.join(", ")),
        };
        Refusal {
            code: RefusalCode::HostDown,
            content: None,
            dbid: None,
            host: Some(self.host.clone()),
            cause: format!("{}; {segments}", self.cause),
            next: self.next.clone(),
        }
    }
}

/// Which segments are on a host.
struct OnIt {
    dbids: Vec<Dbid>,
    /// The coordinator said so. When it has ended it can't be asked: then it is where `init` placed them.
    is_certain: bool,
}

async fn segments_on(handle: &ClusterHandle, host: &str) -> OnIt {
    let (rows, is_certain) = match ask_state(handle).await {
        Ok(state) => (state.segments.into_iter().map(|s| s.row).collect(), true),
        Err(_) => (handle.config().segments.clone(), false),
    };
    let is_there = |r: &&crate::core::row::SegmentRow| r.hostname == host && r.content != Content::COORDINATOR;
    OnIt { dbids: rows.iter().filter(is_there).map(|r| r.dbid).collect(), is_certain }
}

/// The outcome of what was done on the other hosts: never more than `partial`, with each silent host named.
pub(super) async fn told(mut outcome: Outcome, handle: &ClusterHandle, silent: &[SilentHost]) -> Outcome {
    for host in silent {
        outcome.refusals.push(host.refusal(&segments_on(handle, &host.host).await));
    }
    let Some(first) = silent.first() else {
        return outcome;
    };
    if outcome.status == OutcomeStatus::Done {
        outcome.status = OutcomeStatus::Partial;
    }
    let names: Vec<&str> = silent.iter().map(|h| h.host.as_str()).collect();
    let without = format!("{} without {}", outcome.verb, names.join(", "));
    outcome.message = match outcome.message.is_empty() {
        true => without,
        false => format!("{without}: {}", outcome.message),
    };
    outcome.next = first.next.clone();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_whole_start_is_told_from_what_is_one_hosts_own() {
        let drill = ClusterDirError::HostStopped { name: "sdw2".into() };
        let silent = SilentHost::of("sdw2", drill).expect("one host's own");
        assert_eq!(silent.next, "fault::start_host(\"sdw2\")");
        let cause = crate::net::NetError::WrongVersion { ours: 2, theirs: 1 };
        assert!(SilentHost::of("sdw2", ClusterDirError::OtherRelease { what: "x".into(), cause }).is_err());
        let said = silent.refusal(&OnIt { dbids: vec![Dbid(4), Dbid(5)], is_certain: true });
        assert_eq!(said.cause, "was stopped by a drill; it has dbids 4, 5");
        let empty = |is_certain| silent.refusal(&OnIt { dbids: Vec::new(), is_certain }).cause;
        assert!(!empty(false).contains("remove_host"), "one may have been moved there: {}", empty(false));
        let empty = empty(true);
        assert!(
            empty.ends_with("no segment is on it, and remove_host(\"sdw2\") lets the cluster forget it"),
            "{empty}"
        );
        assert_eq!((said.code, said.host.as_deref()), (RefusalCode::HostDown, Some("sdw2")));
    }
}
