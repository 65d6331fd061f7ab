//! FetchSnapshot, both sides (KIP-630), and the cleaning of the log.

use bytes::Bytes;

use super::Node;
use super::role::Role;
use crate::effect::Fault;
use crate::log::Log;
use crate::message::{FetchSnapshotRequest, FetchSnapshotResponse};
use crate::replica::OffsetAndEpoch;
use crate::snapshot::{self, BOOTSTRAP_ID};
use protocol::ErrorCode;

impl<L: Log> Node<L> {
    pub(super) fn handle_fetch_snapshot(
        &mut self,
        listener: &str,
        request: &FetchSnapshotRequest,
    ) -> Result<FetchSnapshotResponse, Fault> {
        let id = request.snapshot_id;
        let refuse = |node: &Self, top_level_error, error| FetchSnapshotResponse {
            top_level_error,
            error,
            leader: node.current_leader(listener),
            snapshot_id: id,
            size: 0,
            position: request.position,
            bytes: Bytes::new(),
        };
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            return Ok(refuse(self, ErrorCode::INCONSISTENT_CLUSTER_ID, ErrorCode::NONE));
        }
        if let Err(error) = self.leader_only(request.current_leader_epoch) {
            return Ok(refuse(self, ErrorCode::NONE, error));
        }
        let max_bytes = (request.max_bytes.max(0) as usize).min(self.config.fetch_max_bytes);
        let Ok(position) = u64::try_from(request.position) else {
            return Ok(refuse(self, ErrorCode::NONE, ErrorCode::POSITION_OUT_OF_RANGE));
        };
        let chunk = match id {
            BOOTSTRAP_ID => None,
            id => self.log.read_snapshot(id, position, max_bytes)?,
        };
        let Some(chunk) = chunk else {
            return Ok(refuse(self, ErrorCode::NONE, ErrorCode::SNAPSHOT_NOT_FOUND));
        };
        if position >= chunk.total_size {
            return Ok(refuse(self, ErrorCode::NONE, ErrorCode::POSITION_OUT_OF_RANGE));
        }
        self.note_fetch(request.replica, None)?;
        let mut response = refuse(self, ErrorCode::NONE, ErrorCode::NONE);
        response.size = chunk.total_size as i64;
        response.bytes = chunk.bytes;
        Ok(response)
    }

    pub(super) fn handle_fetch_snapshot_response(
        &mut self,
        id: OffsetAndEpoch,
        position: u64,
        response: &FetchSnapshotResponse,
    ) -> Result<bool, Fault> {
        if response.top_level_error != ErrorCode::NONE {
            return Ok(false);
        }
        if let Some(done) = self.handle_common(response.error, &response.leader) {
            return Ok(done);
        }
        let deadline = self.now_ms + self.config.fetch_timeout_ms;
        let Role::Follower(follower) = &mut self.role else { return Ok(false) };
        let Some(download) = follower.download.as_mut().filter(|download| download.id == id) else {
            return Ok(true);
        };
        if response.error != ErrorCode::NONE {
            // The leader has dropped it meanwhile: Fetch tells which to take instead.
            follower.download = None;
            return Ok(false);
        }
        let fits = response.snapshot_id == id
            && u64::try_from(response.position) == Ok(position)
            && download.position == position
            && !response.bytes.is_empty();
        let complete = u64::try_from(response.size)
            .is_ok_and(|size| position.saturating_add(response.bytes.len() as u64) >= size);
        // Damaged on the way or on the leader's disk: what there is of it is no snapshot.
        let good = fits && download.check.take(&response.bytes) && (!complete || download.check.is_whole());
        if !good {
            follower.download = None;
            return Ok(false);
        }
        download.position += response.bytes.len() as u64;
        if complete {
            follower.download = None;
        }
        follower.fetch_deadline = deadline;
        self.log.append_snapshot(id, position, &response.bytes)?;
        if complete {
            self.log.install_snapshot(id)?;
            self.history.clear();
            self.read_snapshot_membership(id)?;
            self.load_snapshot(id);
        }
        Ok(true)
    }

    /// Drops the oldest snapshots, and the log before the next one, while they exceed what is to be retained.
    pub(super) fn clean_log(&mut self) -> Result<(), Fault> {
        loop {
            let snapshots = self.log.snapshots();
            let limits = (self.config.retention_bytes, self.config.retention_ms);
            match snapshot::next_start(&snapshots, self.log.size(), limits.0, limits.1, self.now_ms) {
                Some(id) if id.offset <= self.high_watermark.unwrap_or(0) => {
                    self.log.delete_before(id)?;
                    self.history.trim_before(id.offset - 1);
                    if self.log.snapshots().len() >= snapshots.len() {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }
}
