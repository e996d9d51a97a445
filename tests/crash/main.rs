//! Crash images: what a power loss may leave behind, built at every recorded operation and opened.
//!
//! A workload runs over a storage in memory that records each operation. For a crash after each of them
//! the files are rebuilt in four [orders](order::Order), opened the production way and checked: SQLite's
//! own integrity, the page checksums, and that exactly one committed state stands, no older than the
//! last one acknowledged. The orders a disk or our link can produce must show nothing; the one that
//! neither can must, or the harness would find nothing at all.
//!
//! `SEGSH_CRASH_SEEDS` sets how many images are drawn per cut in the orders that choose at random,
//! `SEGSH_CRASH_FIRST_SEED` the first of them; `scripts/dev/soak crash_images` counts it up for ever.

mod catalog;
mod check;
mod explore;
mod faults;
mod image;
mod life;
mod mirror;
mod names;
mod order;
mod random;
mod recording;
mod records;
mod segments;
mod session;
mod system_files;
mod workloads;
