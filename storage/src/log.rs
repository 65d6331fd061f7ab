//! The log of one partition replica: a row of segments, of which only the last is written.
//!
//!   log start                 high watermark        log end
//!      │  000.log  │  420.log  │      │  900.log (active)  │
//!      └──────── consumers read ──────┘── followers read ──┘
//!
//! Invariants: base offsets increase; log start <= high watermark <= log end; what a read returns was appended here
//! or passed a check.
//! IO: blocking; nothing is synced by an append, as in Kafka.
//! Errors: after a failed write the file is cut back to its last good end; after a failed sync the log is closed to
//! writes until it is opened again, since the page cache may have dropped what we believe is written.

mod api;
mod append;
mod clean;
mod epochs;
mod error;
mod flush;
mod inventory;
mod open;
mod producers;
mod read;
mod recovery;
mod trim;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use api::{
    AppendArgs, AppendInfo, AppendOrigin, DoomedFiles, LogSlice, OffsetPosition, OpenArgs, Quarantined,
    RecoveryReport, TimestampOffset,
};
#[cfg(test)]
pub(crate) use clean::rename_all;
pub use error::{AppendError, OpenError, ReadError, StorageError};
pub use flush::FlushJob;

use crate::config::LogConfig;
use crate::segment::Segment;

/// One replica's log.
#[derive(Debug)]
pub struct Log {
    dir: Arc<Path>,
    config: LogConfig,
    /// By base offset; never empty, the last one is the active one.
    segments: Vec<Segment>,
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    /// Everything below is synced.
    recovery_point: i64,
    epochs: epochs::Epochs,
    producers: producers::Producers,
    /// Why there are no more appends: a sync failed.
    poisoned: Option<String>,
    /// Counts files that were created or replaced in the folder, and how many of them are durable.
    dir_changes: u64,
    dir_synced: u64,
    /// The folder itself was created.
    unsynced_parent: bool,
    /// Counts truncations.
    generation: u64,
    /// Below it the log was compacted.
    clean_offset: i64,
    /// Base offset of the cleaned segment that is being swapped in.
    swapping: Option<i64>,
    /// A read opened a sealed segment since [`Log::release_sealed`].
    opened_sealed: AtomicBool,
}

impl Log {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they count from the next operation on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.producers.states.set_expiration_ms(config.producer_id_expiration_ms);
        self.config = config;
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// Base offset of the first segment: where the log starts by its files alone.
    pub fn first_segment_base_offset(&self) -> i64 {
        self.segments[0].base_offset()
    }

    /// Base offset of the segment that is written.
    pub fn active_segment_base_offset(&self) -> i64 {
        self.segments[self.segments.len() - 1].base_offset()
    }

    /// Next offset to be appended.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Offset below which everything is replicated, as last set.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Sets the high watermark, clamped into the log; returns it. The broker owns the rule, the log needs it for
    /// retention and the last stable offset.
    pub fn set_high_watermark(&mut self, offset: i64) -> i64 {
        self.high_watermark = offset.clamp(self.log_start_offset, self.log_end_offset);
        self.producers.states.on_high_watermark(self.high_watermark);
        self.high_watermark
    }

    /// The bound of read_committed: the first unstable offset or the high watermark, whichever is lower.
    pub fn last_stable_offset(&self) -> i64 {
        self.first_unstable_offset().map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Everything below it is synced.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Bytes of all `.log` files.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment from open to close")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment from open to close")
    }
}
