//! Topics that the broker asks the controller for: those of clients that name a missing topic, and its own.

use std::net::IpAddr;
use std::sync::Arc;

use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::{CreateTopicsRequest, TopicName};
use protocol::{ErrorCode, StrBytes};

use crate::context::Context;
use crate::controller_channel::{Origin, send};
use crate::metadata_cache::{GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC};

const CREATE_TOPICS_VERSION: i16 = 7;
/// Longest topic name: a folder name holds it, a dash and a partition number.
const MAX_NAME: usize = 249;

/// Kafka's rule for topic names (`Topic.validate`).
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Creates the topics that have valid names, for `client`, and waits until this broker can serve them.
///
/// Topics that cannot be created stay missing; the reason is logged, and the client sees the topic missing.
pub(crate) async fn create(ctx: &Arc<Context>, client: IpAddr, names: &[String]) {
    let topics: Vec<_> = names.iter().filter(|n| is_valid_name(n)).map(|n| creatable(ctx, n)).collect();
    if topics.is_empty() {
        return;
    }
    let request =
        CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(ctx.settings().request_timeout_ms);
    let client_id = ctx.config.node_id.to_string();
    let origin = Origin::Client(client);
    let sent = send(&*ctx.controller, origin, CREATE_TOPICS_VERSION, &client_id, &request);
    match sent.await {
        Ok((response, committed_offset)) => {
            log_failures(&response.topics);
            ctx.metadata.wait_for(committed_offset).await;
        }
        Err(e) => tracing::warn!("Auto topic creation failed for {} topics: {e}", names.len()),
    }
}

/// One line for each few topics, however many a client names.
fn log_failures(topics: &[CreatableTopicResult]) {
    const LINES: usize = 10;
    let is_failure = |topic: &&CreatableTopicResult| {
        !matches!(ErrorCode(topic.error_code), ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS)
    };
    for topic in topics.iter().filter(is_failure).take(LINES) {
        let (name, code) = (topic.name.as_str(), ErrorCode(topic.error_code).name());
        let why = topic.error_message.as_deref().unwrap_or_default();
        tracing::warn!("Auto topic creation failed for {name}: {code} {why}");
    }
    let more = topics.iter().filter(is_failure).count().saturating_sub(LINES);
    if more > 0 {
        tracing::warn!("Auto topic creation failed for {more} more topics of the same request");
    }
}

/// The broker's own topics have settings of their own; others have the cluster's defaults (-1).
fn creatable(ctx: &Context, name: &str) -> CreatableTopic {
    let settings = ctx.settings();
    let (partitions, replication, configs): (i32, i16, Vec<(&'static str, String)>) = match name {
        GROUP_METADATA_TOPIC => (
            settings.offsets_topic_num_partitions,
            settings.offsets_topic_replication_factor,
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
            ],
        ),
        TRANSACTION_STATE_TOPIC => (
            settings.transaction_state_log_num_partitions,
            settings.transaction_state_log_replication_factor,
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("segment.bytes", settings.transaction_state_log_segment_bytes.to_string()),
                ("min.insync.replicas", settings.transaction_state_log_min_isr.to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ],
        ),
        _ => (-1, -1, Vec::new()),
    };
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(replication)
        .with_configs(
            configs
                .into_iter()
                .map(|(key, value)| {
                    CreatableTopicConfig::default()
                        .with_name(StrBytes::from_static_str(key))
                        .with_value(Some(StrBytes::from_string(value)))
                })
                .collect(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rule() {
        for good in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
