//! New in-sync sets on their way to the controller: one request at a time, sent until it is settled.

use std::collections::VecDeque;

use broker::simulation::Proposal;
use controller::event::Response;

use super::broker_process::{BrokerProcess, Out, Step};
use super::data_log::DataLog;
use super::rpc::{Answer, Ask, Told};

const VERSION: i16 = 3;
const TIMEOUT_MS: i64 = 400;
const RETRY_MS: i64 = 50;

#[derive(Default)]
pub(super) struct Proposals {
    waiting: VecDeque<Proposal<DataLog>>,
    call: Option<u64>,
    due: i64,
}

impl Proposals {
    pub(super) fn extend(&mut self, proposals: impl IntoIterator<Item = Proposal<DataLog>>, now: i64) {
        let was_empty = self.waiting.is_empty();
        self.waiting.extend(proposals);
        if was_empty {
            self.due = now;
        }
    }

    pub(super) fn next_deadline(&self) -> i64 {
        if self.waiting.is_empty() { i64::MAX } else { self.due }
    }
}

impl BrokerProcess {
    pub(super) fn tick_proposals(&mut self, step: &mut Step<'_>) {
        if self.proposals.next_deadline() > step.now {
            return;
        }
        let Some(first) = self.proposals.waiting.front() else { return };
        let request = first.request(step.id, self.lifecycle.epoch());
        self.proposals.due = step.now + RETRY_MS;
        let Some(to) = step.controller else { return };
        let call = self.next_call();
        self.proposals.call = Some(call);
        self.proposals.due = step.now + TIMEOUT_MS;
        step.out.push(Out::Call { call, to, ask: Ask::Controller(VERSION, request.into()) });
    }

    /// Takes in an answer; false if it is to another call.
    pub(super) fn proposal_answered(&mut self, call: u64, answer: &Answer, step: &mut Step<'_>) -> bool {
        if self.proposals.call != Some(call) {
            return false;
        }
        self.proposals.call = None;
        self.proposals.due = step.now + RETRY_MS;
        if let Ok(Told::Controller(Some(Response::AlterPartition(response)))) = answer
            && response.error_code == 0
            && let Some(first) = self.proposals.waiting.front()
        {
            let (topic, index) = first.key();
            let mut topics = response.topics.iter().filter(|answered| answered.topic_id == topic);
            let mut partitions = topics.by_ref().flat_map(|topic| &topic.partitions);
            let found = partitions.find(|partition| partition.partition_index == index);
            if found.is_some_and(|partition| first.settle(partition)) {
                self.proposals.waiting.pop_front();
                self.proposals.due = step.now;
            }
        }
        true
    }
}
