//! The layouts of `gpstate`: a state in, a page out.

mod attention;
mod mirrors;
mod plain;
mod status;
mod summary;

use super::About;
use super::figures;
use super::line::date_time;
use super::page::Page;
use crate::cluster::{ContentState, Segment, State};
use crate::core::ids::Content;
use crate::core::row::{Mode, Role, Status};
use crate::core::track::BLOCK_BYTES;

/// What `gpstate` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `-b`, and without an option.
    Summary,
    /// `-m`.
    Mirrors,
    /// `-e`.
    Attention,
    /// `-s`.
    Status,
    /// `-c`.
    Map,
    /// `-Q`.
    Quick,
    /// `-f`.
    Standby,
    /// `-i`.
    Versions,
    /// `-p`.
    Ports,
}

impl Layout {
    /// Every one of them.
    pub const ALL: [Layout; 9] = [
        Layout::Summary,
        Layout::Mirrors,
        Layout::Attention,
        Layout::Status,
        Layout::Map,
        Layout::Quick,
        Layout::Standby,
        Layout::Versions,
        Layout::Ports,
    ];

    /// The letter of its option.
    pub fn letter(self) -> &'static str {
        match self {
            Layout::Summary => "b",
            Layout::Mirrors => "m",
            Layout::Attention => "e",
            Layout::Status => "s",
            Layout::Map => "c",
            Layout::Quick => "Q",
            Layout::Standby => "f",
            Layout::Versions => "i",
            Layout::Ports => "p",
        }
    }
}

/// Shows a cluster. Times are written with this many seconds ahead of UTC.
pub fn show(layout: Layout, state: &State, about: &About, utc_offset_s: i64) -> Page {
    let view = View { state, about, utc_offset_s };
    match layout {
        Layout::Summary => summary::summary(&view),
        Layout::Mirrors => mirrors::mirrors(&view),
        Layout::Attention => attention::attention(&view),
        Layout::Status => status::status(&view),
        Layout::Map => mirrors::map(&view),
        Layout::Quick => plain::quick(&view),
        Layout::Standby => plain::standby(),
        Layout::Versions => plain::versions(&view),
        Layout::Ports => plain::ports(&view),
    }
}

/// A state as the layouts look at it.
struct View<'a> {
    state: &'a State,
    about: &'a About,
    utc_offset_s: i64,
}

impl<'a> View<'a> {
    /// Every segment, by content, the one that prefers to be primary first.
    fn segments(&self) -> Vec<&'a Segment> {
        super::ordered(self.state)
    }

    fn preferring(&self, role: Role) -> Vec<&'a Segment> {
        self.segments().into_iter().filter(|s| s.row.preferred_role == role).collect()
    }

    fn acting(&self, content: Content, role: Role) -> Option<&'a Segment> {
        self.state.acting(content, role)
    }

    /// The acting primaries, by content.
    fn primaries(&self) -> Vec<&'a Segment> {
        self.segments().into_iter().filter(|s| s.row.role == Role::Primary).collect()
    }

    fn has_mirrors(&self) -> bool {
        self.state.segments.iter().any(|s| s.row.preferred_role == Role::Mirror)
    }

    fn content(&self, content: Content) -> Option<&'a ContentState> {
        self.state.content(content)
    }

    /// `Spread` when the primaries of one host have their mirrors on several.
    fn mirror_type(&self) -> &'static str {
        let mirror_host = |content| {
            let mirror = self.preferring(Role::Mirror).into_iter().find(|m| m.row.content == content)?;
            Some(mirror.row.hostname.as_str())
        };
        let primaries = self.preferring(Role::Primary);
        let is_spread = primaries.iter().any(|one| {
            primaries.iter().any(|other| {
                one.row.hostname == other.row.hostname && mirror_host(one.row.content) != mirror_host(other.row.content)
            })
        });
        match (self.has_mirrors(), is_spread) {
            (false, _) => "No Mirror",
            (true, true) => "Spread",
            (true, false) => "Group",
        }
    }

    fn host_answers(&self, segment: &Segment) -> bool {
        self.state.host(&segment.row.hostname).is_none_or(|h| h.alive)
    }

    /// How a segment is, in the words of `-s` and `-e`, and whether that needs a look.
    fn status(&self, segment: &Segment) -> (&'static str, bool) {
        match segment.row.status {
            Status::Down => ("Down in configuration", true),
            Status::Up if segment.alive.alive => ("Up", false),
            Status::Up if !self.host_answers(segment) => ("Unknown -- unable to load segment status", true),
            Status::Up => ("Process error -- database process may be down", true),
        }
    }

    /// A content that no member can serve makes the whole database unavailable.
    fn is_probably_unavailable(&self) -> bool {
        self.state.contents.iter().any(super::is_lost)
    }

    fn warn_when_unavailable(&self, page: &mut Page) {
        if self.is_probably_unavailable() {
            page.boxed(&[
                "DATABASE IS PROBABLY UNAVAILABLE",
                "Review Instance Status in log file or screen output for more information",
            ]);
        }
    }

    /// What is tracked for the mirror, as a size.
    fn tracked(&self, content: Content) -> String {
        match self.content(content).and_then(|c| c.to_copy_blocks) {
            Some(blocks) => figures::size(bytes(blocks)),
            None => "unable to retrieve data size".into(),
        }
    }
}

fn bytes(blocks: i64) -> i64 {
    blocks.saturating_mul(i64::try_from(BLOCK_BYTES).unwrap_or(i64::MAX))
}

/// The mode as a label.
fn label(mode: Mode) -> &'static str {
    match mode {
        Mode::Synchronized => "Synchronized",
        Mode::Resynchronizing => "Resynchronizing",
        Mode::ChangeTracking => "Change Tracking",
    }
}

/// How far a resynchronization is, each figure as it is shown.
struct Resync {
    mode: &'static str,
    progress: String,
    /// What is copied is counted in blocks of 4 KiB: they are the objects here.
    total_objects: String,
    objects_left: String,
    synced: String,
    total: String,
    ends: String,
}

impl Resync {
    fn of(view: &View, content: Content) -> Resync {
        use crate::core::report::Stage;
        let detail = view.content(content);
        let mode = if detail.is_some_and(|c| c.full_copy) { "Full" } else { "Incremental" };
        let same = |text: &str| Resync {
            mode,
            progress: text.into(),
            total_objects: text.into(),
            objects_left: text.into(),
            synced: text.into(),
            total: text.into(),
            ends: text.into(),
        };
        let Some(progress) = detail.and_then(|c| c.progress.as_ref()) else {
            return same("unable to retrieve progress");
        };
        if progress.stage == Stage::Preparation {
            // Nobody knows yet how much there is to copy.
            return same("Not Available");
        }
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let copied = signed(progress.copied_blocks.min(progress.total_blocks));
        let total = signed(progress.total_blocks);
        let is_copying = progress.stage == Stage::DataCopy;
        let left_ms = crate::cluster::estimate::left_ms(progress).filter(|_| is_copying);
        Resync {
            mode,
            progress: match is_copying {
                true => figures::percent(progress.copied_blocks, progress.total_blocks),
                false => "100%".into(),
            },
            total_objects: total.to_string(),
            objects_left: (total - copied).to_string(),
            synced: figures::size(bytes(copied)),
            total: match is_copying {
                true => figures::size(bytes(total)),
                false => "Sync complete; awaiting config change".into(),
            },
            ends: match left_ms {
                Some(left) => date_time(view.state.time_ms.saturating_add(left), view.utc_offset_s),
                None => "Not Available".into(),
            },
        }
    }
}
