//! I/O around the pure core: the disk, the replication links, the gate, and the actor of a segment.

pub mod storage;
