//! What a simulated broker does with requests: answers that wait for the high watermark, fetches that wait for records.

use broker::simulation::{Asked, Asking, Produced};
use protocol::ErrorCode;
use protocol::messages::fetch_response::PartitionData;

use super::broker_process::{BrokerProcess, Key, Out, Step};
use super::data_log::batch_of;
use super::rpc::{Ask, Told};

const PRODUCE_TIMEOUT_MS: i64 = 1_000;
const FETCH_WAIT_MS: i64 = 100;

#[derive(Debug)]
struct WaitingProduce {
    request: u64,
    key: Key,
    produced: Produced,
    deadline: i64,
}

#[derive(Debug)]
struct WaitingFetch {
    request: u64,
    follower: i32,
    broker_epoch: i64,
    partitions: Vec<(Key, Asked)>,
    deadline: i64,
}

#[derive(Debug, Default)]
pub(super) struct Serving {
    produces: Vec<WaitingProduce>,
    fetches: Vec<WaitingFetch>,
}

impl Serving {
    pub(super) fn next_deadline(&self) -> i64 {
        let produces = self.produces.iter().map(|waiting| waiting.deadline);
        let fetches = self.fetches.iter().map(|waiting| waiting.deadline);
        produces.chain(fetches).min().unwrap_or(i64::MAX)
    }
}

impl BrokerProcess {
    /// A request for the broker, of the follower `from` if it is one.
    pub(super) fn serve(
        &mut self,
        request: u64,
        from: Option<i32>,
        ask: Ask,
        step: &mut Step<'_>,
    ) -> Result<(), String> {
        let told = match ask {
            Ask::Produce(key, id) => return self.produce(request, key, id, step),
            Ask::Fetch { broker_epoch, partitions } => {
                let follower = from.unwrap_or(-1);
                let deadline = step.now + FETCH_WAIT_MS;
                let waiting = WaitingFetch { request, follower, broker_epoch, partitions, deadline };
                let (answers, is_urgent) = self.read(&waiting, true, step);
                if !is_urgent {
                    self.serving.fetches.push(waiting);
                    return Ok(());
                }
                Told::Fetch(answers)
            }
            Ask::Range(key, epoch) => {
                let found = self.replicas.get(&key).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER);
                Told::Range(found.and_then(|replica| replica.range(epoch)))
            }
            Ask::Consume(key, offset, epoch) => Told::Consume(match self.replicas.get(&key) {
                Some(replica) => replica.serve(Asking::Consumer(offset, epoch), false).0,
                None => not_here(),
            }),
            Ask::Raft(_) | Ask::Controller(..) => return Ok(()),
        };
        step.out.push(Out::Reply { request, told });
        Ok(())
    }

    fn produce(&mut self, request: u64, key: Key, id: u64, step: &mut Step<'_>) -> Result<(), String> {
        let produced = match self.replicas.get(&key) {
            Some(replica) => replica.produce(&mut batch_of(id)),
            None => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        match produced {
            Ok(produced) => {
                let deadline = step.now + PRODUCE_TIMEOUT_MS;
                self.serving.produces.push(WaitingProduce { request, key, produced, deadline });
                Ok(())
            }
            // The only directory failed: the broker ends.
            Err(ErrorCode::KAFKA_STORAGE_ERROR) => Err("the data directory failed".to_owned()),
            Err(code) => {
                step.out.push(Out::Reply { request, told: Told::Produce(Err(code)) });
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        waiting: &WaitingFetch,
        notes_follower: bool,
        step: &mut Step<'_>,
    ) -> (Vec<(Key, PartitionData)>, bool) {
        let mut is_urgent = false;
        let mut answers = Vec::with_capacity(waiting.partitions.len());
        for (key, asked) in &waiting.partitions {
            let data = match self.replicas.get(key) {
                None => not_here(),
                Some(replica) => {
                    let asking = Asking::Follower(waiting.follower, waiting.broker_epoch, *asked);
                    let (data, proposal) = replica.serve(asking, notes_follower);
                    self.proposals.extend(proposal, step.now);
                    data
                }
            };
            let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
            is_urgent |= has_records || data.error_code != 0 || data.diverging_epoch.epoch >= 0;
            answers.push((*key, data));
        }
        (answers, is_urgent)
    }

    /// Answers what need not wait any more.
    pub(super) fn tick_serving(&mut self, step: &mut Step<'_>) {
        let replicas = &self.replicas;
        self.serving.produces.retain(|waiting| {
            let verdict = match replicas.get(&waiting.key) {
                Some(replica) => replica.committed(waiting.produced.committed_at),
                None => Some(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
            };
            let late = (waiting.deadline <= step.now).then_some(Err(ErrorCode::REQUEST_TIMED_OUT));
            let Some(verdict) = verdict.or(late) else { return true };
            let told = Told::Produce(verdict.map(|()| waiting.produced.first_offset));
            step.out.push(Out::Reply { request: waiting.request, told });
            false
        });
        for waiting in std::mem::take(&mut self.serving.fetches) {
            let (answers, is_urgent) = self.read(&waiting, false, step);
            if is_urgent || waiting.deadline <= step.now {
                step.out.push(Out::Reply { request: waiting.request, told: Told::Fetch(answers) });
            } else {
                self.serving.fetches.push(waiting);
            }
        }
    }
}

fn not_here() -> PartitionData {
    let data = PartitionData::default().with_error_code(ErrorCode::NOT_LEADER_OR_FOLLOWER.code());
    data.with_high_watermark(-1)
}
