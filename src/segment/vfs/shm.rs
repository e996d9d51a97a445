//! The WAL index's memory: on the heap of this process, at addresses that never move.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Bytes of the WAL index's header, which stands there twice.
pub(super) const INDEX_HEADER: usize = 48;

/// One zeroed allocation, freed when dropped.
#[derive(Debug)]
struct Region {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a region is plain memory. SQLite reads and writes it through the pointer it was given,
// and orders those accesses itself with the WAL index's locks and barriers.
unsafe impl Send for Region {}

impl Region {
    fn zeroed(size: usize) -> Option<Region> {
        // SQLite lays 32- and 64-bit words into it.
        let layout = Layout::from_size_align(size, 8).ok()?;
        if size == 0 {
            return None;
        }
        // SAFETY: the layout's size is not zero.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Region { at, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout, and freed once.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
    }
}

/// What asking for a region gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    At(*mut u8),
    /// It does not exist, and was not to be made.
    Absent,
    OutOfMemory,
}

/// The regions of one database and how many connections map them.
#[derive(Debug, Default)]
pub(super) struct Regions {
    regions: Vec<Region>,
    mappers: usize,
}

impl Regions {
    pub(super) fn attach(&mut self) {
        self.mappers += 1;
    }

    /// The last connection to leave frees the memory: the index is rebuilt from the log.
    pub(super) fn detach(&mut self) {
        self.mappers = self.mappers.saturating_sub(1);
        if self.mappers == 0 {
            self.regions.clear();
        }
    }

    /// The index's header, as its two copies agree on it; `None` while one of them is being written, and
    /// before anybody mapped it.
    pub(super) fn header(&self) -> Option<[u8; INDEX_HEADER]> {
        let region = self.regions.first().filter(|r| r.layout.size() >= 2 * INDEX_HEADER)?;
        let copy = |n: usize| {
            let mut bytes = [0; INDEX_HEADER];
            for (i, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: both copies lie inside of the region, which lives while it is borrowed. Others may
                // write meanwhile: then the copies differ, or the header's own checksum does not hold.
                *byte = unsafe { region.at.as_ptr().add(n * INDEX_HEADER + i).read_volatile() };
            }
            bytes
        };
        let first = copy(0);
        (first == copy(1)).then_some(first)
    }

    pub(super) fn map(&mut self, index: usize, size: usize, extend: bool) -> Mapped {
        while self.regions.len() <= index {
            if !extend {
                return Mapped::Absent;
            }
            match Region::zeroed(size) {
                Some(region) => self.regions.push(region),
                None => return Mapped::OutOfMemory,
            }
        }
        Mapped::At(self.regions[index].at.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_while_others_are_added_and_goes_with_the_last_mapper() {
        let mut regions = Regions::default();
        regions.attach();
        assert_eq!(regions.map(0, 32768, false), Mapped::Absent);
        let first = regions.map(0, 32768, true);
        for i in 1..20 {
            assert!(matches!(regions.map(i, 32768, true), Mapped::At(_)));
        }
        assert_eq!(regions.map(0, 32768, false), first);
        regions.detach();
        assert_eq!(regions.map(0, 32768, false), Mapped::Absent);
    }
}
