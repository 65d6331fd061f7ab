//! Log compaction: of every key the last record stays, with its offset and in its place.
//!
//! A cleaning reads the dirty part of a log into a map from key to last offset, then copies the log up to the end of
//! that map without what the map supersedes, group of segments by group, and swaps each copy in:
//!
//! ```text
//!   lock    snapshot of the segments                          Log::prepare_cleaning
//!           map; then per group: 0.log.cleaned, synced        Cleaning
//!   lock    .cleaned -> .swap                                 Log::begin_swap
//!           sync of the folder
//!   lock    old files -> .deleted, .swap -> final names       Log::complete_swap
//! ```
//!
//! Invariants: after a crash a group is there either as it was or cleaned, never less; segments are swapped only if
//! they are what was read; a batch is only rewritten after its checksum was found right. Whoever still reads an old
//! file holds it open; its name goes after `file.delete.delay.ms`.
//! Source: Kafka's `LogCleaner`, `Cleaner`; KIP-534.

mod filter;
mod job;
mod offset_map;
mod select;
pub(crate) mod swap;
#[cfg(test)]
mod tests;
mod transactions;

use std::hash::RandomState;
use std::ops::DerefMut;

pub(crate) use filter::LastOfProducer;
pub(crate) use job::{CleanedGroup, CleaningJob, Source};
pub use offset_map::OffsetMap;
pub use select::{Cleanable, dirtiest};

use crate::durable;
use crate::log::{DoomedFiles, Log, StorageError};

/// How to clean.
pub struct CleanArgs<'a> {
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// `log.cleaner.dedupe.buffer.size`: bytes that the map may take.
    pub memory_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how much of the map may be in use.
    pub load_factor: f64,
    /// Keys of the hash, random.
    pub hashers: [RandomState; 2],
    /// Asked between batches; true ends the cleaning with [`CleanError::Stopped`].
    pub stop: &'a dyn Fn() -> bool,
}

/// What a cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Everything below was cleaned.
    pub end_offset: i64,
    /// Bytes of the segments that were replaced.
    pub bytes_before: u64,
    /// Bytes of those that took their place.
    pub bytes_after: u64,
}

/// Why a cleaning ended early. The log is whole in any case.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// IO error: take the directory offline, unless the disk is merely full.
    #[error(transparent)]
    Io(#[from] StorageError),
    /// Something in a segment is not as it should be; it will be no better next time.
    #[error("segment {base_offset} cannot be cleaned, at position {position}: {reason}")]
    Corrupt {
        /// The segment.
        base_offset: i64,
        /// Byte in its `.log` file.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The keys of a single batch are more than the map may hold.
    #[error("log.cleaner.dedupe.buffer.size is too small for the keys of a single batch")]
    MapTooSmall,
    /// The log was truncated, or lost segments, meanwhile: begin again.
    #[error("the log has changed meanwhile")]
    Stale,
    /// Told to.
    #[error("stopped")]
    Stopped,
}

/// Cleans a log that `lock` gives access to; it is held for short moments only. What becomes superfluous is added to
/// `doomed` in any case.
pub fn clean<G: DerefMut<Target = Log>>(
    lock: impl Fn() -> G,
    cleanable: &Cleanable,
    args: CleanArgs<'_>,
    doomed: &mut DoomedFiles,
) -> Result<Cleaned, CleanError> {
    let job = lock().prepare_cleaning(cleanable)?;
    let mut cleaning = job.start(args)?;
    let end_offset = cleaning.end_offset();
    let mut cleaned = Cleaned { end_offset, bytes_before: 0, bytes_after: 0 };
    while let Some(group) = cleaning.next_group()? {
        let begun = lock().begin_swap(&group);
        if let Err(e) = begun {
            // The error that counts is the first one; the next open removes what this does not.
            let _ = group.discard();
            return Err(e);
        }
        // Old files must not lose their names before the new ones have theirs.
        durable::sync_dir(group.dir())?;
        cleaned.bytes_before += group.bytes_before();
        cleaned.bytes_after += group.size();
        let replaced = lock().complete_swap(&group)?;
        durable::sync_dir(group.dir())?;
        doomed.log_bytes += replaced.log_bytes;
        doomed.paths.extend(replaced.paths);
    }
    lock().complete_cleaning(cleaning.job(), end_offset);
    Ok(cleaned)
}
