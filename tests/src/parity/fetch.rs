//! Fetch: positions, limits and sessions.

use protocol::batch;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use uuid::Uuid;

use super::produce::{keyed, to};
use super::session::{Session, s};
use super::topics::{make, topic_name};

pub(super) fn at(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

pub(super) fn topics(topics: Vec<(&str, Uuid, Vec<FetchPartition>)>) -> FetchRequest {
    let topics = topics.into_iter().map(|(name, id, partitions)| {
        FetchTopic::default().with_topic(topic_name(name)).with_topic_id(id).with_partitions(partitions)
    });
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(topics.collect())
}

/// Topics in one order. Records of rewritten batches are told by their headers: compressors differ.
fn brief(r: &mut FetchResponse) {
    r.responses.sort_by(|a, b| (&a.topic, a.topic_id).cmp(&(&b.topic, b.topic_id)));
    for partition in r.responses.iter_mut().flat_map(|t| &mut t.partitions) {
        let Some(records) = &partition.records else { continue };
        let mut told = String::new();
        for raw in batch::batches(records).flatten() {
            if let Ok(h) = raw.header() {
                let codec = if h.codec().is_some_and(|c| c == protocol::compress::Codec::None) {
                    format!("{} bytes", h.batch_length)
                } else {
                    format!("{:?}", h.codec())
                };
                told.push_str(&format!(
                    "[{} +{} epoch {} attributes {} times {} {} producer {} {} {} count {} {codec}]",
                    h.base_offset,
                    h.last_offset_delta,
                    h.partition_leader_epoch,
                    h.attributes,
                    h.base_timestamp,
                    h.max_timestamp,
                    h.producer_id,
                    h.producer_epoch,
                    h.base_sequence,
                    h.records_count
                ));
            }
        }
        partition.records = Some(told.into_bytes().into());
    }
}

pub(super) fn script(session: &mut Session) {
    let id = make(session, "f", 2, &[]);
    for values in [&["a", "b"], &["c", "d"], &["e", "f"]] {
        session.until(9, &to("f", &keyed(values)), |r| r.responses[0].partition_responses[0].error_code == 0);
    }
    let nil = Uuid::nil();
    for version in [4, 5, 7, 9, 10, 11, 12] {
        let one = |partitions: Vec<FetchPartition>| topics(vec![("f", nil, partitions)]);
        session.ask_with(version, "all", &one(vec![at(0, 0)]), brief);
        session.ask_with(version, "both partitions", &one(vec![at(1, 0), at(0, 2)]), brief);
        session.ask_with(version, "middle", &one(vec![at(0, 3)]), brief);
        session.ask_with(version, "end", &one(vec![at(0, 6)]), brief);
        session.ask_with(version, "beyond", &one(vec![at(0, 7)]), brief);
        session.ask_with(version, "negative", &one(vec![at(0, -1)]), brief);
        session.ask_with(version, "unknown partition", &one(vec![at(9, 0)]), brief);
        session.ask_with(version, "unknown topic", &topics(vec![("unknown", nil, vec![at(0, 0)])]), brief);
        session.ask_with(version, "bad name", &topics(vec![("a b", nil, vec![at(0, 0)])]), brief);
        session.ask_with(version, "twice", &one(vec![at(0, 4), at(0, 5)]), brief);
        session.ask_with(version, "nothing", &topics(vec![]), brief);
        session.ask_with(version, "committed", &one(vec![at(0, 4)]).with_isolation_level(1), brief);
        session.ask_with(version, "isolation 5", &one(vec![at(0, 4)]).with_isolation_level(5), brief);
        session.ask_with(version, "small", &one(vec![at(0, 0).with_partition_max_bytes(1), at(1, 0)]), brief);
        session.ask_with(version, "small in all", &one(vec![at(0, 0)]).with_max_bytes(1), brief);
        session.ask_with(version, "max bytes 0", &one(vec![at(0, 0)]).with_max_bytes(0), brief);
        session.ask_with(version, "max bytes -1", &one(vec![at(0, 0)]).with_max_bytes(-1), brief);
        session.ask_with(version, "replica 7", &one(vec![at(0, 0)]).with_replica_id(BrokerId(7)), brief);
        session.ask_with(
            version,
            "waits",
            &one(vec![at(0, 6)]).with_max_wait_ms(50).with_min_bytes(1),
            brief,
        );
        if version >= 9 {
            session.ask_with(version, "epoch 5", &one(vec![at(0, 0).with_current_leader_epoch(5)]), brief);
            session.ask_with(version, "epoch 0", &one(vec![at(0, 4).with_current_leader_epoch(0)]), brief);
        }
        if version >= 11 {
            session.ask_with(version, "rack", &one(vec![at(0, 4)]).with_rack_id(s("r")), brief);
        }
    }
    by_id(session, id);
    sessions(session, id);
}

/// What only newer versions have: the last fetched epoch and topic ids.
fn by_id(session: &mut Session, id: Uuid) {
    let nil = Uuid::nil();
    session.ask_with(
        12,
        "fetched epoch 0",
        &topics(vec![("f", nil, vec![at(0, 4).with_last_fetched_epoch(0)])]),
        brief,
    );
    session.ask_with(
        12,
        "fetched epoch 3",
        &topics(vec![("f", nil, vec![at(0, 4).with_last_fetched_epoch(3)])]),
        brief,
    );
    for version in [13, 15, 16, 18] {
        let one = |id: Uuid, at: FetchPartition| topics(vec![("", id, vec![at])]);
        session.ask_with(version, "middle", &one(id, at(0, 3)), brief);
        session.ask_with(version, "unknown id", &one(Uuid::from_u128(77), at(0, 0)), brief);
        session.ask_with(version, "nil id", &one(nil, at(0, 0)), brief);
        session.ask_with(version, "unknown partition", &one(id, at(9, 0)), brief);
        session.ask_with(version, "beyond", &one(id, at(0, 9)), brief);
        session.ask_with(version, "epoch 5", &one(id, at(0, 0).with_current_leader_epoch(5)), brief);
        session.ask_with(version, "nothing", &topics(vec![]), brief);
    }
    for topic in ["p", "p-idem", "p-append", "p-gzip", "p-plain", "p-compacted"] {
        session.ask_with(
            12,
            &format!("written to {topic}"),
            &topics(vec![(topic, nil, vec![at(0, 0)])]),
            brief,
        );
    }
}

fn sessions(session: &mut Session, id: Uuid) {
    let nil = Uuid::nil();
    let of =
        |id: i32, epoch: i32, request: FetchRequest| request.with_session_id(id).with_session_epoch(epoch);
    let both = || topics(vec![("f", nil, vec![at(0, 4), at(1, 0)])]);
    session.ask_with(12, "unknown session", &of(12345, 1, topics(vec![])), brief);
    session.ask_with(12, "unknown session, epoch 0", &of(12345, 0, both()), brief);
    session.ask_with(12, "unknown session, epoch -1", &of(12345, -1, both()), brief);
    session.ask_with(12, "session 0, epoch 5", &of(0, 5, both()), brief);
    session.ask_with(12, "new session with nothing", &of(0, 0, topics(vec![])), brief);
    let Some(begun) = session.ask_with(12, "new session", &of(0, 0, both()), brief) else { return };
    let known = begun.session_id;
    session.ask_with(12, "session: no change", &of(known, 1, topics(vec![])), brief);
    let moved = of(known, 2, topics(vec![("f", nil, vec![at(0, 6)])]));
    session.ask_with(12, "session: moved", &moved, brief);
    session.ask_with(12, "session: same epoch", &of(known, 2, topics(vec![])), brief);
    session.ask_with(12, "session: epoch ahead", &of(known, 9, topics(vec![])), brief);
    let unknown = of(known, 3, topics(vec![("unknown", nil, vec![at(0, 0)])]));
    session.ask_with(12, "session: unknown topic", &unknown, brief);
    let forgotten = ForgottenTopic::default().with_topic(topic_name("unknown")).with_partitions(vec![0]);
    let forget = of(known, 4, topics(vec![])).with_forgotten_topics_data(vec![forgotten]);
    session.ask_with(12, "session: forget", &forget, brief);
    session.until(9, &to("f", &keyed(&["g"])), |r| r.responses[0].partition_responses[0].error_code == 0);
    session.ask_with(12, "session: new data", &of(known, 5, topics(vec![])), brief);
    session.ask_with(12, "session: beyond", &of(known, 6, topics(vec![("f", nil, vec![at(0, 99)])])), brief);
    let by_id = of(known, 7, topics(vec![("", id, vec![at(0, 6)])]));
    session.ask_with(13, "session: by id", &by_id, brief);
    session.ask_with(12, "session: ended", &of(known, -1, topics(vec![])), brief);
    session.ask_with(12, "session: gone", &of(known, 1, topics(vec![])), brief);
    let by_id = |offset| topics(vec![("", id, vec![at(0, offset)])]);
    let Some(begun) = session.ask_with(17, "new session by id", &of(0, 0, by_id(6)), brief) else { return };
    let known = begun.session_id;
    session.ask_with(17, "session: no change", &of(known, 1, topics(vec![])), brief);
    let strange = topics(vec![("", Uuid::from_u128(78), vec![at(0, 0)])]);
    session.ask_with(17, "session: unknown id", &of(known, 2, strange), brief);
    session.ask_with(17, "session: unknown id stays", &of(known, 3, topics(vec![])), brief);
    let forgotten = ForgottenTopic::default().with_topic_id(Uuid::from_u128(78)).with_partitions(vec![0]);
    let forget = of(known, 4, topics(vec![])).with_forgotten_topics_data(vec![forgotten]);
    session.ask_with(17, "session: forget id", &forget, brief);
}
