//! Random numbers from a seed that a failing test prints, so that the same choices can be had again.

/// A small generator (SplitMix64): good enough to choose moments and sizes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// `MINIKAFKA_SEED`, or a seed of the moment; prints it either way.
    pub fn from_env(test: &str) -> Random {
        let given = std::env::var("MINIKAFKA_SEED").ok().and_then(|s| s.parse().ok());
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| now().map_or(1, |d| d.as_nanos() as u64));
        println!("{test}: MINIKAFKA_SEED={seed}");
        Random(seed)
    }

    /// A generator with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The generator of one of many rounds, whose choices have nothing to do with those of the others.
    pub fn of_round(seed: u64, round: u64) -> Random {
        // Two steps between neighbours: what is added at each step would make one round the next one's rest.
        Random::new(Random::new(seed).number() ^ Random::new(round).number())
    }

    /// A generator of its own for a part of the test.
    pub fn fork(&mut self) -> Random {
        Random(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.number() % (to - from)
    }
}
