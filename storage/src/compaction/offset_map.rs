//! The last offset of every key in the dirty part of a log, in a bounded amount of memory.
//!
//! Open addressing over 24-byte slots: 16 bytes of hash, offset + 1 (0: the slot is free). Keys are not kept: two of
//! them with the same 128-bit hash count as one. The hash is keyed, so that nobody can make such keys.
//! Source: Kafka's `SkimpyOffsetMap`, there with MD5.

use std::hash::{BuildHasher, RandomState};

/// Bytes of a slot.
const SLOT_SIZE: usize = 24;
const HASH_SIZE: usize = 16;
/// However little memory is allowed.
const MIN_SLOTS: u64 = 1024;

/// The map.
#[derive(Debug)]
pub struct OffsetMap {
    /// Zeroed, which the system does when a page is first used.
    slots: Vec<u8>,
    max_keys: u64,
    keys: u64,
    latest_offset: i64,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// For at most `keys` keys, in at most `memory_bytes` (but 24 KiB at least) of which `load_factor` is used.
    pub fn new(memory_bytes: u64, load_factor: f64, keys: u64, hashers: [RandomState; 2]) -> Self {
        let load_factor = if load_factor > 0.0 && load_factor < 1.0 { load_factor } else { 0.9 };
        // One more than the keys, so that a search always ends.
        let wanted = (keys as f64 / load_factor) as u64 + 2;
        let allowed = (memory_bytes / SLOT_SIZE as u64).max(MIN_SLOTS);
        let slots = wanted.min(allowed);
        OffsetMap {
            slots: vec![0; slots as usize * SLOT_SIZE],
            max_keys: ((slots as f64 * load_factor) as u64).clamp(1, slots - 1),
            keys: 0,
            latest_offset: -1,
            hashers,
        }
    }

    /// Notes the offset of a key; false if there is no room, and nothing changed.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.slot_of(hash);
        if self.stored(at) == 0 {
            if self.keys >= self.max_keys {
                return false;
            }
            self.keys += 1;
            self.slots[at..at + HASH_SIZE].copy_from_slice(&hash.to_ne_bytes());
        }
        self.slots[at + HASH_SIZE..at + SLOT_SIZE].copy_from_slice(&(offset as u64 + 1).to_ne_bytes());
        true
    }

    /// The offset noted last for a key.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let stored = self.stored(self.slot_of(self.hash(key)));
        stored.checked_sub(1).map(|offset| offset as i64)
    }

    /// Number of keys.
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// No keys.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// All keys up to this offset are in the map; -1 at first.
    pub fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Says that all keys up to `offset` are in the map.
    pub fn set_latest_offset(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let [high, low] = &self.hashers;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }

    /// Where the slot with this hash begins, or the free one that it would take.
    fn slot_of(&self, hash: u128) -> usize {
        let slots = self.slots.len() / SLOT_SIZE;
        let mut slot = (hash % slots as u128) as usize;
        loop {
            let at = slot * SLOT_SIZE;
            if self.stored(at) == 0 || self.slots[at..at + HASH_SIZE] == hash.to_ne_bytes() {
                return at;
            }
            slot = (slot + 1) % slots;
        }
    }

    fn stored(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.slots[at + HASH_SIZE..at + SLOT_SIZE]);
        u64::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: u64) -> OffsetMap {
        OffsetMap::new(1 << 20, 0.9, keys, [RandomState::new(), RandomState::new()])
    }

    #[test]
    fn keeps_the_last_offset_of_each_key_until_it_is_full() {
        let mut map = map(1000);
        for offset in 0..5000_i64 {
            assert!(map.put(&(offset % 1000).to_be_bytes(), offset));
        }
        assert_eq!(map.len(), 1000);
        for key in 0..1000_i64 {
            assert_eq!(map.get(&key.to_be_bytes()), Some(4000 + key));
        }
        assert_eq!(map.get(b"other"), None);
        let room = (0..100_000_i64).take_while(|key| map.put(&(1000 + key).to_be_bytes(), 9)).count();
        assert!(room < 10, "{room}");
        assert!(map.put(&0_i64.to_be_bytes(), 7000), "a key that is there is never refused");
        assert_eq!(map.get(&0_i64.to_be_bytes()), Some(7000));
    }

    #[test]
    fn memory_is_bounded_by_what_is_allowed_and_by_what_is_needed() {
        let hashers = || [RandomState::new(), RandomState::new()];
        assert_eq!(OffsetMap::new(240_000, 0.5, u64::from(u32::MAX), hashers()).slots.len(), 240_000);
        assert!(OffsetMap::new(1 << 40, 0.9, 10, hashers()).slots.len() < 400);
        assert_eq!(OffsetMap::new(0, f64::NAN, 1 << 40, hashers()).slots.len(), 24 * 1024);
    }
}
