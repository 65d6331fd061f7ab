//! The leader's side of Fetch: checks, divergence, snapshots instead of records, waiting.

use bytes::Bytes;

use super::Node;
use super::role::Role;
use crate::effect::{Effect, Fault};
use crate::log::Log;
use crate::message::{FetchRequest, FetchResponse, Response};
use crate::replica::OffsetAndEpoch;
use crate::snapshot::BOOTSTRAP_ID;
use protocol::ErrorCode;

/// A Fetch that found nothing new.
#[derive(Debug)]
pub(super) struct WaitingFetch {
    id: u64,
    listener: String,
    request: FetchRequest,
    pub(super) deadline: i64,
}

/// Where a replica stands against this log.
enum Position {
    Valid,
    Diverging(OffsetAndEpoch),
    NeedsSnapshot(OffsetAndEpoch),
}

impl<L: Log> Node<L> {
    pub(super) fn handle_fetch(
        &mut self,
        id: u64,
        listener: String,
        request: FetchRequest,
    ) -> Result<(), Fault> {
        let waited = request.max_wait_ms <= 0;
        match self.try_fetch(&listener, &request, waited)? {
            Some(response) => self.effects.push(Effect::Reply { id, response: Response::Fetch(response) }),
            None => {
                let deadline = self.now_ms + i64::from(request.max_wait_ms);
                if let Role::Leader(leader) = &mut self.role {
                    leader.waiting.push(WaitingFetch { id, listener, request, deadline });
                }
            }
        }
        Ok(())
    }

    /// The answer, or `None` when there is nothing to say yet and the request may wait.
    fn try_fetch(
        &mut self,
        listener: &str,
        request: &FetchRequest,
        waited: bool,
    ) -> Result<Option<FetchResponse>, Fault> {
        if self.is_other_cluster(request.cluster_id.as_deref()) {
            let mut response = self.empty_fetch_response(listener, ErrorCode::NONE);
            response.top_level_error = ErrorCode::INCONSISTENT_CLUSTER_ID;
            return Ok(Some(response));
        }
        let epoch = request.current_leader_epoch;
        let malformed = request.fetch_offset < 0
            || request.last_fetched_epoch < 0
            || epoch < 0
            || request.last_fetched_epoch > epoch;
        let refusal = if malformed { Err(ErrorCode::INVALID_REQUEST) } else { self.leader_only(epoch) };
        if let Err(error) = refusal {
            return Ok(Some(self.empty_fetch_response(listener, error)));
        }
        match self.position(request.fetch_offset, request.last_fetched_epoch) {
            Position::Valid => {}
            Position::Diverging(at) => {
                self.note_fetch(request.replica, None)?;
                let mut response = self.empty_fetch_response(listener, ErrorCode::NONE);
                response.diverging_epoch = Some(at);
                return Ok(Some(response));
            }
            Position::NeedsSnapshot(id) => {
                self.note_fetch(request.replica, None)?;
                let mut response = self.empty_fetch_response(listener, ErrorCode::NONE);
                response.snapshot_id = Some(id);
                return Ok(Some(response));
            }
        }
        self.note_fetch(request.replica, Some(request))?;
        if let Err(error) = self.leader_only(epoch) {
            // The fetch committed this leader's removal.
            return Ok(Some(self.empty_fetch_response(listener, error)));
        }
        let max_bytes = (request.max_bytes.max(0) as usize).min(self.config.fetch_max_bytes);
        let records = self.log.read(request.fetch_offset, max_bytes)?;
        let mut response = self.empty_fetch_response(listener, ErrorCode::NONE);
        let has_watermark_news =
            request.high_watermark != i64::MAX && response.high_watermark > request.high_watermark;
        if records.is_empty() && !has_watermark_news && !waited {
            return Ok(None);
        }
        response.records = records;
        Ok(Some(response))
    }

    /// Compares a replica's end with this log (KIP-595, KIP-630).
    fn position(&self, offset: i64, epoch: i32) -> Position {
        let log_start = self.log.log_start_offset();
        let snapshots = self.log.snapshots();
        let latest = snapshots.last().map(|snapshot| snapshot.id).filter(|id| *id != BOOTSTRAP_ID);
        if let Some(latest) = latest
            && offset == 0
        {
            return Position::NeedsSnapshot(latest);
        }
        if log_start == 0 && offset == 0 {
            return Position::Valid;
        }
        let earliest = snapshots.first().map(|snapshot| snapshot.id);
        if let (Some(earliest), Some(latest)) = (earliest, latest)
            && (offset < log_start
                || (offset == log_start && epoch != earliest.epoch)
                || epoch < earliest.epoch)
        {
            return Position::NeedsSnapshot(latest);
        }
        let end = self
            .log
            .end_offset_for_epoch(epoch)
            .or(earliest)
            .unwrap_or(OffsetAndEpoch { offset: log_start, epoch: 0 });
        if end.epoch != epoch || end.offset < offset { Position::Diverging(end) } else { Position::Valid }
    }

    /// A response without records; on an error the high watermark is not told.
    fn empty_fetch_response(&self, listener: &str, error: ErrorCode) -> FetchResponse {
        let high_watermark = match &self.role {
            Role::Leader(leader) if error == ErrorCode::NONE => leader.high_watermark.unwrap_or(-1),
            _ => -1,
        };
        FetchResponse {
            top_level_error: ErrorCode::NONE,
            error,
            leader: self.current_leader(listener),
            high_watermark,
            log_start_offset: self.log.log_start_offset(),
            diverging_epoch: None,
            snapshot_id: None,
            records: Bytes::new(),
        }
    }

    /// Answers the waiting fetches for which there is something now, and those that have waited enough.
    pub(super) fn answer_waiting(&mut self) -> Result<(), Fault> {
        let waiting = match &mut self.role {
            Role::Leader(leader) => std::mem::take(&mut leader.waiting),
            _ => return Ok(()),
        };
        for fetch in waiting {
            let waited = fetch.deadline <= self.now_ms;
            match self.try_waiting(&fetch, waited)? {
                Some(response) => {
                    self.effects.push(Effect::Reply { id: fetch.id, response: Response::Fetch(response) });
                }
                None => {
                    if let Role::Leader(leader) = &mut self.role {
                        leader.waiting.push(fetch);
                    }
                }
            }
        }
        Ok(())
    }

    /// As `try_fetch`, but the replica's progress was noted when the request came.
    fn try_waiting(&mut self, fetch: &WaitingFetch, waited: bool) -> Result<Option<FetchResponse>, Fault> {
        let request = &fetch.request;
        if let Err(error) = self.leader_only(request.current_leader_epoch) {
            return Ok(Some(self.empty_fetch_response(&fetch.listener, error)));
        }
        let mut response = self.empty_fetch_response(&fetch.listener, ErrorCode::NONE);
        let has_watermark_news =
            request.high_watermark != i64::MAX && response.high_watermark > request.high_watermark;
        if request.fetch_offset >= self.log.log_end_offset() && !has_watermark_news && !waited {
            return Ok(None);
        }
        if request.fetch_offset < self.log.log_start_offset() {
            response.snapshot_id = self.latest_snapshot();
            return Ok(Some(response));
        }
        let max_bytes = (request.max_bytes.max(0) as usize).min(self.config.fetch_max_bytes);
        response.records = self.log.read(request.fetch_offset, max_bytes)?;
        Ok(Some(response))
    }

    /// Answers everyone who waits on this leadership, as it ends.
    pub(super) fn refuse_waiting(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let waiting = std::mem::take(&mut leader.waiting);
        let change = leader.change.take();
        for fetch in waiting {
            let response = self.empty_fetch_response(&fetch.listener, ErrorCode::NOT_LEADER_OR_FOLLOWER);
            self.effects.push(Effect::Reply { id: fetch.id, response: Response::Fetch(response) });
        }
        if let Some(change) = change {
            self.fail_change(change, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
    }
}
