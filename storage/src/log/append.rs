//! Appending, as leader and as follower.

use protocol::batch::{self, BatchHeader, TimestampType};

use super::Log;
use super::api::{AppendArgs, AppendInfo};
use super::error::{AppendError, StorageError};
use crate::producer_state::{BatchMetadata, Prepared, ProducerArgs};
use crate::scan::has_offsets;

/// The batches of one append, summed up.
#[derive(Debug, Clone, Copy)]
struct Summary {
    first_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    log_append_time: i64,
    /// Bytes of whole batches.
    bytes: usize,
}

impl Summary {
    fn add(summary: Option<Summary>, header: &BatchHeader) -> Summary {
        let log_append_time = match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => -1,
        };
        Summary {
            first_offset: summary.map_or(header.base_offset, |s| s.first_offset),
            last_offset: header.last_offset(),
            max_timestamp: summary.map_or(-1, |s| s.max_timestamp).max(header.max_timestamp),
            log_append_time,
            bytes: summary.map_or(0, |s| s.bytes) + header.size(),
        }
    }
}

impl Log {
    /// Appends whole batches that [`crate::validate`] has accepted, giving them offsets and the leader epoch in place.
    ///
    /// Nothing is synced. On an error nothing was appended. A batch whose producer sent it before is not appended
    /// again: the answer has `duplicate` set and the offsets of the first time.
    pub fn append_as_leader(
        &mut self,
        records: &mut [u8],
        args: AppendArgs,
    ) -> Result<AppendInfo, AppendError> {
        self.check_writable()?;
        let mut next_offset = self.log_end_offset;
        let mut summary = None;
        let mut at = 0;
        while at < records.len() {
            let batch = &mut records[at..];
            let mut header = BatchHeader::parse(batch).map_err(|e| AppendError::Malformed(e.to_string()))?;
            header.base_offset = next_offset;
            if header.size() > batch.len() || !has_offsets(&header) {
                return Err(AppendError::Malformed("cut off or without an offset".into()));
            }
            batch::patch_base_offset(batch, next_offset);
            batch::patch_leader_epoch(batch, args.leader_epoch);
            next_offset = header.next_offset();
            summary = Some(Summary::add(summary, &header));
            at += header.size();
        }
        let summary = summary.ok_or_else(|| AppendError::Malformed("no batch".into()))?;
        let checked =
            self.producers.states.prepare(records, ProducerArgs { origin: args.origin, guard: None })?;
        let update = match checked {
            Prepared::Update(update) => update,
            Prepared::Duplicate(batch) => return Ok(self.duplicate(batch)),
        };
        self.check_size(summary)?;
        self.assign_leader_epoch(args.leader_epoch, summary.first_offset)?;
        let info = self.write(records, summary, args.now_ms)?;
        self.commit_producers(update, self.log_end_offset)?;
        Ok(info)
    }

    /// The answer to a batch that was sent before. Kafka gives its timestamp for an append time here, whatever the
    /// log's timestamps are.
    fn duplicate(&self, batch: BatchMetadata) -> AppendInfo {
        AppendInfo {
            first_offset: batch.first_offset(),
            last_offset: batch.last_offset,
            max_timestamp: batch.timestamp,
            log_append_time: batch.timestamp,
            log_start_offset: self.log_start_offset,
            duplicate: true,
            rolled_at: None,
            bytes: 0,
        }
    }

    /// Appends whole batches as they are: those of a leader, or of a metadata log whose offsets are given.
    ///
    /// Checks CRCs and that offsets increase from the log end on; a batch cut off at the end is left out. The first
    /// offset may be above the log end where the leader's log has a gap. On an error a part may have been appended
    /// if the batches did not fit into one segment.
    pub fn append_as_follower(&mut self, records: &[u8], now_ms: i64) -> Result<AppendInfo, AppendError> {
        self.check_writable()?;
        let mut expected = self.log_end_offset;
        let mut latest_epoch = self.latest_epoch().unwrap_or(-1);
        let mut whole: Option<Summary> = None;
        let mut part: Option<Summary> = None;
        let mut part_start = 0;
        // Checked as a whole first, so that nothing is appended if anything is wrong.
        for batch in batch::batches(records) {
            let batch = batch.map_err(|e| AppendError::Malformed(e.to_string()))?;
            batch::verify_crc(batch.bytes).map_err(|e| AppendError::Malformed(e.to_string()))?;
            let header = batch.header().map_err(|e| AppendError::Malformed(e.to_string()))?;
            if header.base_offset < expected || !has_offsets(&header) {
                return Err(AppendError::OffsetOrder { expected, found: header.base_offset });
            }
            expected = header.next_offset();
            whole = Some(Summary::add(whole, &header));
        }
        let Some(whole) = whole else { return Err(AppendError::Malformed("no whole batch".into())) };
        let mut rolled_at = None;
        let mut last = None;
        for batch in batch::batches(&records[..whole.bytes]).flatten() {
            let Ok(header) = batch.header() else { continue };
            let grown = Summary::add(part, &header);
            if let Some(full) = part
                && self.must_split(&full, &grown)
            {
                let info = self.write_follower(&records[part_start..batch.position], full, now_ms)?;
                rolled_at = rolled_at.or(info.rolled_at);
                part_start = batch.position;
                part = None;
            }
            if header.partition_leader_epoch > latest_epoch {
                latest_epoch = header.partition_leader_epoch;
                self.assign_leader_epoch(latest_epoch, header.base_offset)?;
            }
            part = Some(Summary::add(part, &header));
        }
        if let Some(rest) = part {
            last = Some(self.write_follower(&records[part_start..whole.bytes], rest, now_ms)?);
        }
        let last = last.ok_or_else(|| AppendError::Malformed("no whole batch".into()))?;
        Ok(AppendInfo {
            first_offset: whole.first_offset,
            max_timestamp: whole.max_timestamp,
            rolled_at: rolled_at.or(last.rolled_at),
            bytes: whole.bytes,
            ..last
        })
    }

    /// More than a segment takes, or more offsets than an index can name.
    fn must_split(&self, part: &Summary, grown: &Summary) -> bool {
        grown.bytes > self.config.segment_bytes as usize
            || grown.last_offset - part.first_offset > i64::from(i32::MAX)
    }

    fn write_follower(
        &mut self,
        records: &[u8],
        summary: Summary,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.check_size(summary)?;
        let info = self.write(records, summary, now_ms)?;
        self.follow_producers(records, self.log_end_offset)?;
        Ok(info)
    }

    fn check_size(&self, summary: Summary) -> Result<(), AppendError> {
        let limit = self.config.segment_bytes;
        match summary.bytes > limit as usize {
            true => Err(AppendError::TooLarge { size: summary.bytes, limit }),
            false => Ok(()),
        }
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        match &self.poisoned {
            Some(reason) => Err(AppendError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Rolls if needed and writes; the log ends after the batches then.
    fn write(&mut self, records: &[u8], summary: Summary, now_ms: i64) -> Result<AppendInfo, StorageError> {
        let mut rolled_at = None;
        if self.must_roll(records.len(), summary, now_ms)? {
            self.roll_at(summary.first_offset, now_ms)?;
            rolled_at = Some(summary.first_offset);
        }
        let Log { segments, config, .. } = self;
        let active = segments.last_mut().expect("a log has a segment from open to close");
        active.append(config, records, summary.max_timestamp)?;
        self.log_end_offset = summary.last_offset + 1;
        Ok(AppendInfo {
            first_offset: summary.first_offset,
            last_offset: summary.last_offset,
            max_timestamp: summary.max_timestamp,
            log_append_time: summary.log_append_time,
            log_start_offset: self.log_start_offset,
            duplicate: false,
            rolled_at,
            bytes: records.len(),
        })
    }

    fn must_roll(&mut self, bytes: usize, summary: Summary, now_ms: i64) -> Result<bool, StorageError> {
        let Log { segments, config, .. } = self;
        let active = segments.last_mut().expect("a log has a segment from open to close");
        active.should_roll(config, bytes, summary.last_offset, summary.max_timestamp, now_ms)
    }
}
