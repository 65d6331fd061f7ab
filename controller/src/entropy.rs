//! Random numbers as an argument: seeded once by the caller, so that a decision can be repeated.

use uuid::Uuid;

/// A xoshiro256++ generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Entropy {
    state: [u64; 4],
}

impl Entropy {
    /// A generator from 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            let mut word_bytes = [0; 8];
            word_bytes.copy_from_slice(bytes);
            *word = u64::from_le_bytes(word_bytes);
        }
        // All zeros is the one state from which xoshiro never leaves.
        state[0] |= 1;
        Self { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next_u64() % bound as u64) as usize }
    }

    /// A random id as Kafka makes them: version 4, not reserved, and no `-` first in its base64 form.
    pub fn id(&mut self) -> Uuid {
        loop {
            let id = uuid::Builder::from_random_bytes(
                (u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())).to_be_bytes(),
            )
            .into_uuid();
            // The first base64 character stands for the upper six bits, and `-` for 62.
            if id.as_bytes()[0] >> 2 != 62 {
                return id;
            }
        }
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}
