//! Replication, topic defaults, quotas and metrics.
//!
//! Keys, types and defaults are those of Apache Kafka 4.1, in the order of their names.

use super::super::def::{ConfigDef, boolean, class, int, list, long, string};

pub(super) const KEYS: &[ConfigDef] = &[
    class("alter.config.policy.class.name"),
    int("alter.log.dirs.replication.quota.window.num").or("11").at_least(1).used(),
    int("alter.log.dirs.replication.quota.window.size.seconds").or("1").at_least(1).used(),
    boolean("auto.create.topics.enable").or("true").used(),
    boolean("auto.leader.rebalance.enable").or("true").used(),
    class("client.quota.callback.class"),
    int("controller.quota.window.num").or("11").at_least(1),
    int("controller.quota.window.size.seconds").or("1").at_least(1),
    class("create.topic.policy.class.name"),
    int("default.replication.factor").or("1").used(),
    int("delete.records.purgatory.purge.interval.requests").or("1"),
    boolean("delete.topic.enable").or("true").used(),
    int("fetch.max.bytes").or("57671680").at_least(1024).used(),
    int("fetch.purgatory.purge.interval.requests").or("1000"),
    int("kafka.metrics.polling.interval.secs").or("10").at_least(1),
    list("kafka.metrics.reporters").or(""),
    long("leader.imbalance.check.interval.seconds").or("300").at_least(1).used(),
    list("metric.reporters").or("org.apache.kafka.common.metrics.JmxReporter").cluster_wide(),
    int("metrics.num.samples").or("2").at_least(1),
    string("metrics.recording.level").or("INFO"),
    long("metrics.sample.window.ms").or("30000").at_least(1),
    int("min.insync.replicas").or("1").at_least(1).cluster_wide().used(),
    int("num.partitions").or("1").at_least(1).used(),
    int("num.replica.fetchers").or("1").cluster_wide(),
    int("producer.purgatory.purge.interval.requests").or("1000"),
    int("quota.window.num").or("11").at_least(1),
    int("quota.window.size.seconds").or("1").at_least(1),
    int("replica.fetch.backoff.ms").or("1000").at_least(0).used(),
    int("replica.fetch.max.bytes").or("1048576").at_least(0).used(),
    int("replica.fetch.min.bytes").or("1").used(),
    int("replica.fetch.response.max.bytes").or("10485760").at_least(0).used(),
    int("replica.fetch.wait.max.ms").or("500").used(),
    long("replica.high.watermark.checkpoint.interval.ms").or("5000").used(),
    long("replica.lag.time.max.ms").or("30000").used(),
    string("replica.selector.class").used(),
    int("replica.socket.receive.buffer.bytes").or("65536"),
    int("replica.socket.timeout.ms").or("30000").used(),
    int("replication.quota.window.num").or("11").at_least(1).used(),
    int("replication.quota.window.size.seconds").or("1").at_least(1).used(),
    int("telemetry.max.bytes").or("1048576").at_least(1),
    boolean("unclean.leader.election.enable").or("false").cluster_wide().used(),
];

/// Keys that exist only as dynamic ones (`QuotaConfig.brokerQuotaConfigs`).
pub(super) const DYNAMIC_ONLY: &[ConfigDef] = &[
    long("leader.replication.throttled.rate").or("9223372036854775807").at_least(0).cluster_wide().used(),
    long("follower.replication.throttled.rate").or("9223372036854775807").at_least(0).cluster_wide().used(),
    long("replica.alter.log.dirs.io.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .used(),
];
