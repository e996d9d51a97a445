//! Which durable records change while a mirror becomes one that may be promoted.

use super::{Side, order, resynchronize, serve_alone};
use crate::core::pair::binding::Binding;
use crate::core::report::Phase;
use crate::core::row::Mode;
use crate::core::track::FileId;
use crate::engine::storage::Storage;
use crate::engine::{MAP, META, load_map, load_meta};
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

/// Nothing but the record says when the map of a copy in sync became empty: no map is written while commits
/// wait for the claim, and the one that stands counts again as soon as it is written beside the new record.
#[test]
fn a_mirror_becomes_one_that_may_be_promoted_by_its_record_alone() {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &[7; 40_960]);
    a.commit();
    let watches = [&a, &b].map(|side| Watch::on(side.dir.path()));
    resynchronize(&a, &b, 3, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    let [ours, theirs] = watches.map(|watch| watch.renamed());
    // The kernel tells neighbours of one name as one.
    assert_eq!(theirs, [META], "the epoch, inconsistent, consistent");
    assert_eq!(ours, [META, MAP, META], "the epoch, the union, in sync");
    for side in [&a, &b] {
        let (meta, stored) = (load_meta(side.dir.path()).expect("meta"), load_map(side.dir.path()).expect("a map"));
        assert!(stored.written_in < meta.generation, "{stored:?}");
        let map = meta.map_in_force(stored);
        assert_eq!((map.binding, map.dirty.count()), (Binding::to(meta.peer.expect("in sync")), 0));
    }
    // What is written from now on is found again by the next process.
    let b = Side::start(b.die(), 3);
    a.until("suspended", |r| r.phase == Phase::Suspended);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    a.write(FileId::Main, 0, &[8; 4096]);
    a.engine.sync(FileId::Main).expect("synced, and the map");
    let map = load_meta(a.dir.path()).expect("meta").map_in_force(load_map(a.dir.path()).expect("a map"));
    assert!(map.dirty.is_dirty(FileId::Main, 0));
}
