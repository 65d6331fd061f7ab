//! Answers to what this node sent, and the follower's side of Fetch.

use super::Node;
use super::connections::Sent;
use super::role::{Download, Role};
use crate::batch;
use crate::effect::{Fault, Peer};
use crate::input::SendError;
use crate::log::Log;
use crate::message::{CurrentLeader, FetchResponse, Response};
use crate::replica::OffsetAndEpoch;
use protocol::ErrorCode;

/// So many lost or refused connections in a row make a leader look dead.
pub(super) const LOST_MAX: u32 = 2;
/// The first alarm waits for up to this part of the election timeout.
const ALARM_PART: i64 = 10;

impl<L: Log> Node<L> {
    pub(super) fn handle_response(
        &mut self,
        id: u64,
        result: Result<Response, SendError>,
    ) -> Result<(), Fault> {
        let Some((peer, sent)) = self.connections.finish(id) else { return Ok(()) };
        let done = match result {
            Ok(response) => self.handle_answer(peer, sent, response)?,
            Err(SendError::UnsupportedVersion) => match sent {
                Sent::Vote { pre_vote } => self.vote_unsupported(pre_vote)?,
                Sent::KRaftVersions { .. } => self.handle_versions(sent, None)?,
                Sent::UpdateVoter => self.handle_update_voter_response(None),
                _ => false,
            },
            Err(SendError::Disconnected) => {
                match sent {
                    Sent::Vote { .. } => self.voter_unreachable(peer),
                    _ => self.leader_unreachable(peer, sent),
                }
                false
            }
            Err(SendError::TimedOut) => false,
        };
        if !done {
            self.connections.back_off(peer, self.now_ms + self.config.retry_backoff_ms);
        }
        Ok(())
    }

    /// A process that ends closes its connections and accepts no more: a hint to look closer before the fetch timeout.
    /// Nothing depends on it: the others refuse the pre-vote while they hear from the leader, and each false alarm
    /// makes the next one wait longer.
    fn leader_unreachable(&mut self, peer: Peer, sent: Sent) {
        let Role::Follower(follower) = &mut self.role else { return };
        let is_fetch = matches!(sent, Sent::Fetch { .. } | Sent::FetchSnapshot { .. });
        if !is_fetch || peer != Peer::Node(follower.leader.id) {
            return;
        }
        follower.lost += 1;
        if follower.lost != LOST_MAX {
            return;
        }
        // At different times, so that two followers do not stand against each other.
        let span = (self.config.election_timeout_ms / ALARM_PART).max(1) << self.alarms.min(8);
        let at = self.now_ms + self.rng.below(span as u64) as i64;
        follower.fetch_deadline = follower.fetch_deadline.min(at);
        self.alarms += 1;
    }

    /// Whether the peer may be asked again at once.
    fn handle_answer(&mut self, peer: Peer, sent: Sent, response: Response) -> Result<bool, Fault> {
        match (peer, sent, response) {
            (Peer::Node(id), Sent::Vote { pre_vote }, Response::Vote(response)) => {
                self.handle_vote_response(id, pre_vote, &response)
            }
            (_, Sent::BeginQuorumEpoch, Response::BeginQuorumEpoch(response)) => {
                Ok(self.handle_begin_response(&response))
            }
            (Peer::Node(id), Sent::EndQuorumEpoch, Response::EndQuorumEpoch(response)) => {
                Ok(self.handle_end_response(id, &response))
            }
            (_, Sent::Fetch { offset }, Response::Fetch(response)) => {
                self.handle_fetch_response(offset, &response)
            }
            (_, Sent::FetchSnapshot { id, position }, Response::FetchSnapshot(response)) => {
                self.handle_fetch_snapshot_response(id, position, &response)
            }
            (_, Sent::UpdateVoter, Response::UpdateVoter(response)) => {
                Ok(self.handle_update_voter_response(Some(&response)))
            }
            (_, Sent::KRaftVersions { .. }, Response::KRaftVersions { min, max }) => {
                self.handle_versions(sent, Some((min, max)))
            }
            // An answer to something else than was asked: as if the connection had failed.
            _ => Ok(false),
        }
    }

    /// What all responses have in common: news of epoch and leader. `None` when the answer itself counts.
    pub(super) fn handle_common(&mut self, error: ErrorCode, leader: &CurrentLeader) -> Option<bool> {
        if leader.epoch < self.epoch || error == ErrorCode::UNKNOWN_LEADER_EPOCH {
            return Some(false);
        }
        let before = (self.epoch, self.leader_id());
        self.learn_leader(leader.epoch, leader.id, leader.endpoint.iter().cloned().collect());
        let changed = before != (self.epoch, self.leader_id());
        if before.0 != self.epoch {
            return Some(true);
        }
        match error {
            ErrorCode::NONE | ErrorCode::SNAPSHOT_NOT_FOUND | ErrorCode::POSITION_OUT_OF_RANGE => None,
            ErrorCode::INVALID_VOTER_KEY => None,
            _ => Some(changed),
        }
    }

    fn handle_fetch_response(&mut self, offset: i64, response: &FetchResponse) -> Result<bool, Fault> {
        if response.top_level_error != ErrorCode::NONE {
            return Ok(false);
        }
        if let Some(done) = self.handle_common(response.error, &response.leader) {
            return Ok(done);
        }
        let deadline = self.now_ms + self.config.fetch_timeout_ms;
        let Role::Follower(follower) = &mut self.role else { return Ok(false) };
        if response.error != ErrorCode::NONE || response.leader.id != Some(follower.leader.id) {
            return Ok(false);
        }
        follower.fetch_deadline = deadline;
        follower.has_fetched = true;
        follower.lost = 0;
        self.alarms = 0;
        self.lost_elections = 0;
        if offset != self.log.log_end_offset() {
            return Ok(true);
        }
        if let Some(diverging) = response.diverging_epoch {
            return self.truncate_after(diverging);
        }
        if let Some(id) = response.snapshot_id {
            if id.offset < 0 || id.epoch < 0 {
                return Ok(false);
            }
            self.log.start_snapshot(id)?;
            if let Role::Follower(follower) = &mut self.role {
                follower.download = Some(Download::new(id));
            }
            return Ok(true);
        }
        let epochs = self.epoch_before(offset)..=self.epoch;
        let Ok(length) = batch::check_fetched(&response.records, offset, epochs) else {
            // Damaged on the way or on the leader's disk: ask again, after a while.
            return Ok(false);
        };
        self.append_fetched(&response.records[..length])?;
        if response.high_watermark >= 0 {
            self.raise_high_watermark(response.high_watermark.min(self.log.log_end_offset()));
        }
        Ok(true)
    }

    /// Appends what the leader sent and makes it durable: the next Fetch acknowledges it.
    fn append_fetched(&mut self, batches: &[u8]) -> Result<(), Fault> {
        if batches.is_empty() {
            return Ok(());
        }
        self.log.append(batches)?;
        self.log.flush()?;
        self.follow_records(batches)?;
        Ok(())
    }

    /// Removes what the leader does not have. `diverging` is the leader's end of the last epoch that both know.
    fn truncate_after(&mut self, diverging: OffsetAndEpoch) -> Result<bool, Fault> {
        let log_start = self.log.log_start_offset();
        let to = match self.log.end_offset_for_epoch(diverging.epoch) {
            Some(local) if local.epoch == diverging.epoch => local.offset.min(diverging.offset),
            Some(local) => local.offset,
            None => log_start,
        };
        if let Some(high_watermark) = self.high_watermark.filter(|high_watermark| to < *high_watermark) {
            return Err(Fault::TruncationBelowHighWatermark { to, high_watermark });
        }
        let to = to.max(log_start);
        if to >= self.log.log_end_offset() {
            return Ok(false);
        }
        self.log.truncate_to(to)?;
        self.history.truncate_to(to);
        Ok(true)
    }
}
