//! Which segment goes where: pure.

use super::config::{CoordinatorEntry, HostEntry};
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Mode, Role, SegmentRow, Status};
use std::path::PathBuf;

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

/// The ports of a new cluster. A segment's are the first one of its kind and as many more as its content says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of PostgreSQL clients.
    pub postgres: u16,
    /// Of the coordinator's control endpoint.
    pub control: u16,
    /// Of agents, where a host names none.
    pub agent: u16,
    /// The first of the primaries.
    pub primary: u16,
    /// The first of the mirrors.
    pub mirror: u16,
    /// The first of the links that those listen on that begin as primaries.
    pub primary_link: u16,
    /// The first of the links that those listen on that begin as mirrors.
    pub mirror_link: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            postgres: PG_PORT,
            control: CONTROL_PORT,
            agent: AGENT_PORT,
            primary: PRIMARY_PORT,
            mirror: MIRROR_PORT,
            primary_link: PRIMARY_LINK_PORT,
            mirror_link: MIRROR_LINK_PORT,
        }
    }
}

impl Ports {
    /// The first port of a role's segments, and of their links.
    fn first(&self, role: Role) -> (u16, u16) {
        match role {
            Role::Primary => (self.primary, self.primary_link),
            Role::Mirror => (self.mirror, self.mirror_link),
        }
    }

    /// Whether no two of a cluster with so many contents can be the same on one address, and all are ports.
    pub(super) fn are_apart(&self, contents: u16) -> bool {
        let mut ranges: Vec<(u16, u16)> = Role::ALL
            .iter()
            .flat_map(|role| [self.first(*role).0, self.first(*role).1])
            .map(|first| (first, contents))
            .chain([(self.postgres, 1), (self.control, 1), (self.agent, 1)])
            .collect();
        ranges.sort_unstable();
        let end = |(first, count): (u16, u16)| u32::from(first) + u32::from(count);
        ranges.iter().all(|range| range.0 > 0 && end(*range) <= 1 << 16)
            && ranges.windows(2).all(|pair| end(pair[0]) <= u32::from(pair[1].0))
    }
}

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
    pub mirrors: bool,
}

/// The coordinator's place, unless a cluster file names another.
pub(super) fn coordinator(prefix: Prefix, ports: &Ports) -> CoordinatorEntry {
    CoordinatorEntry {
        host: "cdw".into(),
        address: prefix.address(1),
        port: ports.postgres,
        control_port: ports.control,
    }
}

/// The name of the host with this number, from 0.
pub(super) fn host_name(number: u16) -> String {
    format!("sdw{}", number + 1)
}

/// The address of the host with this number in a cluster's own prefix: .11, .12, and so on.
pub(super) fn host_address(prefix: Prefix, number: usize) -> String {
    prefix.address(u8::try_from(11 + number).unwrap_or(u8::MAX))
}

/// Every row of a new cluster, the coordinator's first. Primaries are spread in groups over the
/// hosts; the mirrors of one host's primaries are together on the next host.
pub(super) fn rows(
    shape: Shape,
    ports: &Ports,
    at: &CoordinatorEntry,
    hosts: &[HostEntry],
    coordinator_dir: PathBuf,
) -> Vec<SegmentRow> {
    let count = hosts.len();
    let home = |content: u16| usize::from(content) * count / usize::from(shape.contents.max(1));
    let member = |content: u16, role: Role| {
        let (host, dbid) = match role {
            Role::Primary => (home(content), 2 + content),
            Role::Mirror => ((home(content) + 1) % count, 2 + shape.contents + content),
        };
        let (port, link) = ports.first(role);
        // A host's roots take turns, so that its disks share the work.
        let roots = &hosts[host].roots;
        let root = roots.get(usize::from(content) % roots.len().max(1)).unwrap_or(&hosts[host].dir);
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
            datadir: root.join(format!("c{content}-{dbid}")).display().to_string(),
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
    use std::path::Path;

    fn hosts(count: u16) -> Vec<HostEntry> {
        let host = |number: u16| HostEntry {
            name: host_name(number),
            address: host_address(Prefix(7, 9), number.into()),
            agent_port: AGENT_PORT,
            dir: Path::new("/d/hosts").join(host_name(number)),
            roots: Vec::new(),
            ssh: None,
        };
        (0..count).map(host).collect()
    }

    fn made(contents: u16, hosts: &[HostEntry], mirrors: bool) -> Vec<SegmentRow> {
        let ports = Ports::default();
        let at = coordinator(Prefix(7, 9), &ports);
        rows(Shape { contents, mirrors }, &ports, &at, hosts, "/d/coordinator".into())
    }

    fn text(contents: u16, count: u16, mirrors: bool) -> String {
        made(contents, &hosts(count), mirrors)
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
            let all = made(contents, &hosts(count), true);
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
    fn the_roots_of_a_host_take_turns() {
        let with_roots = |host| HostEntry { roots: vec!["/x".into(), "/y".into()], ..host };
        let hosts: Vec<HostEntry> = hosts(2).into_iter().map(with_roots).collect();
        let of_first: Vec<String> = made(4, &hosts, false).into_iter().skip(1).map(|row| row.datadir).collect();
        assert_eq!(of_first, ["/x/c0-2", "/y/c1-3", "/x/c2-4", "/y/c3-5"]);
    }

    #[test]
    fn ports_that_could_meet_are_seen() {
        let usual = Ports::default();
        assert!(usual.are_apart(MAX_CONTENTS));
        assert!(Ports { mirror: 6006, ..usual }.are_apart(4) && !Ports { mirror: 6006, ..usual }.are_apart(5));
        assert!(!Ports { control: usual.postgres, ..usual }.are_apart(1));
        assert!(Ports { mirror_link: 65_532, ..usual }.are_apart(4));
        assert!(!Ports { mirror_link: 65_533, ..usual }.are_apart(4) && !Ports { primary: 0, ..usual }.are_apart(4));
    }

    #[test]
    fn without_mirrors_there_is_one_row_a_content() {
        assert_eq!(text(2, 1, false).lines().count(), 3);
    }
}
