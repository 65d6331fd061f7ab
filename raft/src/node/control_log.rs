//! What the log itself says of the quorum: membership records, and the epoch of each offset.

use protocol::control::ControlRecord;

use super::{Node, StartError};
use crate::batch;
use crate::control;
use crate::effect::{Effect, Fault};
use crate::log::Log;
use crate::replica::OffsetAndEpoch;
use crate::snapshot::BOOTSTRAP_ID;
use crate::voters::BOOTSTRAP_OFFSET;

/// The log and the head of a snapshot are read in pieces of this size.
const READ_BYTES: usize = 1024 * 1024;

impl<L: Log> Node<L> {
    /// Brings log and newest snapshot together and reads all membership records.
    pub(super) fn recover_log(&mut self) -> Result<(), StartError> {
        let latest = self.latest_snapshot();
        let log_start_offset = self.log.log_start_offset();
        if log_start_offset > 0 && latest.is_none_or(|id| id.offset < log_start_offset) {
            return Err(StartError::NoSnapshot { log_start_offset });
        }
        if let Some(latest) = latest {
            if latest.offset > self.log.log_end_offset() {
                self.log.delete_before(latest).map_err(Fault::from)?;
            }
            self.read_snapshot_membership(latest)?;
            self.load_snapshot(latest);
        }
        self.read_log_membership()?;
        Ok(())
    }

    /// The state machine starts from this snapshot; what it contains is committed.
    pub(super) fn load_snapshot(&mut self, id: OffsetAndEpoch) {
        if id != BOOTSTRAP_ID {
            self.effects.push(Effect::LoadSnapshot(id));
            self.raise_high_watermark(id.offset);
        }
    }

    /// Level and voters as a snapshot's first batch tells them.
    pub(super) fn read_snapshot_membership(&mut self, id: OffsetAndEpoch) -> Result<(), Fault> {
        let offset = if id == BOOTSTRAP_ID { BOOTSTRAP_OFFSET } else { id.offset - 1 };
        let Some(chunk) = self.log.read_snapshot(id, 0, READ_BYTES)? else { return Ok(()) };
        let Some(first) = batch::batches(&chunk.bytes).next() else { return Ok(()) };
        let first = first?;
        if first.is_control() {
            for (_, record) in control::decode_batch(&first)? {
                self.follow_control(offset, &record);
            }
        }
        Ok(())
    }

    fn read_log_membership(&mut self) -> Result<(), Fault> {
        let mut offset = self.log.log_start_offset();
        while offset < self.log.log_end_offset() {
            let bytes = self.log.read(offset, READ_BYTES)?;
            let next = self.follow_records(&bytes)?;
            // A log that ends before its end is no log: stop rather than spin.
            let next = next.filter(|next| *next > offset);
            offset = next.ok_or(batch::BatchError::Gap { expected: offset, found: offset })?;
        }
        Ok(())
    }

    /// Follows the membership records in whole batches; gives the offset after them, `None` if there are none.
    pub(super) fn follow_records(&mut self, bytes: &[u8]) -> Result<Option<i64>, Fault> {
        let mut next = None;
        for batch in batch::batches(bytes) {
            let batch = batch?;
            next = Some(batch.next_offset());
            if batch.is_control() {
                for (offset, record) in control::decode_batch(&batch)? {
                    self.follow_control(offset, &record);
                }
            }
        }
        Ok(next)
    }

    pub(super) fn follow_control(&mut self, offset: i64, record: &ControlRecord) {
        match record {
            ControlRecord::KRaftVersion(record) => {
                self.history.add_kraft_version(offset, record.kraft_version)
            }
            ControlRecord::KRaftVoters(record) => self.history.add_voters(offset, control::voter_set(record)),
            ControlRecord::LeaderChange(_)
            | ControlRecord::SnapshotHeader(_)
            | ControlRecord::SnapshotFooter(_)
            | ControlRecord::Abort(_)
            | ControlRecord::Commit(_)
            | ControlRecord::Unknown(_) => {}
        }
    }

    /// Epoch of the record at `offset`, or of the snapshot that holds it.
    pub(super) fn epoch_at(&self, offset: i64) -> i32 {
        let mut epoch = self.log.last_epoch();
        while let Some(candidate) = epoch {
            let before = self.log.end_offset_for_epoch(candidate - 1);
            if before.is_none_or(|before| before.offset <= offset) && offset >= self.log.log_start_offset() {
                return candidate;
            }
            epoch = before.map(|before| before.epoch);
        }
        let snapshots = self.log.snapshots();
        snapshots.iter().map(|snapshot| snapshot.id).find(|id| id.offset > offset).map_or(0, |id| id.epoch)
    }
}
