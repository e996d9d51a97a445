//! The utilities of Greenplum, by value: what they would say of a cluster in each condition it can be in.

mod conditions;
mod differences;
mod gprecoverseg;
mod gpstate;
mod lifecycle;
