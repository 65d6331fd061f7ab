//! Topic keys, and the broker keys that stand in when a topic does not set them.

use super::super::def::{Check, ConfigDef, boolean, double, hours, int, list, long, minutes, same, string};
use super::{CLEANUP_POLICIES, COMPRESSION_TYPES, TIMESTAMP_TYPES};

pub(super) const KEYS: &[ConfigDef] = &[
    list("cleanup.policy")
        .or("delete")
        .list_of(CLEANUP_POLICIES)
        .used()
        .falls_back_to(&[same("log.cleanup.policy")]),
    int("compression.gzip.level")
        .or("-1")
        .check(Check::GzipLevel)
        .used()
        .falls_back_to(&[same("compression.gzip.level")]),
    int("compression.lz4.level")
        .or("9")
        .between(1, 17)
        .used()
        .falls_back_to(&[same("compression.lz4.level")]),
    string("compression.type")
        .or("producer")
        .one_of(COMPRESSION_TYPES)
        .used()
        .falls_back_to(&[same("compression.type")]),
    int("compression.zstd.level")
        .or("3")
        .between(-131_072, 22)
        .used()
        .falls_back_to(&[same("compression.zstd.level")]),
    long("delete.retention.ms")
        .or("86400000")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.cleaner.delete.retention.ms")]),
    long("file.delete.delay.ms")
        .or("60000")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.segment.delete.delay.ms")]),
    long("flush.messages")
        .or("9223372036854775807")
        .at_least(1)
        .used()
        .falls_back_to(&[same("log.flush.interval.messages")]),
    long("flush.ms")
        .or("9223372036854775807")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
    list("follower.replication.throttled.replicas").or("").check(Check::ThrottledReplicas).used(),
    int("index.interval.bytes")
        .or("4096")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.index.interval.bytes")]),
    list("leader.replication.throttled.replicas").or("").check(Check::ThrottledReplicas).used(),
    long("local.retention.bytes").or("-2").at_least(-2).falls_back_to(&[same("log.local.retention.bytes")]),
    long("local.retention.ms").or("-2").at_least(-2).falls_back_to(&[same("log.local.retention.ms")]),
    long("max.compaction.lag.ms")
        .or("9223372036854775807")
        .at_least(1)
        .used()
        .falls_back_to(&[same("log.cleaner.max.compaction.lag.ms")]),
    int("max.message.bytes").or("1048588").at_least(0).used().falls_back_to(&[same("message.max.bytes")]),
    long("message.timestamp.after.max.ms")
        .or("3600000")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.message.timestamp.after.max.ms")]),
    long("message.timestamp.before.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.message.timestamp.before.max.ms")]),
    string("message.timestamp.type")
        .or("CreateTime")
        .one_of(TIMESTAMP_TYPES)
        .used()
        .falls_back_to(&[same("log.message.timestamp.type")]),
    double("min.cleanable.dirty.ratio")
        .or("0.5")
        .between(0, 1)
        .used()
        .falls_back_to(&[same("log.cleaner.min.cleanable.ratio")]),
    long("min.compaction.lag.ms")
        .or("0")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.cleaner.min.compaction.lag.ms")]),
    int("min.insync.replicas").or("1").at_least(1).used().falls_back_to(&[same("min.insync.replicas")]),
    boolean("preallocate").or("false").falls_back_to(&[same("log.preallocate")]),
    boolean("remote.log.copy.disable").or("false"),
    boolean("remote.log.delete.on.disable").or("false"),
    boolean("remote.storage.enable").or("false"),
    long("retention.bytes").or("-1").used().falls_back_to(&[same("log.retention.bytes")]),
    long("retention.ms").or("604800000").at_least(-1).used().falls_back_to(&[
        same("log.retention.ms"),
        minutes("log.retention.minutes"),
        hours("log.retention.hours"),
    ]),
    int("segment.bytes")
        .or("1073741824")
        .at_least(1_048_576)
        .used()
        .falls_back_to(&[same("log.segment.bytes")]),
    int("segment.index.bytes")
        .or("10485760")
        .at_least(4)
        .used()
        .falls_back_to(&[same("log.index.size.max.bytes")]),
    long("segment.jitter.ms")
        .or("0")
        .at_least(0)
        .used()
        .falls_back_to(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]),
    long("segment.ms")
        .or("604800000")
        .at_least(1)
        .used()
        .falls_back_to(&[same("log.roll.ms"), hours("log.roll.hours")]),
    boolean("unclean.leader.election.enable")
        .or("false")
        .used()
        .falls_back_to(&[same("unclean.leader.election.enable")]),
];
