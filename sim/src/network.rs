//! The network of both simulations: it loses, repeats, delays and blocks messages, as the seed says.

use std::collections::BTreeSet;

use raft::rng::Rng;

/// How bad the network is; chances in a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    lost: u64,
    repeated: u64,
    max_delay_ms: u64,
    /// Pairs (from, to) between which nothing passes.
    pub(crate) blocked: BTreeSet<(i32, i32)>,
}

impl Network {
    /// Everything arrives once, after so many ms at most.
    pub(crate) fn calm(max_delay_ms: u64) -> Network {
        Network { lost: 0, repeated: 0, max_delay_ms, blocked: BTreeSet::new() }
    }

    /// Other chances from here on; the longest delay is one of these, in ms.
    pub(crate) fn roughen(&mut self, max_delays_ms: [u64; 4], rng: &mut Rng) {
        self.lost = [0, 10, 100, 300][rng.below(4) as usize];
        self.repeated = [0, 10, 200][rng.below(3) as usize];
        self.max_delay_ms = max_delays_ms[rng.below(4) as usize];
    }

    /// Blocks what goes from one of the two sides to the other; if `one_way`, only what the side of `true` sends.
    pub(crate) fn split(&mut self, sides: &[(i32, bool)], one_way: bool) {
        for (from, from_side) in sides {
            for (to, to_side) in sides {
                if from_side != to_side && (!one_way || *from_side) {
                    self.blocked.insert((*from, *to));
                }
            }
        }
    }

    /// The delays in ms after which copies of a message arrive; none when it is lost. `nodes` are its two ends, `None`
    /// when one is a client: those speak over a connection, which repeats nothing and is never blocked.
    pub(crate) fn deliveries(&self, nodes: Option<(i32, i32)>, rng: &mut Rng) -> Vec<i64> {
        let is_blocked = nodes.is_some_and(|pair| self.blocked.contains(&pair));
        if is_blocked || rng.below(1000) < self.lost {
            return Vec::new();
        }
        let is_repeated = nodes.is_some() && rng.below(1000) < self.repeated;
        let copies = 1 + usize::from(is_repeated);
        (0..copies).map(|_| 1 + rng.below(self.max_delay_ms.max(1)) as i64).collect()
    }
}
