//! One decision of the loop: made on the tip, appended, replayed on the tip; its answer waits for the commit.

use std::time::Instant;

use protocol::ErrorCode;
use protocol::records::Record;
use tokio::sync::oneshot;

use super::{Answered, Controller, Pending, refusal, send};
use crate::api_error::ApiError;
use crate::decide::{View, decide};
use crate::event::{Decision, Event};
use crate::liveness::LivenessUpdate;
use crate::refusal::refuse;
use crate::store::{AppendError, MAX_RECORDS_PER_BATCH, MetadataStore, UpgradeError};

impl<S: MetadataStore> Controller<S> {
    /// Decides, appends, replays on the tip, and lets the answer wait for the commit.
    pub(super) fn decide(
        &mut self,
        event: &Event,
        reply: Option<oneshot::Sender<Answered>>,
    ) -> Result<(), String> {
        self.note_control_records();
        let now_ms = self.now_ms();
        let Some(active) = &self.active else { return Ok(()) };
        let view =
            View { image: active.tip.image(), liveness: &active.liveness, rules: &self.setup.rules, now_ms };
        let decision = decide(view, &mut self.setup.entropy, event);
        if let Some((level, validate_only)) = decision.kraft_version
            && let Err(error) = self.upgrade_kraft_version(level, validate_only)
        {
            if let (Some(reply), Event::Request { version, request }) = (reply, event) {
                send(reply, refuse(*version, request, &error), -1);
            }
            return Ok(());
        }
        self.carry_out(event, decision, reply)
    }

    fn upgrade_kraft_version(&mut self, level: i16, validate_only: bool) -> Result<(), ApiError> {
        // The quorum's records follow all that was decided before.
        self.store.flush();
        self.store.upgrade_kraft_version(level, validate_only).map_err(|error| {
            let code = match error {
                UpgradeError::Fenced => ErrorCode::NOT_CONTROLLER,
                UpgradeError::NotReady => ErrorCode::REQUEST_TIMED_OUT,
                UpgradeError::Unsupported { .. } | UpgradeError::UnknownVoter { .. } => {
                    ErrorCode::INVALID_UPDATE_VERSION
                }
            };
            ApiError::new(code, format!("Invalid update version {level} for feature kraft.version. {error}"))
        })?;
        self.note_control_records();
        Ok(())
    }

    fn carry_out(
        &mut self,
        event: &Event,
        decision: Decision,
        reply: Option<oneshot::Sender<Answered>>,
    ) -> Result<(), String> {
        let now_ms = self.now_ms();
        let Some(active) = &mut self.active else { return Ok(()) };
        let image = active.tip.image();
        let first_offset = image.next_offset();
        let Decision { records, atomic, liveness, reply: response, .. } = decision;
        let metadata_version = image.features.metadata_version().0;
        let batches = split(records, atomic);
        let appended = match batches.iter().map(Vec::len).max() {
            None => Ok(first_offset - 1),
            Some(longest) if longest > MAX_RECORDS_PER_BATCH => Err(AppendError::TooLarge),
            Some(_) => self.store.append(&batches, metadata_version),
        };
        let last_offset = match appended {
            Ok(last_offset) => last_offset,
            Err(error) => {
                tracing::warn!(%error, "A decision was not written");
                if let (Some(reply), Event::Request { version, request }) = (reply, event) {
                    match append_error(error) {
                        // Whoever asked may have gone away.
                        None => drop(reply.send(refusal(*version, request))),
                        Some(error) => send(reply, refuse(*version, request, &error), -1),
                    }
                }
                return Ok(());
            }
        };
        let mut next_offset = first_offset;
        for record in batches.iter().flatten() {
            let replayed = active.tip.replay(next_offset, active.epoch, now_ms, record);
            replayed.map_err(|error| format!("own decision: {error}"))?;
            next_offset += 1;
        }
        if next_offset != last_offset + 1 {
            return Err(format!(
                "records written up to {last_offset} where {} was expected",
                next_offset - 1
            ));
        }
        for update in liveness {
            if matches!(update, LivenessUpdate::Expire(_)) {
                self.setup.metrics.session_expired();
            }
            active.liveness.update(update, now_ms, last_offset);
        }
        let wrote = last_offset >= first_offset;
        if wrote {
            active.liveness.retain(active.tip.image());
            active.idle_at = self.setup.periods.idle_ms.map(|period| now_ms + period);
            log_decision(event, batches.iter().flatten(), first_offset);
        }
        let answer = reply.zip(response);
        #[cfg(feature = "planted-bugs")]
        let answer = match answer {
            Some((reply, response)) if planted::is(planted::Bug::AnswerBeforeCommit) => {
                send(reply, response, last_offset);
                None
            }
            answer => answer,
        };
        if wrote || answer.is_some() {
            let deltas = active.tip.publish();
            active.pending.push_back(Pending {
                last_offset,
                deltas,
                answer,
                appended_at: wrote.then(Instant::now),
            });
        }
        let committed = self.committed.image().next_offset();
        self.on_committed(committed);
        Ok(())
    }
}

/// Batches of a decision, in order; none if it has no records.
fn split(mut records: Vec<Record>, atomic: bool) -> Vec<Vec<Record>> {
    let mut batches = Vec::new();
    while !atomic && records.len() > MAX_RECORDS_PER_BATCH {
        let rest = records.split_off(MAX_RECORDS_PER_BATCH);
        batches.push(std::mem::replace(&mut records, rest));
    }
    if !records.is_empty() {
        batches.push(records);
    }
    batches
}

fn log_decision<'a>(event: &Event, records: impl Iterator<Item = &'a Record>, first_offset: i64) {
    let event = match event {
        Event::Request { request, .. } => request.name(),
        Event::Activated { .. } => "Activated",
        Event::SessionsDue => "SessionsDue",
        Event::BrokerUnreachable { .. } => "BrokerUnreachable",
        Event::RebalanceDue => "RebalanceDue",
        Event::UncleanElectionDue => "UncleanElectionDue",
        Event::Idle => return,
    };
    tracing::debug!(event, records = records.count(), first_offset, "Decided");
}

/// What a client is told; `None` where another controller may do better.
fn append_error(error: AppendError) -> Option<ApiError> {
    match error {
        AppendError::Fenced => None,
        AppendError::TooLarge => {
            let message = "Unable to perform excessively large batch operation.";
            Some(ApiError::new(ErrorCode::POLICY_VIOLATION, message))
        }
        AppendError::Unrepresentable => Some(ApiError::of(ErrorCode::UNSUPPORTED_VERSION)),
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::NoOpRecord;

    use super::*;

    #[test]
    fn long_decisions_are_split_unless_they_are_atomic() {
        let records = vec![Record::NoOp(NoOpRecord::default()); MAX_RECORDS_PER_BATCH + 5];
        let sizes = |atomic| split(records.clone(), atomic).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(false), [MAX_RECORDS_PER_BATCH, 5]);
        assert_eq!(sizes(true), [MAX_RECORDS_PER_BATCH + 5]);
        assert!(split(Vec::new(), false).is_empty());
    }
}
