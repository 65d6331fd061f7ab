//! Requests that ask for much work: one at a time, and not on the threads that serve the others.
//!
//! What a request may ask for is bounded by its bytes, so a large one is taken for a heavy one, whatever it asks.
//! Records are no work of this kind: Produce is let through. A few rare requests get long answers to few bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use net::MemoryBudget;
use protocol::versions::ApiKey;
use tokio::runtime::{Handle, RuntimeFlavor};

/// From so many bytes on a request is heavy: some thousand partitions.
const HEAVY_BYTES: usize = 128 * 1024;

/// Requests whose answers are long however small they are; clients send them now and then.
const LONG_ANSWERS: &[i16] = &[
    ApiKey::DESCRIBE_GROUPS,
    ApiKey::LIST_GROUPS,
    ApiKey::DESCRIBE_CONFIGS,
    ApiKey::DESCRIBE_LOG_DIRS,
    ApiKey::DESCRIBE_PRODUCERS,
];

/// The place for one heavy request.
pub(crate) struct Heavy {
    is_taken: AtomicBool,
    /// Whose line those stand in who come meanwhile.
    memory: Arc<MemoryBudget>,
}

impl Heavy {
    pub(crate) fn new(memory: Arc<MemoryBudget>) -> Self {
        Self { is_taken: AtomicBool::new(false), memory }
    }

    /// Whether this frame is to be handled by [`Heavy::run`].
    pub(crate) fn is_meant(frame: &[u8]) -> bool {
        let Some(key) = frame.first_chunk::<2>().map(|key| i16::from_be_bytes(*key)) else { return false };
        match key {
            ApiKey::PRODUCE => false,
            _ => frame.len() >= HEAVY_BYTES || LONG_ANSWERS.contains(&key),
        }
    }

    /// Calls `f` away from the other connections; `None` if another one is being handled.
    pub(crate) fn run<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        if self.is_taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let _turn = Turn(self);
        let threads = Handle::try_current().map(|handle| handle.runtime_flavor());
        Some(match threads {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(f),
            _ => f(),
        })
    }
}

struct Turn<'a>(&'a Heavy);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
        self.0.memory.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let heavy = Heavy::new(MemoryBudget::new(1000));
        let inner = heavy.run(|| heavy.run(|| ()).is_some());
        assert_eq!(inner, Some(false));
        assert_eq!(heavy.run(|| 7), Some(7));
        assert!(Heavy::is_meant(&[1; HEAVY_BYTES]));
        assert!(!Heavy::is_meant(&[0; HEAVY_BYTES]), "Produce has key 0");
        assert!(Heavy::is_meant(&[0, 32, 0, 4]) && !Heavy::is_meant(&[0, 1, 0, 4]) && !Heavy::is_meant(&[0]));
    }
}
