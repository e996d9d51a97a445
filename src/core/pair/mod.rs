//! One segment's part in its pair: what the acting primary does with each write and each sync, what
//! a segment makes of an order, and whether a mirror's copy fits a map.

pub mod binding;
pub mod obey;
pub mod primary;
pub mod replica;
