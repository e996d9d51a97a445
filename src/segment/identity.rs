//! How a copy of a content comes into the world: with the cluster, or as a new copy for a recovery.

use crate::core::format::{Meta, TrackMap};
use crate::core::ids::{Content, CopyId, Dbid, Epoch};
use crate::core::pair::binding::Binding;
use crate::core::report::{CopyState, PeerAddress, Soundness};
use crate::core::track::{DirtyMap, FileId};
use crate::engine::{self, Connector, Engine, EngineError, RecordError};
use ring::rand::SecureRandom;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// The epoch of a pair that was just made: both copies are equal, and the row says s/s.
pub const FIRST_EPOCH: Epoch = Epoch(1);

#[derive(Debug, Error)]
pub enum CreateError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Database(#[from] super::vfs::VfsError),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the system gave no random bytes for a copy's identity")]
    Random,
}

/// Who a copy belongs to.
#[derive(Debug, Clone)]
pub struct Owner<'a> {
    pub cluster_id: &'a str,
    pub dbid: Dbid,
    pub content: Content,
    pub dir: &'a Path,
}

impl Owner<'_> {
    fn meta(&self, copy: CopyId) -> Meta {
        Meta {
            cluster_id: self.cluster_id.to_owned(),
            dbid: self.dbid,
            content: self.content,
            copy,
            generation: Epoch::default(),
            peer: None,
            epoch: Epoch::default(),
            acted: Epoch::default(),
            consistent: false,
            written_outside_checkpoint: false,
            stamps: Vec::new(),
            touched: Vec::new(),
            soundness: Soundness::Sound,
        }
    }
}

fn random_copy() -> Result<CopyId, CreateError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| CreateError::Random)?;
    Ok(CopyId(u128::from_le_bytes(bytes)))
}

/// Makes a content's data directories: an empty database and its equal, both in sync in epoch 1. The
/// directories exist.
pub fn create_content(primary: &Owner, mirror: Option<&Owner>) -> Result<(), CreateError> {
    let (ours, theirs) = (random_copy()?, random_copy()?);
    create_database(primary, ours)?;
    finish(primary, ours, mirror.map(|_| theirs))?;
    if let Some(mirror) = mirror {
        for file in FileId::ALL {
            let (from, to) = (primary.dir.join(file.name()), mirror.dir.join(file.name()));
            let io = |source| CreateError::Io { path: to.display().to_string(), source };
            std::fs::copy(&from, &to).map_err(io)?;
            std::fs::File::open(&to).and_then(|f| f.sync_all()).map_err(io)?;
        }
        finish(mirror, theirs, Some(ours))?;
    }
    Ok(())
}

/// A new copy, for a full recovery: inconsistent until it was copied to, and of no generation.
pub fn create_new_copy(owner: &Owner) -> Result<(), CreateError> {
    let made = owner.meta(random_copy()?);
    // The map first: a record without a map would be one whose map was lost.
    save_empty_map(owner.dir, made.copy_state(), made.generation)?;
    Ok(engine::save_meta(owner.dir, &made)?)
}

fn save_empty_map(dir: &Path, peer: CopyState, generation: Epoch) -> Result<(), RecordError> {
    let map = TrackMap { binding: Binding::to(peer), written_in: generation, dirty: DirtyMap::default() };
    engine::save_map(dir, &map)
}

/// A link is never asked for while a database is being made.
struct NoLink;

impl Connector for NoLink {
    fn connect(&self, _peer: &PeerAddress, _deadline: Duration) -> io::Result<TcpStream> {
        Err(io::Error::other("a database that is being made has no mirror yet"))
    }
}

/// The empty database is written through the same VFS as everything later.
fn create_database(owner: &Owner, copy: CopyId) -> Result<(), CreateError> {
    let io = |source| CreateError::Io { path: owner.dir.display().to_string(), source };
    engine::create_files(owner.dir).map_err(io)?;
    engine::save_meta(owner.dir, &Meta { consistent: true, ..owner.meta(copy) })?;
    let made = Engine::open(owner.dir, Box::new(NoLink), Box::new(|| ()))?;
    made.serve_alone_to_create()?;
    super::vfs::register(&format!("create-{}", owner.dbid), made)?;
    Ok(())
}

fn finish(owner: &Owner, copy: CopyId, peer: Option<CopyId>) -> Result<(), CreateError> {
    let peer = peer.map(|copy| CopyState { copy, generation: FIRST_EPOCH });
    let made = Meta { generation: FIRST_EPOCH, peer, epoch: FIRST_EPOCH, consistent: true, ..owner.meta(copy) };
    if let Some(peer) = peer {
        save_empty_map(owner.dir, peer, FIRST_EPOCH)?;
    }
    Ok(engine::save_meta(owner.dir, &made)?)
}
