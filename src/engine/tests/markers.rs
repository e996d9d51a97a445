//! The order in which a mirror's durable records change while it becomes one that may be promoted.

use super::{Side, resynchronize, serve_alone};
use crate::core::report::Phase;
use crate::core::track::FileId;
use crate::engine::{MAP, META};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The names under which files were put in a directory since the watch began.
struct Watch(OwnedFd);

impl Watch {
    fn on(dir: &Path) -> Watch {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("a watch");
        inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO).expect("a directory that can be watched");
        Watch(fd)
    }

    fn renamed(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut buffer);
        let mut names = Vec::new();
        // It ends with "nothing more yet": whoever asks knows that what it waits for has happened.
        while let Ok(event) = events.next() {
            names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        names
    }
}

/// A record is durable when its writer returns (`tests/crash/records.rs`), and one thread writes both, so
/// the order of the names is the order on the disk.
#[test]
fn a_mirror_s_map_is_durable_before_the_marker_that_lets_it_be_promoted() {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &[7; 40_960]);
    a.commit();
    let watch = Watch::on(b.dir.path());
    resynchronize(&a, &b, 3, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    let names = watch.renamed();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(names.ends_with(&[MAP, META]), "{names:?}");
    let before = &names[..names.len() - 2];
    assert!(before.contains(&META) && !before.contains(&MAP), "inconsistent first, and one map only: {names:?}");
}
