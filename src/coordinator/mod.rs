//! The coordinator process: the catalog, the fault tolerance service, the operations, the endpoint.

pub mod store;
