//! Which segment goes where: pure.

use super::config::{CoordinatorEntry, HostEntry};
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Mode, Role, SegmentRow, Status};
use std::path::{Path, PathBuf};

/// Most contents a cluster on one machine may have: beyond it the port ranges would meet.
pub(super) const MAX_CONTENTS: u16 = 500;
/// Most hosts: the last part of an address goes from 11 up.
pub(super) const MAX_HOSTS: u16 = 200;

const PG_PORT: u16 = 5432;
const CONTROL_PORT: u16 = 5433;
pub(super) const AGENT_PORT: u16 = 5001;
const PRIMARY_PORT: u16 = 6002;
const MIRROR_PORT: u16 = 7002;
const PRIMARY_LINK_PORT: u16 = 8002;
const MIRROR_LINK_PORT: u16 = 9002;

/// Two parts of a loopback address that one cluster has for itself: 127.A.B.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix(pub u8, pub u8);

impl Prefix {
    pub(super) fn address(self, last: u8) -> String {
        format!("127.{}.{}.{last}", self.0, self.1)
    }
}

/// What a cluster looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub contents: u16,
    pub hosts: u16,
    pub mirrors: bool,
}

/// The coordinator's place.
pub(super) fn coordinator(prefix: Prefix) -> CoordinatorEntry {
    CoordinatorEntry { host: "cdw".into(), address: prefix.address(1), port: PG_PORT, control_port: CONTROL_PORT }
}

/// The hosts: sdw1 on .11, sdw2 on .12, and so on.
pub(super) fn hosts(prefix: Prefix, count: u16, dir: &Path) -> Vec<HostEntry> {
    (0..count)
        .map(|i| {
            let name = format!("sdw{}", i + 1);
            let last = u8::try_from(11 + i).unwrap_or(u8::MAX);
            HostEntry {
                dir: dir.join("hosts").join(&name),
                address: prefix.address(last),
                agent_port: AGENT_PORT,
                name,
                roots: Vec::new(),
                ssh: None,
            }
        })
        .collect()
}

/// Every row of a new cluster, the coordinator's first. Primaries are spread in groups over the
/// hosts; the mirrors of one host's primaries are together on the next host.
pub(super) fn rows(
    shape: Shape,
    at: &CoordinatorEntry,
    hosts: &[HostEntry],
    coordinator_dir: PathBuf,
) -> Vec<SegmentRow> {
    let count = hosts.len();
    let home = |content: u16| usize::from(content) * count / usize::from(shape.contents.max(1));
    let member = |content: u16, role: Role| {
        let (host, port, link, dbid) = match role {
            Role::Primary => (home(content), PRIMARY_PORT, PRIMARY_LINK_PORT, 2 + content),
            Role::Mirror => {
                let next = (home(content) + 1) % count;
                (next, MIRROR_PORT, MIRROR_LINK_PORT, 2 + shape.contents + content)
            }
        };
        SegmentRow {
            dbid: Dbid(dbid.into()),
            content: Content(content.into()),
            role,
            preferred_role: role,
            mode: Mode::Synchronized,
            status: Status::Up,
            port: port + content,
            hostname: hosts[host].name.clone(),
            address: hosts[host].address.clone(),
            replication_port: Some(link + content),
            datadir: hosts[host].dir.join(format!("c{content}-{dbid}")).display().to_string(),
        }
    };
    let roles = if shape.mirrors { Role::ALL } else { &[Role::Primary] };
    let members = roles.iter().flat_map(|role| (0..shape.contents).map(|c| member(c, *role)));
    std::iter::once(coordinator_row(at, coordinator_dir)).chain(members).collect()
}

/// The row of the coordinator itself.
pub(super) fn coordinator_row(at: &CoordinatorEntry, dir: PathBuf) -> SegmentRow {
    SegmentRow {
        dbid: Dbid(1),
        content: Content::COORDINATOR,
        role: Role::Primary,
        preferred_role: Role::Primary,
        mode: Mode::Synchronized,
        status: Status::Up,
        port: at.port,
        hostname: at.host.clone(),
        address: at.address.clone(),
        replication_port: None,
        datadir: dir.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(contents: u16, hosts_count: u16, mirrors: bool) -> String {
        let prefix = Prefix(7, 9);
        let at = coordinator(prefix);
        let hosts = hosts(prefix, hosts_count, Path::new("/d"));
        let shape = Shape { contents, hosts: hosts_count, mirrors };
        rows(shape, &at, &hosts, "/d/coordinator".into())
            .iter()
            .map(|r| {
                format!(
                    "{} {} {} {}:{} {}:{} {}\n",
                    r.dbid,
                    r.content,
                    r.role.letter(),
                    r.hostname,
                    r.port,
                    r.address,
                    r.replication_port.unwrap_or(0),
                    r.datadir
                )
            })
            .collect()
    }

    #[test]
    fn four_contents_on_two_hosts_are_laid_out_as_the_screens_show() {
        let expected = "\
1 -1 p cdw:5432 127.7.9.1:0 /d/coordinator
2 0 p sdw1:6002 127.7.9.11:8002 /d/hosts/sdw1/c0-2
3 1 p sdw1:6003 127.7.9.11:8003 /d/hosts/sdw1/c1-3
4 2 p sdw2:6004 127.7.9.12:8004 /d/hosts/sdw2/c2-4
5 3 p sdw2:6005 127.7.9.12:8005 /d/hosts/sdw2/c3-5
6 0 m sdw2:7002 127.7.9.12:9002 /d/hosts/sdw2/c0-6
7 1 m sdw2:7003 127.7.9.12:9003 /d/hosts/sdw2/c1-7
8 2 m sdw1:7004 127.7.9.11:9004 /d/hosts/sdw1/c2-8
9 3 m sdw1:7005 127.7.9.11:9005 /d/hosts/sdw1/c3-9
";
        assert_eq!(text(4, 2, true), expected);
    }

    #[test]
    fn a_pair_is_never_on_one_host_and_no_port_is_given_twice() {
        for (contents, count) in [(1, 2), (3, 2), (5, 3), (7, 7), (3, 8), (500, 200)] {
            let hosts = hosts(Prefix(1, 1), count, Path::new("/d"));
            let shape = Shape { contents, hosts: count, mirrors: true };
            let all = rows(shape, &coordinator(Prefix(1, 1)), &hosts, "/d/c".into());
            let mut taken = std::collections::HashSet::new();
            for row in &all {
                assert!(taken.insert((row.address.clone(), row.port)));
                if let Some(port) = row.replication_port {
                    assert!(taken.insert((row.address.clone(), port)));
                }
            }
            for content in 0..contents {
                let mut pair = all.iter().filter(|r| r.content == Content(content.into()));
                let (one, other) = (pair.next().unwrap(), pair.next().unwrap());
                assert_ne!(one.hostname, other.hostname, "{contents} over {count}");
            }
        }
    }

    #[test]
    fn without_mirrors_there_is_one_row_a_content() {
        assert_eq!(text(2, 1, false).lines().count(), 3);
    }
}
