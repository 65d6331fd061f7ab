//! The error codes in answers: which fields hold them, and the tally of the answer that a thread is writing.
//!
//! Handlers do not know of this: answers of generated messages are looked through here, by their API; Produce, Fetch
//! and ApiVersions, which write by hand, call [`note`]. Without a watched request a call costs one look at a cell.
//! An API that is not in the table below counts no codes.

use std::any::Any;
use std::cell::RefCell;
use std::iter::once;

use bytes::Bytes;
use protocol::messages::{
    AlterConfigsResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
    DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse, DescribeConfigsResponse,
    DescribeGroupsResponse, DescribeLogDirsResponse, DescribeProducersResponse, DescribeQuorumResponse,
    DescribeTopicPartitionsResponse, ElectLeadersResponse, FindCoordinatorResponse, HeartbeatResponse,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListGroupsResponse, ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse,
    OffsetFetchResponse, OffsetForLeaderEpochResponse, SyncGroupResponse, UnregisterBrokerResponse,
    UpdateFeaturesResponse,
};
use protocol::versions::ApiKey;
use protocol::{Decodable, ErrorCode, request};

/// The codes of one answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Places that hold NONE.
    pub(crate) none: u64,
    /// The others in the order of their first place, with the number of places.
    pub(crate) errors: Vec<(i16, u64)>,
}

impl Tally {
    fn add(&mut self, code: i16) {
        match self.errors.iter_mut().find(|(known, _)| *known == code) {
            _ if code == ErrorCode::NONE.code() => self.none += 1,
            Some((_, places)) => *places += 1,
            None => self.errors.push((code, 1)),
        }
    }

    /// The first error, or NONE.
    pub(crate) fn first(&self) -> ErrorCode {
        ErrorCode(self.errors.first().map_or(0, |(code, _)| *code))
    }
}

thread_local! {
    /// `None` while nobody watches.
    static TALLY: RefCell<Option<Tally>> = const { RefCell::new(None) };
}

/// From now on this thread writes an answer whose codes count.
pub(super) fn begin() {
    TALLY.set(Some(Tally::default()));
}

/// What was noted since [`begin`].
pub(super) fn end() -> Tally {
    TALLY.take().unwrap_or_default()
}

/// The answer that this thread is writing holds this code.
pub(crate) fn note(code: ErrorCode) {
    TALLY.with_borrow_mut(|tally| {
        if let Some(tally) = tally {
            tally.add(code.code());
        }
    });
}

fn is_watched() -> bool {
    TALLY.with_borrow(Option::is_some)
}

/// Likewise a whole answer of an API.
pub(crate) fn note_answer(api_key: i16, answer: &dyn Any) {
    if is_watched() {
        codes(api_key, answer, &mut |code| note(ErrorCode(code)));
    }
}

/// Likewise the frame of an answer, without its size, that was written elsewhere.
pub(crate) fn note_frame(api_key: i16, version: i16, frame: &Bytes) {
    if is_watched()
        && let Ok((_, body)) = request::parse_response_header(api_key, version, frame)
    {
        decoded_codes(api_key, version, &mut frame.slice(body..));
    }
}

/// Which fields hold codes. `forwarded` are answers that come as bytes.
macro_rules! answers {
    (own { $($key:ident: $answer:ty, |$a:ident| $codes:expr;)+ }
     forwarded { $($far_key:ident: $far:ty, |$f:ident| $far_codes:expr;)+ }) => {
        fn codes(api_key: i16, answer: &dyn Any, found: &mut dyn FnMut(i16)) {
            match api_key {
                $(ApiKey::$key => {
                    if let Some($a) = answer.downcast_ref::<$answer>() {
                        $codes.for_each(found);
                    }
                })+
                $(ApiKey::$far_key => {
                    if let Some($f) = answer.downcast_ref::<$far>() {
                        $far_codes.for_each(found);
                    }
                })+
                _ => {}
            }
        }

        fn decoded_codes(api_key: i16, version: i16, body: &mut Bytes) {
            match api_key {
                $(ApiKey::$far_key => {
                    if let Ok(answer) = <$far>::decode(body, version) {
                        note_answer(api_key, &answer);
                    }
                })+
                _ => {}
            }
        }
    };
}

answers! {
    own {
        LIST_OFFSETS: ListOffsetsResponse, |a| a.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        METADATA: MetadataResponse, |a| a.topics.iter()
            .flat_map(|t| once(t.error_code).chain(t.partitions.iter().map(|p| p.error_code)));
        OFFSET_COMMIT: OffsetCommitResponse, |a| a.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        OFFSET_FETCH: OffsetFetchResponse, |a| {
            let old = a.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            let group = |g: &'_ protocol::messages::offset_fetch_response::OffsetFetchResponseGroup| {
                let partitions = g.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
                once(g.error_code).chain(partitions).collect::<Vec<_>>()
            };
            once(a.error_code).chain(old).chain(a.groups.iter().flat_map(group))
        };
        FIND_COORDINATOR: FindCoordinatorResponse, |a| {
            let whole = a.coordinators.is_empty().then_some(a.error_code);
            whole.into_iter().chain(a.coordinators.iter().map(|c| c.error_code))
        };
        JOIN_GROUP: JoinGroupResponse, |a| once(a.error_code);
        HEARTBEAT: HeartbeatResponse, |a| once(a.error_code);
        LEAVE_GROUP: LeaveGroupResponse, |a| once(a.error_code).chain(a.members.iter().map(|m| m.error_code));
        SYNC_GROUP: SyncGroupResponse, |a| once(a.error_code);
        DESCRIBE_GROUPS: DescribeGroupsResponse, |a| a.groups.iter().map(|g| g.error_code);
        LIST_GROUPS: ListGroupsResponse, |a| once(a.error_code);
        DELETE_GROUPS: DeleteGroupsResponse, |a| a.results.iter().map(|r| r.error_code);
        OFFSET_DELETE: OffsetDeleteResponse, |a| once(a.error_code)
            .chain(a.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code));
        DELETE_RECORDS: DeleteRecordsResponse, |a| a.topics.iter()
            .flat_map(|t| t.partitions.iter().map(|p| p.error_code));
        INIT_PRODUCER_ID: InitProducerIdResponse, |a| once(a.error_code);
        OFFSET_FOR_LEADER_EPOCH: OffsetForLeaderEpochResponse, |a| a.topics.iter()
            .flat_map(|t| t.partitions.iter().map(|p| p.error_code));
        DESCRIBE_CONFIGS: DescribeConfigsResponse, |a| a.results.iter().map(|r| r.error_code);
        ALTER_CONFIGS: AlterConfigsResponse, |a| a.responses.iter().map(|r| r.error_code);
        INCREMENTAL_ALTER_CONFIGS: IncrementalAlterConfigsResponse, |a| a.responses.iter().map(|r| r.error_code);
        DESCRIBE_LOG_DIRS: DescribeLogDirsResponse, |a| once(a.error_code)
            .chain(a.results.iter().map(|r| r.error_code));
        DESCRIBE_CLUSTER: DescribeClusterResponse, |a| once(a.error_code);
        DESCRIBE_PRODUCERS: DescribeProducersResponse, |a| a.topics.iter()
            .flat_map(|t| &t.partitions).map(|p| p.error_code);
        DESCRIBE_TOPIC_PARTITIONS: DescribeTopicPartitionsResponse, |a| a.topics.iter()
            .flat_map(|t| once(t.error_code).chain(t.partitions.iter().map(|p| p.error_code)));
    }
    forwarded {
        CREATE_TOPICS: CreateTopicsResponse, |a| a.topics.iter().map(|t| t.error_code);
        DELETE_TOPICS: DeleteTopicsResponse, |a| a.responses.iter().map(|t| t.error_code);
        CREATE_PARTITIONS: CreatePartitionsResponse, |a| a.results.iter().map(|t| t.error_code);
        ELECT_LEADERS: ElectLeadersResponse, |a| once(a.error_code).chain(
            a.replica_election_results.iter().flat_map(|t| &t.partition_result).map(|p| p.error_code));
        DESCRIBE_QUORUM: DescribeQuorumResponse, |a| once(a.error_code)
            .chain(a.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code));
        UPDATE_FEATURES: UpdateFeaturesResponse, |a| once(a.error_code)
            .chain(a.results.iter().map(|r| r.error_code));
        UNREGISTER_BROKER: UnregisterBrokerResponse, |a| once(a.error_code);
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use protocol::Encodable;
    use protocol::messages::create_topics_response::CreatableTopicResult;
    use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    #[test]
    fn codes_are_found_in_answers_and_frames() {
        let partition = |code| MetadataResponsePartition::default().with_error_code(code);
        let topic = MetadataResponseTopic::default().with_error_code(0);
        let answer = MetadataResponse::default().with_topics(vec![topic.with_partitions(vec![
            partition(5),
            partition(0),
            partition(9),
        ])]);
        note_answer(ApiKey::METADATA, &answer);
        assert_eq!(end(), Tally::default(), "nobody watched");
        begin();
        note_answer(ApiKey::METADATA, &answer);
        note(ErrorCode(9));
        let tally = end();
        assert_eq!((tally.none, &tally.errors[..]), (2, &[(5, 1), (9, 2)][..]));
        assert_eq!(tally.first(), ErrorCode(5));

        let topic = CreatableTopicResult::default().with_error_code(36);
        let mut frame = BytesMut::new();
        request::put_response_header(ApiKey::CREATE_TOPICS, 7, 1, &mut frame);
        CreateTopicsResponse::default().with_topics(vec![topic]).encode(&mut frame, 7).unwrap();
        begin();
        note_frame(ApiKey::CREATE_TOPICS, 7, &frame.freeze());
        assert_eq!(end().errors, [(36, 1)]);
    }
}
