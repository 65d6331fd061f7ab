//! Keys of the group and client-metrics resources.

use super::super::def::{ConfigDef, int, list, same, string};

/// Keys of a group (KIP-848, KIP-932, KIP-1071); the broker key `group.<name>` is the default.
pub(super) const GROUP: &[ConfigDef] = &[
    int("consumer.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .falls_back_to(&[same("group.consumer.heartbeat.interval.ms")]),
    int("consumer.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .falls_back_to(&[same("group.consumer.session.timeout.ms")]),
    string("share.auto.offset.reset").or("latest"),
    int("share.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .falls_back_to(&[same("group.share.heartbeat.interval.ms")]),
    string("share.isolation.level")
        .or("read_uncommitted")
        .one_of_any_case(&["read_committed", "read_uncommitted"]),
    int("share.record.lock.duration.ms")
        .or("30000")
        .at_least(1000)
        .falls_back_to(&[same("group.share.record.lock.duration.ms")]),
    int("share.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .falls_back_to(&[same("group.share.session.timeout.ms")]),
    int("streams.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .falls_back_to(&[same("group.streams.heartbeat.interval.ms")]),
    int("streams.num.standby.replicas")
        .or("0")
        .at_least(0)
        .falls_back_to(&[same("group.streams.num.standby.replicas")]),
    int("streams.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .falls_back_to(&[same("group.streams.session.timeout.ms")]),
];

/// Keys of a client-metrics subscription (KIP-714).
pub(super) const CLIENT_METRICS: &[ConfigDef] =
    &[int("interval.ms").or("300000"), list("match").or(""), list("metrics").or("")];
