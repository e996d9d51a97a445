//! Every decoder against what nobody meant to send: mutations of valid messages and files.
//!
//! One file a family. What holds of each is in `harness`: it never panics, it takes no more memory than
//! its stated bound, what it accepts it spells one way, and what was changed under a checksum is refused
//! in words. The test command runs a bounded number of changes from new seeds; a failure prints the
//! seed, and `BOLERO_RANDOM_SEED` replays it. `scripts/dev/soak decode` goes on for as long as it is let.

mod catalog;
mod directory;
mod harness;
mod link;
mod net;
mod postgres;
mod records;
mod samples;
mod script;
