//! A client that looks at who leads, and one that creates and deletes topics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::CreateTopicsRequest;
use protocol::messages::create_topics_request::CreatableTopic;
use uuid::Uuid;

use super::directory::{Addresses, Directory};
use crate::cluster::{describe_quorum, metadata};
use crate::history::{Event, History, Place, TopicEvent, now};
use crate::random::Random;
use crate::wire::{Wire, name};

const ANSWER: Duration = Duration::from_millis(400);
const CREATED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
/// Topics beyond this number are deleted again.
const TOPICS_KEPT: usize = 3;

/// Asks every broker for the leaders of a topic, and every node for the active controller, in turn.
pub fn watch(
    nodes: &Addresses,
    brokers: &BTreeSet<usize>,
    topic: &str,
    history: &History,
    stop: &AtomicBool,
) {
    let mut seen = BTreeSet::new();
    let mut links: BTreeMap<usize, Wire> = BTreeMap::new();
    for (observer, address) in nodes.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let open = links.remove(observer).map_or_else(|| Wire::connect_within(address, ANSWER, ANSWER), Ok);
        let looked = open.and_then(|mut wire| {
            let mut events = Vec::new();
            if brokers.contains(observer) {
                leaders(&mut wire, *observer, topic, &mut events)?;
            }
            // A connection whose answer did not come is not used again.
            let quorum = describe_quorum(&mut wire);
            events.extend(quorum.as_ref().map(|quorum| Event::Controlled {
                at: now(),
                observer: *observer,
                epoch: quorum.epoch,
                leader: quorum.leader,
            }));
            Ok((quorum.map(|_| wire), events))
        });
        if let Ok((wire, events)) = looked {
            links.extend(wire.map(|wire| (*observer, wire)));
            events.into_iter().filter(|event| seen.insert(key(event))).for_each(|event| history.add(event));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What makes an event another than those before.
fn key(event: &Event) -> (usize, i32, i32, usize) {
    match event {
        Event::Led { observer, place, epoch, leader, .. } => (*observer, place.partition, *epoch, *leader),
        Event::Controlled { observer, epoch, leader, .. } => (*observer, -1, *epoch, *leader),
        _ => (0, -2, 0, 0),
    }
}

fn leaders(wire: &mut Wire, observer: usize, topic: &str, events: &mut Vec<Event>) -> io::Result<()> {
    let answer = metadata(wire, topic)?;
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        if let Ok(leader) = usize::try_from(partition.leader_id.0) {
            let place = Place::new(topic, partition.partition_index);
            events.push(Event::Led { at: now(), observer, place, epoch: partition.leader_epoch, leader });
        }
    }
    Ok(())
}

/// Creates and deletes topics until it is told to stop.
pub fn make_topics(
    brokers: &Addresses,
    prefix: &str,
    history: &History,
    mut random: Random,
    stop: &AtomicBool,
) {
    let mut directory = Directory::new(brokers, prefix, random.fork());
    let mut live = VecDeque::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let topic = format!("{prefix}-{number}");
        let node = directory.any();
        let began = now();
        let note = |what| history.add(Event::Topics { began, at: now(), what });
        let created = directory.connect(node, CREATED).and_then(|mut wire| create(&mut wire, &topic));
        if let Ok(id) = created {
            note(TopicEvent::Created(topic.clone(), id));
            live.push_back(topic);
        }
        if live.len() > TOPICS_KEPT
            && let Some(oldest) = live.pop_front()
        {
            let began = now();
            let note = |what| history.add(Event::Topics { began, at: now(), what });
            note(TopicEvent::Deleting(oldest.clone()));
            let deleted = directory.connect(node, CREATED).and_then(|mut wire| wire.delete_topic(&oldest));
            if deleted.is_ok_and(|error| error == ErrorCode::NONE) {
                note(TopicEvent::Deleted(oldest));
            }
        }
        std::thread::sleep(Duration::from_millis(random.between(100, 500)));
    }
}

fn create(wire: &mut Wire, topic: &str) -> io::Result<Uuid> {
    let topic =
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(3);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(2_500);
    let answer = wire.call(7, &request)?;
    match answer.topics.first() {
        Some(topic) if topic.error_code == 0 => Ok(topic.topic_id),
        _ => Err(io::Error::other("not created")),
    }
}

/// Every broker's list of topics.
pub fn list_topics(brokers: &Addresses, history: &History) {
    for (_, address) in brokers {
        let began = now();
        let listed = Wire::connect(address).and_then(|mut wire| wire.all_topics());
        if let Ok(list) = listed {
            history.add(Event::Topics { began, at: now(), what: TopicEvent::Listed(list) });
        }
    }
}
