//! Whether what an acting primary tracked explains a mirror's copy: a total function with a reason.

use crate::core::ids::{CopyId, Epoch};
use crate::core::report::CopyState;
use serde::{Deserialize, Serialize};

/// The copy of the peer that a map is bound to.
///
/// A recovery that is interrupted between the mirror's and the primary's last durable write leaves
/// the mirror one generation ahead; so the generation a recovery is about to make is noted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binding {
    pub copy: CopyId,
    pub generation: Epoch,
    pub pending_generation: Option<Epoch>,
}

impl Binding {
    pub fn to(state: CopyState) -> Binding {
        Binding { copy: state.copy, generation: state.generation, pending_generation: None }
    }

    /// Why an incremental recovery of this mirror can't be made; `Ok` when it can.
    pub fn explains(&self, mirror: CopyState) -> Result<(), String> {
        if mirror.copy != self.copy {
            return Err(format!(
                "the mirror holds copy {}, the tracked changes belong to copy {}",
                mirror.copy, self.copy
            ));
        }
        if mirror.generation != self.generation && Some(mirror.generation) != self.pending_generation {
            return Err(format!(
                "the mirror's copy was last in sync in epoch {}, the tracked changes begin at epoch {}",
                mirror.generation, self.generation
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_copy_a_map_was_made_for_is_explained() {
        let state = |copy, generation| CopyState { copy: CopyId(copy), generation: Epoch(generation) };
        let mut binding = Binding::to(state(1, 5));
        assert!(binding.explains(state(1, 5)).is_ok());
        assert!(binding.explains(state(2, 5)).is_err(), "another copy");
        assert!(binding.explains(state(1, 4)).is_err(), "an older state of the same copy");
        assert!(binding.explains(state(1, 7)).is_err());
        binding.pending_generation = Some(Epoch(7));
        assert!(binding.explains(state(1, 7)).is_ok(), "interrupted between the two last writes");
        assert!(binding.explains(state(1, 5)).is_ok());
    }
}
