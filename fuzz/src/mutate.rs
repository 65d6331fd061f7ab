//! Small random changes of inputs, for a few seconds of search where libFuzzer is not at hand.

/// A generator of mutants; the same seed gives the same ones.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A generator that depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Mutator { state: seed }
    }

    /// A number below `bound`, 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound.max(1)
    }

    /// `input` with one to four changes, with pieces of `other` among them; at most `max_len` bytes.
    pub fn mutant(&mut self, input: &[u8], other: &[u8], max_len: usize) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..1 + self.below(4) {
            self.change(&mut out, other);
        }
        out.truncate(max_len);
        out
    }

    fn change(&mut self, out: &mut Vec<u8>, other: &[u8]) {
        const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x3f];
        let at = self.below(out.len());
        let end = at + self.below((out.len() - at).min(16) + 1);
        match self.below(7) {
            0 if !out.is_empty() => out[at] ^= 1 << self.below(8),
            1 if !out.is_empty() => out[at] = EDGES[self.below(EDGES.len())],
            2 => out[at..end].fill(EDGES[self.below(EDGES.len())]),
            3 => drop(out.drain(at..end)),
            4 => {
                let copy = out[at..end].to_vec();
                out.splice(at..at, copy);
            }
            5 => {
                let from = self.below(other.len());
                let to = from + self.below((other.len() - from).min(64) + 1);
                out.splice(at..end, other[from..to].iter().copied());
            }
            _ => out.truncate(at),
        }
    }
}
