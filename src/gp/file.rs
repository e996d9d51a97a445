//! The list of segments that `gprecoverseg -i` reads and `-o` writes, in the format of 4.3:
//!
//! ```text
//! filespaceOrder=
//! failedAddress:failedPort:failedDataDir
//! failedAddress:failedPort:failedDataDir newAddress:newPort:newReplicationPort:newDataDir
//! ```
//!
//! A line with one group is recovered where it is, one with two is moved.
//! The format of later releases (`host|port|directory`) is recognised, and answered with the line it would be.

use super::failure::Failure;
use super::refusals;
use crate::cluster::{Segment, State, Wanted};
use crate::core::ids::Dbid;
use crate::core::row::{Place, Role, Status};

/// What the first line begins with.
const HEADER: &str = "filespaceOrder=";

/// The file of these segments, each in place, or with the place that it is to be moved to.
pub fn write(segments: &[(&Segment, Option<&Place>)]) -> String {
    let line = |(segment, to): &(&Segment, Option<&Place>)| {
        let target = to.map(|to| {
            let address = bracketed(&to.address);
            format!(" {address}:{}:{}:{}", to.port, to.replication_port, to.datadir)
        });
        format!("{}{}\n", place(segment), target.unwrap_or_default())
    };
    std::iter::once(format!("{HEADER}\n")).chain(segments.iter().map(line)).collect()
}

/// What a file lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Recovered where they are.
    pub in_place: Vec<Dbid>,
    /// Moved, each to the place that its line names.
    pub moved: Vec<(Dbid, Wanted)>,
}

impl Listed {
    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.in_place.is_empty() && self.moved.is_empty()
    }

    fn has(&self, dbid: Dbid) -> bool {
        self.in_place.contains(&dbid) || self.moved.iter().any(|(other, _)| *other == dbid)
    }
}

/// `address:port:directory`; an address with colons stands in brackets.
fn place(segment: &Segment) -> String {
    let row = &segment.row;
    format!("{}:{}:{}", bracketed(&row.address), row.port, row.datadir)
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_string() }
}

/// The segments that a file lists, all of its faults at once.
pub fn read(text: &str, name: &str, state: &State) -> Result<Listed, Failure> {
    let mut reader = Reader { name, state, found: Listed::default(), faults: Vec::new(), has_header: false };
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            reader.line(at + 1, line);
        }
    }
    if !reader.has_header && reader.faults.is_empty() {
        reader.faults.push(refusals::syntax(name, 1, "", &no_header()));
    }
    match reader.faults.is_empty() {
        true => Ok(reader.found),
        false => Err(Failure::expected_all(reader.faults).next("gprecoverseg -o FILE writes such a file")),
    }
}

fn no_header() -> String {
    format!("does not start with {HEADER}")
}

struct Reader<'a> {
    name: &'a str,
    state: &'a State,
    found: Listed,
    faults: Vec<String>,
    has_header: bool,
}

/// The parts of a group, and what is wrong when they cannot be read.
struct Group<'l> {
    address: &'l str,
    port: &'l str,
    directory: &'l str,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) {
        if !self.has_header {
            self.has_header = true;
            match line.strip_prefix(HEADER) {
                Some(names) => return self.header(names),
                None => self.wrong(number, line, &no_header()),
            }
        }
        if line.contains('|') {
            return self.later_format(number, line);
        }
        let groups: Vec<&str> = line.split_whitespace().collect();
        match groups.as_slice() {
            [one] => {
                if let Some(dbid) = self.group(number, line, one) {
                    self.found.in_place.push(dbid);
                }
            }
            [one, new] => {
                // Both are looked at, whatever is wrong with either.
                let (failed, target) = (self.group(number, line, one), self.target(number, line, new));
                self.found.moved.extend(failed.zip(target));
            }
            several => {
                let why = format!("only one or two groups of fields delimited by a space, not {}", several.len());
                self.wrong(number, line, &why);
            }
        }
    }

    /// There is one directory a segment, so no filespace can be named.
    fn header(&mut self, names: &str) {
        let named = names.split(':').map(str::trim).filter(|name| !name.is_empty());
        self.faults.extend(named.map(refusals::no_filespace));
    }

    fn wrong(&mut self, number: usize, line: &str, why: &str) {
        self.faults.push(refusals::syntax(self.name, number, line, why));
    }

    /// The failed segment that a group describes.
    fn group(&mut self, number: usize, line: &str, group: &str) -> Option<Dbid> {
        let Group { address, port, directory } = self.fields(number, line, parts(group))?;
        let port = self.port(line, port)?;
        let directory = self.full_path(line, directory)?;
        let fits =
            |s: &&Segment| (s.row.address.as_str(), s.row.port, s.row.datadir.as_str()) == (address, port, directory);
        match self.state.segments.iter().find(fits) {
            None => {
                self.faults.push(refusals::not_found(group, line));
                None
            }
            Some(segment) => self.segment(segment, group, line),
        }
    }

    fn segment(&mut self, segment: &Segment, group: &str, line: &str) -> Option<Dbid> {
        let row = &segment.row;
        let fault = if self.found.has(row.dbid) {
            refusals::found_twice(group, line)
        } else if row.role == Role::Primary {
            refusals::not_a_primary(row.content)
        } else if row.status == Status::Up {
            refusals::is_up(row.dbid, line)
        } else {
            return Some(row.dbid);
        };
        self.faults.push(fault);
        None
    }

    /// Where a segment is to be moved. The line names the place itself, so it may be on the host of the other copy,
    /// which is warned of.
    fn target(&mut self, number: usize, line: &str, group: &str) -> Option<Wanted> {
        let Group { address, port, directory: rest } = self.fields(number, line, parts(group))?;
        let (replication_port, directory) =
            self.fields(number, line, rest.split_once(':').ok_or("out of values (reading data directory)".into()))?;
        let (port, replication_port) = (self.port(line, port)?, self.port(line, replication_port)?);
        let directory = self.full_path(line, directory)?;
        if directory.contains(':') {
            self.wrong(number, line, "a segment has one directory, and none of a filespace behind it");
            return None;
        }
        let Some(host) = self.state.hosts.iter().find(|h| [&h.address, &h.host].contains(&&address.to_string())) else {
            self.faults.push(refusals::no_host_name(address, line));
            return None;
        };
        Some(Wanted {
            host: Some(host.host.clone()),
            dir: None,
            datadir: Some(directory.into()),
            port: Some(port),
            replication_port: Some(replication_port),
            colocated: true,
        })
    }

    fn fields<T>(&mut self, number: usize, line: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.wrong(number, line, &why)).ok()
    }

    fn port(&mut self, line: &str, text: &str) -> Option<u16> {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            self.faults.push(refusals::no_number(line));
        }
        port
    }

    fn full_path<'l>(&mut self, line: &str, path: &'l str) -> Option<&'l str> {
        if !path.starts_with('/') {
            self.faults.push(refusals::not_a_full_path(path, line));
            return None;
        }
        Some(path)
    }

    /// `host|port|directory`, or `host|address|port|directory`, once or twice.
    fn later_format(&mut self, number: usize, line: &str) {
        let mut groups = line.split_whitespace();
        let failed = groups.next().map(|group| self.translated(group));
        // Where a segment was to go had no replication port of its own.
        let new = groups.map(|group| match parts(&self.translated(group)) {
            Ok(Group { address, port, directory }) => {
                format!("{}:{port}:REPLICATION_PORT:{directory}", bracketed(address))
            }
            Err(_) => "address:port:replication_port:directory".into(),
        });
        let groups: Vec<String> = failed.into_iter().chain(new).collect();
        let why = format!("this is the format of later releases; here the line is `{}`", groups.join(" "));
        self.wrong(number, line, &why);
    }

    fn translated(&self, group: &str) -> String {
        let fields: Vec<&str> = group.split('|').collect();
        let (host, port, directory) = match fields.as_slice() {
            [host, port, directory] => (*host, *port, *directory),
            [_, address, port, directory] => (*address, *port, *directory),
            _ => return "address:port:directory".into(),
        };
        let is_it = |s: &&Segment| {
            (s.row.hostname == host || s.row.address == host)
                && s.row.port.to_string() == port
                && s.row.datadir == directory
        };
        match self.state.segments.iter().find(is_it) {
            Some(segment) => place(segment),
            None => format!("{}:{port}:{directory}", bracketed(host)),
        }
    }
}

/// Address, port and directory, separated by colons.
fn parts(group: &str) -> Result<Group<'_>, String> {
    let (address, rest) = match group.strip_prefix('[') {
        Some(inside) => inside.split_once("]:").ok_or("out of values (reading address)")?,
        None => group.split_once(':').ok_or("out of values (reading port)")?,
    };
    let (port, directory) = rest.split_once(':').ok_or("out of values (reading data directory)")?;
    if address.is_empty() {
        return Err("out of values (reading address)".into());
    }
    Ok(Group { address, port, directory })
}
