//! Answers of Produce and Fetch, which are written by hand, read by the generated decoder.
//!
//! Invariants: whatever is to be answered, in every version, the frame has the size that it names and decodes to what
//! was to be said, to its last byte.

use broker::fuzzing::{AnsweredPartition, Hints, encode_fetch, encode_produce};
use bytes::Bytes;
use protocol::messages::{FetchResponse, ProduceResponse};
use protocol::request::parse_response_header;
use protocol::versions::ApiKey;
use protocol::{Decodable, ErrorCode};
use storage::{AppendArgs, AppendOrigin, Log, LogConfig, LogSlice, OpenArgs};
use uuid::Uuid;

use crate::scratch::with_folder;
use crate::source::Source;

/// API, version, hints, then partitions.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let hints = hints(&mut source);
    if source.flag() {
        let version = 3 + source.below(11) as i16;
        let partitions = partitions(&mut source, None);
        produce(version, source.int(), &partitions, &hints);
    } else {
        let version = 4 + source.below(15) as i16;
        let records = source.flag().then(|| with_folder(records)).flatten();
        let partitions = partitions(&mut source, records);
        fetch(version, source.int(), (source.short(), source.int()), &partitions, &hints);
    }
}

fn hints(source: &mut Source<'_>) -> Hints {
    Hints {
        leader: source.flag().then(|| (source.int(), source.int())),
        endpoint: source.flag().then(|| (source.text(), source.int(), source.flag().then(|| source.text()))),
    }
}

/// Three records in a log.
fn records(dir: &std::path::Path) -> Option<LogSlice> {
    let (mut log, _) = Log::open(dir, LogConfig::default(), OpenArgs::new_log(0)).ok()?;
    let mut builder = protocol::batch::BatchBuilder::new(0);
    for value in [&b"a"[..], b"b", b"c"] {
        builder.push_pair(0, None, Some(value));
    }
    let args = AppendArgs { leader_epoch: 0, now_ms: 0, origin: AppendOrigin::Client };
    log.append_as_leader(&mut builder.build(), args).ok()?;
    log.read(0, 1 << 20, log.log_end_offset(), true).ok()
}

fn partitions(source: &mut Source<'_>, records: Option<LogSlice>) -> Vec<AnsweredPartition> {
    let mut all = Vec::new();
    while !source.is_empty() && all.len() < 40 {
        let kind = source.byte();
        all.push(AnsweredPartition {
            topic: source.text(),
            topic_id: Uuid::from_u64_pair(source.wide() as u64, 7),
            index: source.int(),
            error: if kind & 1 == 0 { 0 } else { source.short() },
            offset: source.long(),
            second: source.long(),
            log_start_offset: source.long(),
            record_errors: (0..kind >> 6).map(|_| (source.int(), source.text())).collect(),
            message: (kind & 2 != 0).then(|| source.text()),
            diverging: (kind & 4 != 0).then(|| (source.int(), source.long())),
            aborted: (kind & 8 != 0)
                .then(|| (0..source.below(5)).map(|_| (source.long(), source.long())).collect()),
            records: records.clone().filter(|_| kind & 16 != 0),
        });
    }
    all
}

fn body_of(frame: &[u8], key: i16, version: i16, correlation_id: i32) -> Bytes {
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
    let (id, start) = parse_response_header(key, version, &frame[4..]).expect("an answer has a header");
    assert_eq!(id, correlation_id);
    Bytes::copy_from_slice(&frame[4 + start..])
}

fn produce(version: i16, correlation_id: i32, partitions: &[AnsweredPartition], hints: &Hints) {
    let frame = encode_produce(version, correlation_id, partitions, hints);
    let mut body = body_of(&frame, ApiKey::PRODUCE, version, correlation_id);
    let answer = ProduceResponse::decode(&mut body, version).expect("an answer can be decoded");
    assert!(body.is_empty(), "{} bytes behind the answer", body.len());
    assert_eq!(answer.responses.len(), partitions.len());
    for (topic, said) in answer.responses.iter().zip(partitions) {
        if version >= 13 {
            assert_eq!(topic.topic_id, said.topic_id);
        } else {
            assert_eq!(topic.name.as_str(), said.topic);
        }
        let [read] = &topic.partition_responses[..] else { panic!("one partition per topic") };
        assert_eq!((read.index, read.error_code, read.base_offset), (said.index, said.error, said.offset));
        assert_eq!(read.log_append_time_ms, said.second);
        assert_eq!(read.log_start_offset, if version >= 5 { said.log_start_offset } else { -1 });
        let errors = read.record_errors.iter().map(|error| {
            (error.batch_index, error.batch_index_error_message.as_deref().unwrap_or_default().to_owned())
        });
        let (errors, message) = (errors.collect::<Vec<_>>(), read.error_message.as_deref());
        if version >= 8 {
            assert_eq!((errors, message), (said.record_errors.clone(), said.message.as_deref()));
        }
        let moved = version >= 10 && said.error == ErrorCode::NOT_LEADER_OR_FOLLOWER.code();
        if let (Some((id, epoch)), true) = (hints.leader, moved) {
            let leader = &read.current_leader;
            assert_eq!((leader.leader_id.0, leader.leader_epoch), (id, epoch));
            assert_eq!(answer.node_endpoints.is_empty(), hints.endpoint.is_none());
        }
    }
}

fn fetch(
    version: i16,
    correlation_id: i32,
    whole: (i16, i32),
    partitions: &[AnsweredPartition],
    hints: &Hints,
) {
    let (frame, size) = encode_fetch(version, correlation_id, whole, partitions, hints);
    assert_eq!(frame.len(), size, "small records stand in the frame");
    let mut body = body_of(&frame, ApiKey::FETCH, version, correlation_id);
    let answer = FetchResponse::decode(&mut body, version).expect("an answer can be decoded");
    assert!(body.is_empty(), "{} bytes behind the answer", body.len());
    if version >= 7 {
        assert_eq!((answer.error_code, answer.session_id), whole);
    }
    let read = answer.responses.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
    let read: Vec<_> = read.collect();
    assert_eq!(read.len(), partitions.len());
    for ((topic, read), said) in read.into_iter().zip(partitions) {
        if version >= 13 {
            assert_eq!(topic.topic_id, said.topic_id);
        } else {
            assert_eq!(topic.topic.as_str(), said.topic);
        }
        assert_eq!((read.partition_index, read.error_code), (said.index, said.error));
        assert_eq!((read.high_watermark, read.last_stable_offset), (said.offset, said.second));
        assert_eq!(read.log_start_offset, if version >= 5 { said.log_start_offset } else { -1 });
        let aborted = read.aborted_transactions.as_ref();
        let aborted = aborted.map(|all| all.iter().map(|t| (t.producer_id.0, t.first_offset)).collect());
        assert_eq!(aborted, said.aborted);
        let records = said.records.as_ref().map(|slice| slice.read().expect("a file in memory"));
        assert_eq!(read.records.as_deref().unwrap_or_default(), records.unwrap_or_default());
        if version >= 12 {
            let diverging = said.diverging.unwrap_or((-1, -1));
            assert_eq!((read.diverging_epoch.epoch, read.diverging_epoch.end_offset), diverging);
        }
    }
}
