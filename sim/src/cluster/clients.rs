//! Producers that want acks=all, and consumers that read from any replica. Each knows the cluster as some broker does,
//! which may be long ago.

use protocol::ErrorCode;
use raft::rng::Rng;

use super::broker_process::Key;
use super::data_log::id_of;
use super::rpc::{Answer, Ask, Caller, Told};
use super::world::World;

const TIMEOUT_MS: i64 = 1_500;

#[derive(Debug, Clone, Copy)]
enum Doing {
    Nothing,
    Producing { key: Key, record: u64 },
    Consuming { key: Key, offset: i64 },
}

#[derive(Debug)]
struct Client {
    produces: bool,
    think_ms: u64,
    call: u64,
    doing: Doing,
    due: i64,
    /// Next offset of the one partition that a consumer reads.
    position: i64,
    partition: i32,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    all: Vec<Client>,
    next_record: u64,
    /// Acknowledged records.
    pub(super) acked: u64,
}

impl Clients {
    pub(super) fn new(rng: &mut Rng) -> Clients {
        let client = |at: u64| Client {
            produces: at < 3,
            think_ms: [10, 40, 150][rng.below(3) as usize],
            call: 0,
            doing: Doing::Nothing,
            due: 500,
            position: 0,
            partition: rng.below(3) as i32,
        };
        Clients { all: (0..5).map(client).collect(), next_record: 0, acked: 0 }
    }

    /// They have done enough.
    pub(super) fn stop(&mut self) {
        self.all.clear();
    }

    pub(super) fn next_deadline(&self) -> i64 {
        self.all.iter().map(|client| client.due).min().unwrap_or(i64::MAX)
    }
}

impl World {
    /// Lets every client act whose time has come.
    pub(super) fn tick_clients(&mut self) {
        for at in 0..self.clients.all.len() {
            if self.clients.all[at].due <= self.now {
                self.act_as_client(at);
            }
        }
    }

    fn act_as_client(&mut self, at: usize) {
        let think = 1 + self.rng.below(2 * self.clients.all[at].think_ms) as i64;
        self.clients.all[at].due = self.now + think;
        let Some((key, replicas, leader, epoch)) = self.somebodys_view(at) else { return };
        let call = self.next_id();
        let anyone = replicas[self.rng.below(replicas.len() as u64) as usize];
        let is_astray = self.rng.below(10) == 0;
        let client = &mut self.clients.all[at];
        client.call = call;
        client.due = self.now + TIMEOUT_MS;
        let (to, ask) = if client.produces {
            self.clients.next_record += 1;
            let record = self.clients.next_record;
            client.doing = Doing::Producing { key, record };
            (if is_astray { anyone } else { leader }, Ask::Produce(key, record))
        } else {
            let offset = client.position;
            client.doing = Doing::Consuming { key, offset };
            (anyone, Ask::Consume(key, offset, if is_astray { -1 } else { epoch }))
        };
        if to < 0 {
            self.clients.all[at].due = self.now + think;
            return;
        }
        self.send(Caller::Client(at, call), to, ask);
    }

    /// A partition with its replicas, leader and epoch, as some broker knows it.
    fn somebodys_view(&mut self, at: usize) -> Option<(Key, Vec<i32>, i32, i32)> {
        let knows = |id: &i32| {
            let process = self.nodes[id].process.as_ref()?;
            Some(process.broker.as_ref()?.broker.image())
        };
        let images: Vec<_> = self.plan.brokers.iter().filter_map(knows).collect();
        let image = images.get(self.rng.below(images.len() as u64) as usize)?;
        let topic = image.topics.by_name(super::plan::TOPIC)?;
        let count = topic.partitions.len() as i32;
        let client = &self.clients.all[at];
        let index = match client.produces {
            true => self.rng.below(count as u64) as i32,
            false => client.partition % count,
        };
        let partition = topic.partition(index)?;
        let (replicas, leader) = (partition.replicas.clone(), partition.leader);
        Some(((topic.id, index), replicas, leader, partition.leader_epoch))
    }

    /// An answer has reached a client.
    pub(super) fn client_answered(&mut self, caller: Caller, answer: Answer) {
        let Caller::Client(at, call) = caller else { return self.admin_answered(caller, answer) };
        let Some(client) = self.clients.all.get_mut(at) else { return };
        if client.call != call {
            return;
        }
        client.call = 0;
        client.due = self.now + 1 + self.rng.below(2 * client.think_ms) as i64;
        match (client.doing, answer) {
            (Doing::Producing { key, record }, Ok(Told::Produce(Ok(offset)))) => {
                self.clients.acked += 1;
                self.observed.acknowledged(key, offset, record);
            }
            (Doing::Consuming { key, offset }, Ok(Told::Consume(data))) => {
                if ErrorCode(data.error_code) != ErrorCode::NONE {
                    return;
                }
                let records = data.records.unwrap_or_default();
                let mut next = offset;
                for batch in protocol::batch::batches(&records).flatten() {
                    let header = batch.header().unwrap();
                    self.observed.consumed(key, next, &header, id_of(batch.bytes));
                    next += 1;
                }
                client.position = next;
            }
            _ => {}
        }
    }
}
