//! The clocks of a node: a steady one that runs too fast or too slow, and a wall clock that jumps.

/// World time and the node's own, in ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The node's steady time at world time 0.
    offset: i64,
    /// Steady milliseconds that pass in a thousand of the world.
    rate: i64,
    /// How far the wall clock is from the steady one.
    pub(super) wall_offset: i64,
}

impl Clock {
    pub(super) fn new(offset: i64, rate: i64) -> Clock {
        Clock { offset, rate, wall_offset: 0 }
    }

    /// The steady time of the node.
    pub(super) fn steady(&self, world: i64) -> i64 {
        self.offset + world * self.rate / 1000
    }

    /// The wall clock of the node.
    pub(super) fn wall(&self, world: i64) -> i64 {
        self.steady(world) + self.wall_offset
    }

    /// The first world time at which the steady clock shows at least `steady`.
    pub(super) fn world(&self, steady: i64) -> i64 {
        if steady == i64::MAX {
            return i64::MAX;
        }
        let passed = steady - self.offset;
        (passed * 1000 + self.rate - 1).div_euclid(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_world_time_for_it_comes() {
        for rate in [900, 999, 1000, 1001, 1100] {
            let clock = Clock::new(77, rate);
            for steady in 1000..1100 {
                let world = clock.world(steady);
                assert!(clock.steady(world) >= steady && clock.steady(world - 1) < steady);
            }
        }
    }
}
