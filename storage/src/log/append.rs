//! Appending, as leader and as follower.

use protocol::batch::{self, BatchHeader, TimestampType};

use super::Log;
use super::api::{AppendArgs, AppendInfo, AppendOrigin};
use super::error::AppendError;

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
            if header.size() > batch.len() || header.last_offset_delta < 0 {
                return Err(AppendError::Malformed("cut off or without an offset".into()));
            }
            batch::patch_base_offset(batch, next_offset);
            batch::patch_leader_epoch(batch, args.leader_epoch);
            header.base_offset = next_offset;
            next_offset = header.next_offset();
            summary = Some(Summary::add(summary, &header));
            at += header.size();
        }
        let summary = summary.ok_or_else(|| AppendError::Malformed("no batch".into()))?;
        if let Some(duplicate) = self.check_producers(records, args.origin, args.now_ms)? {
            return Ok(duplicate);
        }
        self.assign_leader_epoch(args.leader_epoch, summary.first_offset)?;
        self.write(records, summary, args.now_ms)
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
            if header.base_offset < expected || header.last_offset_delta < 0 {
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
        self.replay_producers_of_leader(records, now_ms)?;
        self.write(records, summary, now_ms)
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        match &self.poisoned {
            Some(reason) => Err(AppendError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Rolls if needed, writes, and makes the batches part of the log.
    fn write(&mut self, records: &[u8], summary: Summary, now_ms: i64) -> Result<AppendInfo, AppendError> {
        let limit = self.config.segment_bytes;
        if records.len() > limit as usize {
            self.abandon_producers();
            return Err(AppendError::TooLarge { size: records.len(), limit });
        }
        match self.write_batches(records, summary, now_ms) {
            Ok(rolled_at) => {
                self.commit_producers(records, summary.first_offset);
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
            Err(e) => {
                self.abandon_producers();
                Err(e.into())
            }
        }
    }

    fn write_batches(
        &mut self,
        records: &[u8],
        summary: Summary,
        now_ms: i64,
    ) -> Result<Option<i64>, super::StorageError> {
        let Log { segments, config, .. } = self;
        let active = segments.last_mut().expect("a log has a segment from open to close");
        let mut rolled_at = None;
        let full =
            active.should_roll(config, records.len(), summary.last_offset, summary.max_timestamp, now_ms)?;
        if full {
            self.roll_at(summary.first_offset, now_ms)?;
            rolled_at = Some(summary.first_offset);
        }
        let Log { segments, config, .. } = self;
        let active = segments.last_mut().expect("a log has a segment from open to close");
        active.append(config, records, summary.max_timestamp)?;
        Ok(rolled_at)
    }
}
