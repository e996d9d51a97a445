//! The coordinator process: the catalog, the fault tolerance service, the operations, the endpoint.

pub mod audit;
pub mod board;
pub mod clock;
pub mod hostwatch;
pub mod operations;
pub mod prober;
pub mod site;
pub mod store;
