//! Answers that wait until every live broker has heard of what they say.
//!
//! A client that was told of a new topic may ask any broker for it. A broker says in its next Fetch of the metadata log
//! how much it knows to be committed; with one that says nothing, the answer goes out after [`HOLD_MS`].

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::controller::Answered;
use crate::event::Response;

/// How long an answer waits for brokers that do not fetch.
const HOLD_MS: i64 = 100;

/// One answer.
struct Answer {
    last_offset: i64,
    until_ms: i64,
    reply: oneshot::Sender<Answered>,
    response: Response,
}

/// Answers in the order of their records.
#[derive(Default)]
pub(crate) struct Held {
    answers: VecDeque<Answer>,
}

impl Held {
    /// Whether clients of other brokers may act on this answer.
    pub(crate) fn concerns(response: &Response) -> bool {
        matches!(
            response,
            Response::CreateTopics(_) | Response::DeleteTopics(_) | Response::CreatePartitions(_)
        )
    }

    /// Keeps an answer that rests on the records up to `last_offset`, which are committed.
    pub(crate) fn keep(
        &mut self,
        now_ms: i64,
        last_offset: i64,
        reply: oneshot::Sender<Answered>,
        response: Response,
    ) {
        self.answers.push_back(Answer { last_offset, until_ms: now_ms + HOLD_MS, reply, response });
    }

    /// Sends the answers that need not wait any more; `is_known` tells whether all live brokers know of an offset.
    pub(crate) fn release(&mut self, now_ms: i64, is_known: impl Fn(i64) -> bool) {
        let is_due = |answer: &mut Answer| answer.until_ms <= now_ms || is_known(answer.last_offset + 1);
        while let Some(Answer { last_offset, reply, response, .. }) = self.answers.pop_front_if(is_due) {
            // Whoever asked may have gone away.
            let _ = reply.send(Answered { response, committed_offset: last_offset, is_refused: false });
        }
    }

    /// When the first of them goes out at the latest.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.answers.front().map(|answer| answer.until_ms)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}
