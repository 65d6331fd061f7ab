//! Produce: checks of the request and of the batches in it.

use bytes::{Bytes, BytesMut};
use protocol::batch::{self, BatchBuilder};
use protocol::compress::Codec;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{ApiVersionsRequest, ProduceRequest, TransactionalId};
use uuid::Uuid;

use super::session::{Session, s};
use super::topics::{make, topic_name};

/// The time of all records that are written.
pub(super) const TIME: i64 = 1_600_000_000_000;

/// A batch of these values with keys `k`.
pub(super) fn keyed(values: &[&str]) -> BytesMut {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.push_pair(TIME, Some(b"k"), Some(value.as_bytes()));
    }
    builder.build()
}

fn with_codec(codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new(0).codec(codec, None);
    builder.push_pair(TIME, Some(b"k"), Some(b"compressed")).push_pair(TIME + 1, Some(b"k"), Some(b"too"));
    builder.build()
}

/// Changes bytes of a batch and makes its checksum right again.
fn patched(mut batch: BytesMut, at: usize, bytes: &[u8]) -> BytesMut {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = batch::compute_crc(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn data(index: i32, records: Option<&[u8]>) -> PartitionProduceData {
    PartitionProduceData::default().with_index(index).with_records(records.map(Bytes::copy_from_slice))
}

fn request(topics: Vec<(&str, Uuid, Vec<PartitionProduceData>)>) -> ProduceRequest {
    let topics = topics.into_iter().map(|(name, id, partitions)| {
        TopicProduceData::default()
            .with_name(topic_name(name))
            .with_topic_id(id)
            .with_partition_data(partitions)
    });
    ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(topics.collect())
}

/// One batch or more for partition 0 of a topic.
pub(super) fn to(topic: &str, records: &[u8]) -> ProduceRequest {
    request(vec![(topic, Uuid::nil(), vec![data(0, Some(records))])])
}

pub(super) fn script(session: &mut Session) {
    make(session, "p", 2, &[]);
    requests(session);
    batches(session);
    topic_rules(session);
    idempotent(session);
}

/// What is wrong or special outside the batches.
fn requests(session: &mut Session) {
    let id = make(session, "p", 2, &[]);
    let fine = keyed(&["a", "b"]);
    for version in [3, 5, 7, 8, 9, 10, 11, 12] {
        let nil = Uuid::nil();
        session.ask(version, "one", &to("p", &fine));
        session.ask(version, "acks 1", &to("p", &fine).with_acks(1));
        session.ask(version, "acks 2", &to("p", &fine).with_acks(2));
        session.ask(version, "unknown topic", &to("unknown", &fine));
        let unknown = request(vec![("p", nil, vec![data(9, Some(&fine)), data(0, Some(&fine))])]);
        session.ask_with(version, "unknown partition", &unknown, |r| {
            r.responses.iter_mut().for_each(|t| t.partition_responses.sort_by_key(|p| p.index));
        });
        session.ask(version, "no topics", &request(vec![]));
        session.ask(version, "no partitions", &request(vec![("p", nil, vec![])]));
        session.ask(version, "empty records", &to("p", &[]));
        session.ask(
            version,
            "bad checksum",
            &to("p", &{
                let mut batch = fine.clone();
                batch[20] ^= 1;
                batch
            }),
        );
    }
    let fine13 = |id: Uuid, index: i32| request(vec![("", id, vec![data(index, Some(&fine))])]);
    session.ask(13, "one", &fine13(id, 0));
    session.ask(13, "unknown id", &fine13(Uuid::from_u128(77), 0));
    session.ask(13, "nil id", &fine13(Uuid::nil(), 0));
    session.ask(13, "unknown partition", &fine13(id, 9));
    session.ask(13, "acks 2", &fine13(id, 0).with_acks(2));
    session.ask(13, "no topics", &request(vec![]));
    session.ask(9, "negative partition", &request(vec![("p", Uuid::nil(), vec![data(-1, Some(&fine))])]));
    session.ask(9, "bad name", &to("a b", &fine));
    session.ask(9, "empty name", &to("", &fine));
    session.ask(9, "internal topic", &to("__consumer_offsets", &fine));
    session.ask(9, "no time", &to("p", &fine).with_timeout_ms(0));
    session.ask(9, "negative time", &to("p", &fine).with_timeout_ms(-1));
    let p = || data(0, Some(&fine));
    make(session, "p-twice", 2, &[]);
    session.ask(9, "partition twice", &request(vec![("p-twice", Uuid::nil(), vec![p(), p()])]));
    session.ask_with(
        9,
        "topic twice",
        &request(vec![
            ("p-twice", Uuid::nil(), vec![p()]),
            ("p-twice", Uuid::nil(), vec![data(1, Some(&fine))]),
        ]),
        |r| r.responses.iter_mut().for_each(|t| t.partition_responses.sort_by_key(|p| p.index)),
    );
    session.ask(
        9,
        "transactional id only",
        &to("p", &fine).with_transactional_id(Some(TransactionalId(s("t")))),
    );
    // Without an answer: the next answer of the connection shows what came of it.
    for (label, silent) in
        [("fine", to("p", &fine)), ("unknown topic", to("unknown", &fine)), ("none", request(vec![]))]
    {
        session.send(0, 9, &silent.with_acks(0));
        session.ask_with(0, &format!("after acks 0 {label}"), &ApiVersionsRequest::default(), |r| {
            r.api_keys.clear()
        });
    }
}

/// Batches, and what is wrong or special in each.
fn wrong_batches() -> Vec<(&'static str, Vec<u8>)> {
    let fine = keyed(&["a", "b", "c"]);
    let mut two = fine.to_vec();
    two.extend_from_slice(&keyed(&["d"]));
    let mut builder = BatchBuilder::new(0).control();
    builder.push_pair(TIME, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]));
    let control = builder.build();
    let be = i32::to_be_bytes;
    let mut trailing = fine.to_vec();
    trailing.extend_from_slice(&[0; 5]);
    let mut old = vec![0; 12];
    old[8..12].copy_from_slice(&be(22));
    old.extend_from_slice(&[0, 0, 0, 0, 1, 0]);
    old.extend_from_slice(&[0; 8]);
    old.extend_from_slice(&be(-1));
    old.extend_from_slice(&be(-1));
    vec![
        ("two batches", two),
        ("cut", fine[..fine.len() - 1].to_vec()),
        ("cut in the header", fine[..40].to_vec()),
        ("cut in the length", fine[..10].to_vec()),
        ("trailing bytes", trailing),
        ("base offset 5", patched(fine.clone(), 0, &5_i64.to_be_bytes()).to_vec()),
        ("leader epoch 9", patched(fine.clone(), 12, &be(9)).to_vec()),
        ("magic 3", patched(fine.clone(), 16, &[3]).to_vec()),
        ("magic 1", old),
        ("count 2", patched(fine.clone(), 57, &be(2)).to_vec()),
        ("count 4", patched(fine.clone(), 57, &be(4)).to_vec()),
        ("count 0", patched(fine.clone(), 57, &be(0)).to_vec()),
        ("count -1", patched(fine.clone(), 57, &be(-1)).to_vec()),
        ("last offset delta 3", patched(fine.clone(), 23, &be(3)).to_vec()),
        ("last offset delta 1", patched(fine.clone(), 23, &be(1)).to_vec()),
        ("last offset delta -1", patched(fine.clone(), 23, &be(-1)).to_vec()),
        ("length too small", patched(fine.clone(), 8, &be(30)).to_vec()),
        ("length negative", patched(fine.clone(), 8, &be(-1)).to_vec()),
        ("length too large", patched(fine.clone(), 8, &be(1000)).to_vec()),
        ("codec 5", patched(fine.clone(), 21, &[0, 5]).to_vec()),
        ("codec 7", patched(fine.clone(), 21, &[0, 7]).to_vec()),
        ("codec without compression", patched(fine.clone(), 21, &[0, 1]).to_vec()),
        ("append time", patched(fine.clone(), 21, &[0, 8]).to_vec()),
        ("unknown attributes", patched(fine.clone(), 21, &[1, 0]).to_vec()),
        ("delete horizon", patched(fine.clone(), 21, &[0, 64]).to_vec()),
        ("transactional", patched(fine.clone(), 21, &[0, 16]).to_vec()),
        ("control", control.to_vec()),
        ("wrong max timestamp", patched(fine.clone(), 35, &(TIME + 5).to_be_bytes()).to_vec()),
        (
            "no timestamp",
            patched(patched(fine.clone(), 27, &(-1_i64).to_be_bytes()), 35, &(-1_i64).to_be_bytes()).to_vec(),
        ),
        (
            "negative timestamp",
            patched(patched(fine.clone(), 27, &(-9_i64).to_be_bytes()), 35, &(-9_i64).to_be_bytes()).to_vec(),
        ),
        (
            "far future",
            patched(patched(fine.clone(), 27, &(TIME * 3).to_be_bytes()), 35, &(TIME * 3).to_be_bytes())
                .to_vec(),
        ),
        ("offset deltas wrong", patched(fine.clone(), 64, &[8]).to_vec()),
        ("record length wrong", patched(fine.clone(), 61, &[100]).to_vec()),
        ("negative record length", patched(fine.clone(), 61, &[1]).to_vec()),
        ("key length wrong", patched(fine.clone(), 65, &[100]).to_vec()),
        ("gzip", with_codec(Codec::Gzip).to_vec()),
        ("snappy", with_codec(Codec::Snappy).to_vec()),
        ("lz4", with_codec(Codec::Lz4).to_vec()),
        ("zstd", with_codec(Codec::Zstd).to_vec()),
        ("gzip, count 3", patched(with_codec(Codec::Gzip), 57, &be(3)).to_vec()),
        ("zstd, bytes wrong", patched(with_codec(Codec::Zstd), 70, &[9, 9, 9, 9]).to_vec()),
    ]
}

/// Each in the newest version that names topics, and in the oldest.
fn batches(session: &mut Session) {
    let fine = keyed(&["a", "b", "c"]);
    let cases = wrong_batches();
    for (label, records) in &cases {
        session.ask(9, &format!("batch {label}"), &to("p", records));
    }
    session.ask(8, "batch magic 1 in 8", &to("p", &cases[8].1));
    session.ask(6, "batch zstd in 6", &to("p", &with_codec(Codec::Zstd)));
    session.ask(3, "batch zstd in 3", &to("p", &with_codec(Codec::Zstd)));
    session.ask(3, "batch codec 5 in 3", &to("p", &patched(fine, 21, &[0, 5])));
    for (label, records) in cases.iter().skip(1) {
        session.ask(3, &format!("batch {label} as 3"), &to("p", records));
    }
}

/// What a topic's settings refuse or change.
fn topic_rules(session: &mut Session) {
    let settings: &[(&str, &[(&str, &str)])] = &[
        ("p-small", &[("max.message.bytes", "100")]),
        ("p-compacted", &[("cleanup.policy", "compact")]),
        ("p-append", &[("message.timestamp.type", "LogAppendTime")]),
        ("p-before", &[("message.timestamp.before.max.ms", "1000")]),
        ("p-after", &[("message.timestamp.after.max.ms", "1000")]),
        ("p-gzip", &[("compression.type", "gzip")]),
        ("p-plain", &[("compression.type", "uncompressed")]),
        ("p-isr", &[("min.insync.replicas", "2")]),
        ("p-segment", &[("segment.bytes", "1048576"), ("max.message.bytes", "2000000")]),
    ];
    let mut builder = BatchBuilder::new(0);
    builder
        .push_pair(TIME, Some(b"k"), Some(b"v"))
        .push_pair(TIME, None, Some(b"v"))
        .push_pair(TIME, None, None);
    let keyless = builder.build();
    let mut builder = BatchBuilder::new(0);
    builder.push_pair(TIME * 2, Some(b"k"), Some(b"v"));
    let future = builder.build();
    let mut builder = BatchBuilder::new(0);
    builder.push_pair(TIME, Some(b"k"), Some(&[7; 1_048_576]));
    let huge = builder.build();
    let mut builder = BatchBuilder::new(0);
    builder.push_pair(TIME, Some(b"k"), Some(&[7; 1_000_000]));
    let large = builder.build();
    for (topic, settings) in settings {
        make(session, topic, 1, settings);
        for version in [7, 12] {
            session.ask(version, &format!("{topic} fine"), &to(topic, &keyed(&["a", "b"])));
            session.ask(version, &format!("{topic} long"), &to(topic, &keyed(&["a"; 20])));
            session.ask(version, &format!("{topic} keyless"), &to(topic, &keyless));
            session.ask(version, &format!("{topic} future"), &to(topic, &future));
            session.ask(version, &format!("{topic} huge"), &to(topic, &huge));
            session.ask(version, &format!("{topic} large"), &to(topic, &large));
            session.ask(version, &format!("{topic} lz4"), &to(topic, &with_codec(Codec::Lz4)));
            session.ask(version, &format!("{topic} gzip"), &to(topic, &with_codec(Codec::Gzip)));
            session.ask(version, &format!("{topic} acks 1"), &to(topic, &keyed(&["a", "b"])).with_acks(1));
        }
    }
}

/// Producer ids, epochs and sequences.
fn idempotent(session: &mut Session) {
    make(session, "p-idem", 1, &[]);
    let batch = |id: i64, epoch: i16, sequence: i32, values: &[&str]| {
        let mut builder = BatchBuilder::new(0).producer(id, epoch, sequence);
        for value in values {
            builder.push_pair(TIME, Some(b"k"), Some(value.as_bytes()));
        }
        builder.build()
    };
    let mut both = batch(500, 0, 20, &["x"]).to_vec();
    both.extend_from_slice(&batch(500, 0, 21, &["y"]));
    let mut builder = BatchBuilder::new(0).producer(500, 2, 1).transactional(true);
    builder.push_pair(TIME, None, Some(b"v"));
    let transactional = builder.build();
    let steps: Vec<(&str, Vec<u8>)> = vec![
        ("first at 5", batch(499, 0, 5, &["a"]).to_vec()),
        ("first", batch(500, 0, 0, &["a", "b"]).to_vec()),
        ("first again", batch(500, 0, 0, &["a", "b"]).to_vec()),
        ("first again, shorter", batch(500, 0, 0, &["a"]).to_vec()),
        ("next", batch(500, 0, 2, &["c"]).to_vec()),
        ("gap", batch(500, 0, 9, &["d"]).to_vec()),
        ("first once more", batch(500, 0, 0, &["a", "b"]).to_vec()),
        ("epoch 1 at 7", batch(500, 1, 7, &["a"]).to_vec()),
        ("epoch 1", batch(500, 1, 0, &["a"]).to_vec()),
        ("epoch 0", batch(500, 0, 3, &["a"]).to_vec()),
        ("epoch -1", batch(500, -1, 1, &["a"]).to_vec()),
        ("sequence -1", batch(500, 1, -1, &["a"]).to_vec()),
        ("id without sequence", batch(500, 2, -1, &["a"]).to_vec()),
        ("two batches", both),
        ("epoch 2", batch(500, 2, 0, &["a"]).to_vec()),
        ("transactional", transactional.to_vec()),
    ];
    for (label, records) in steps {
        session.ask(9, &format!("idempotent {label}"), &to("p-idem", &records));
    }
}
