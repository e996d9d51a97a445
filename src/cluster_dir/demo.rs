//! A demo: a temporary cluster that is gone with the process that made it, however that ends.

use super::address::random_hex;
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::init::{InitCatalog, InitOptions, InitSegment, init};
use super::teardown::tear_down;
use crate::hosts::{Launch, Lifeline};
use std::path::Path;
use std::time::Duration;

const KEEPER_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a demo may take.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A temporary cluster. Dropping it, or the death of this process, ends the cluster.
#[derive(Debug)]
pub struct Demo {
    handle: ClusterHandle,
    keeper: Lifeline,
}

impl Demo {
    /// Makes a cluster of 4 contents on 2 hosts in the temporary directory, and its keeper. It is
    /// not started yet. Blocks.
    pub fn create(
        program: &Path,
        options: InitOptions,
        init_segment: InitSegment<'_>,
        init_catalog: InitCatalog<'_>,
    ) -> Result<Demo, ClusterDirError> {
        let unique = random_hex::<6>().map_err(system("draw a name"))?;
        let dir = std::env::temp_dir().join(format!("segsh-demo-{unique}"));
        let options = InitOptions {
            name: Some(options.name.unwrap_or_else(|| "demo".into())),
            drill: true,
            demo: true,
            ..options
        };
        let handle = init(&dir, &options, init_segment, init_catalog)?;
        // The keeper comes before any process that it would have to end.
        let keeper = Launch {
            program: program.into(),
            args: vec!["demo-keeper".into(), "--dir".into(), handle.dir().into()],
            log: handle.log_file("keeper"),
            within: KEEPER_WITHIN,
        };
        match keeper.start_with_lifeline() {
            Ok(keeper) => Ok(Demo { handle, keeper }),
            Err(cause) => {
                let log = handle.log_file("keeper");
                tear_down(handle.dir(), &handle.config().socket_dir)?;
                Err(ClusterDirError::DidNotStart { what: "the demo's keeper".into(), cause, log })
            }
        }
    }

    /// The cluster.
    pub fn handle(&self) -> &ClusterHandle {
        &self.handle
    }

    /// The keeper's process id.
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// Ends the cluster, and returns when it is gone. Blocks.
    pub fn end(self) -> Result<(), ClusterDirError> {
        let Demo { handle, keeper } = self;
        let pid = keeper.pid();
        if !keeper.end(END_WITHIN) {
            return Err(ClusterDirError::Hung {
                what: "the demo's keeper".into(),
                pid,
                cause: format!("see {}", handle.log_dir().display()),
            });
        }
        if handle.dir().exists() {
            // The keeper was killed, or gave up: here its work can at least say why.
            return tear_down(handle.dir(), &handle.config().socket_dir);
        }
        Ok(())
    }
}
