//! A drill: somebody holds recoveries at their stages, at any time, and lets them go again.

use crate::process::Task;
use crate::random::Random;
use crate::world::{Happens, World};
use segsh::core::report::Stage;

const STAGES: [Stage; 4] = [Stage::Preparation, Stage::DataCopy, Stage::FlatFiles, Stage::Claimed];
/// One world in so many has a drill.
const ONE_IN: u64 = 3;

/// The chances of a drill are its own: a world without one goes as it always went.
pub fn draw(seed: u64) -> Option<Random> {
    seed.is_multiple_of(ONE_IN).then(|| Random::new(!seed))
}

impl World {
    /// Whoever serves is told to hold its recoveries at a stage, or what it holds is released.
    pub fn drill(&mut self) {
        let Some(random) = &mut self.drill else { return };
        let stage = STAGES[random.below(4) as usize];
        let (holds, pause) = (random.percent(55) && !self.calm, random.between(50_000, 2_500_000));
        if !self.calm {
            self.at(pause, Happens::Drill);
        }
        for side in 0..2 {
            let now = self.now;
            let Some(process) = self.sides[side].process.as_mut().filter(|p| p.paused_until <= now) else { continue };
            // A mirror, or nobody, has nothing to hold, and says so.
            match holds {
                true => drop(process.replica.hold(stage)),
                false => process.replica.release(),
            }
            self.say(|| format!("drill: side {side} {}", if holds { stage.word() } else { "released" }));
            self.wake(side, Task::Open);
        }
    }
}
