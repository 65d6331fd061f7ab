//! Families of the broker, named as the usual rules of the Prometheus JMX exporter name Kafka's MBeans.
//!
//! Families by topic and partition are bounded: topics beyond [`TOPICS_MAX`] and partitions beyond
//! [`PARTITIONS_MAX`], in the order of their names, are in the sums only.

use broker::{BUCKETS_MS, Flow, FlowCounts, PartitionSnapshot, Probe, Snapshot};
use protocol::{ErrorCode, versions};

use super::text::{Kind, Label, Text};

/// Topics that have samples of their own.
const TOPICS_MAX: usize = 1_000;
/// Likewise partitions.
const PARTITIONS_MAX: usize = 10_000;

/// Writes the families.
pub(super) fn write(text: &mut Text, probe: &Probe) {
    text.gauge(
        "kafka_server_kafkaserver_brokerstate",
        "Kafka's BrokerState: 1 starting, 2 recovery, 3 running, 7 shutting down.",
        probe.stage().code(),
    );
    write_requests(text, probe);
    write_connections(text, probe);
    if let Some(snapshot) = probe.snapshot() {
        write_topics(text, &snapshot);
        write_replicas(text, &snapshot);
        write_partitions(text, &snapshot.partitions);
        write_dirs(text, &snapshot);
        write_sessions(text, &snapshot);
        write_memory(text, &snapshot);
        write_groups(text, &snapshot);
        write_metadata(text, &snapshot);
    }
}

fn write_requests(text: &mut Text, probe: &Probe) {
    let apis = probe.apis();
    let mut family = text.family(
        "kafka_network_requestmetrics_requests_total",
        Kind::Counter,
        "Requests that were answered, or needed no answer.",
    );
    for api in &apis {
        for (version, count) in &api.versions {
            family.sample(&[("request", api.name), ("version", &version.to_string())], count);
        }
    }
    let mut family = text.family(
        "kafka_network_requestmetrics_errors_total",
        Kind::Counter,
        "Error codes in answers, one for each place that has one; NONE is no error.",
    );
    for api in apis.iter().filter(|api| api.succeeded > 0) {
        family.sample(&[("request", api.name), ("error", ErrorCode::NONE.name())], api.succeeded);
    }
    for (key, code, count) in probe.errors() {
        let name = versions::api(key).map_or("Unknown", |api| api.name);
        family.sample(&[("request", name), ("error", ErrorCode(code).name())], count);
    }
    let mut family = text.family(
        "kafka_network_requestmetrics_totaltimems",
        Kind::Histogram,
        "Time of a request from its handling until its answer is ready to be sent, in ms.",
    );
    for api in &apis {
        let sum = (api.local + api.remote).as_secs_f64() * 1e3;
        family.histogram(&[("request", api.name)], &BUCKETS_MS, &api.times, sum);
    }
    for (name, help) in [
        ("localtimems", "Of the time of a request, that of work, in ms."),
        ("remotetimems", "Of the time of a request, that of waiting for others, in ms."),
    ] {
        let name = format!("kafka_network_requestmetrics_{name}");
        let mut family = text.family(&name, Kind::Summary, help);
        for api in &apis {
            let time = if name.ends_with("localtimems") { api.local } else { api.remote };
            family.summary(&[("request", api.name)], time.as_secs_f64() * 1e3, api.times.iter().sum());
        }
    }
    let mut family = text.family(
        "kafka_network_requestmetrics_responsesendtimems",
        Kind::Summary,
        "Time from when an answer is ready until the socket has taken all of it, in ms.",
    );
    for api in apis.iter().filter(|api| api.sent > 0) {
        family.summary(&[("request", api.name)], api.sending.as_secs_f64() * 1e3, api.sent);
    }
}

fn write_connections(text: &mut Text, probe: &Probe) {
    let connections = probe.connections();
    let mut family = text.family(
        "kafka_server_socket_server_metrics_connection_count",
        Kind::Gauge,
        "Open connections of a listener.",
    );
    for listener in &connections {
        family.sample(&[("listener", &listener.listener)], listener.opened - listener.closed);
    }
    let mut family = text.family(
        "kafka_server_socket_server_metrics_connection_creation_total",
        Kind::Counter,
        "Connections that a listener accepted.",
    );
    for listener in &connections {
        family.sample(&[("listener", &listener.listener)], listener.opened);
    }
    let mut family = text.family(
        "kafka_server_socket_server_metrics_connection_close_total",
        Kind::Counter,
        "Of these, those that ended.",
    );
    for listener in &connections {
        family.sample(&[("listener", &listener.listener)], listener.closed);
    }
}

const FLOWS: [(Flow, &str, &str); 10] = [
    (Flow::BytesIn, "bytesin", "Bytes of batches that were appended."),
    (Flow::BytesOut, "bytesout", "Bytes of batches that were sent to consumers."),
    (Flow::BytesRejected, "bytesrejected", "Bytes of batches that were refused as too large."),
    (Flow::ReplicationBytesIn, "replicationbytesin", "Bytes of batches that were copied from leaders."),
    (Flow::ReplicationBytesOut, "replicationbytesout", "Bytes of batches that were sent to followers."),
    (Flow::MessagesIn, "messagesin", "Records that were appended."),
    (Flow::ProduceRequests, "totalproducerequests", "Partitions named in Produce requests."),
    (Flow::ProduceFailures, "failedproducerequests", "Of these, those that failed without a known cause."),
    (Flow::FetchRequests, "totalfetchrequests", "Reads of a partition for Fetch requests."),
    (Flow::FetchFailures, "failedfetchrequests", "Of these, those that failed without a known cause."),
];

fn write_topics(text: &mut Text, snapshot: &Snapshot) {
    for (flow, name, help) in FLOWS {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        let help = format!("{help} Without a topic: of all, those that are gone included.");
        let mut family = text.family(&name, Kind::Counter, &help);
        family.sample(&[], snapshot.traffic.get(flow));
        for (topic, counts) in snapshot.topics.iter().take(TOPICS_MAX) {
            let counts: &FlowCounts = counts;
            family.sample(&[("topic", topic)], counts.get(flow));
        }
    }
    let beyond = snapshot.topics.len().saturating_sub(TOPICS_MAX);
    text.gauge("minikafka_topics_without_metrics", "Topics that have no samples of their own.", beyond);
}

fn write_replicas(text: &mut Text, snapshot: &Snapshot) {
    let replicas = &snapshot.partitions;
    let count = |of: fn(&PartitionSnapshot) -> bool| replicas.iter().filter(|p| of(p)).count();
    for (name, help, value) in [
        ("partitioncount", "Replicas on this broker.", replicas.len()),
        ("leadercount", "Of these, those that it leads.", count(|p| p.is_leader)),
        ("offlinereplicacount", "Of these, those whose log directory failed.", count(|p| p.is_offline)),
        (
            "underreplicatedpartitions",
            "Of the led ones, those with replicas that are not in sync.",
            count(|p| p.is_leader && p.in_sync < p.replicas),
        ),
        (
            "underminisrpartitioncount",
            "Of the led ones, those with fewer in-sync replicas than min.insync.replicas.",
            count(|p| p.is_leader && p.in_sync < p.min_in_sync),
        ),
        (
            "atminisrpartitioncount",
            "Of the led ones, those with just as many.",
            count(|p| p.is_leader && p.in_sync == p.min_in_sync),
        ),
    ] {
        text.gauge(&format!("kafka_server_replicamanager_{name}"), help, value);
    }
    for (name, help, value) in [
        (
            "isrshrinks",
            "In-sync sets of led partitions that lost members.",
            snapshot.traffic.get(Flow::IsrShrinks),
        ),
        (
            "isrexpands",
            "In-sync sets of led partitions that won members.",
            snapshot.traffic.get(Flow::IsrExpands),
        ),
    ] {
        text.counter(&format!("kafka_server_replicamanager_{name}_total"), help, value);
    }
}

fn write_partitions(text: &mut Text, partitions: &[PartitionSnapshot]) {
    type Value = fn(&PartitionSnapshot) -> i64;
    let families: [(&str, &str, Value); 6] = [
        ("kafka_log_log_size", "Bytes of the .log files.", |p| i64::try_from(p.bytes).unwrap_or(i64::MAX)),
        ("kafka_log_log_logstartoffset", "First offset.", |p| p.log_start),
        ("kafka_log_log_logendoffset", "Next offset.", |p| p.log_end),
        ("kafka_log_log_numlogsegments", "Segments.", |p| i64::try_from(p.segments).unwrap_or(i64::MAX)),
        (
            "kafka_cluster_partition_underreplicated",
            "1 if this broker leads it and not all replicas are in sync.",
            |p| i64::from(p.is_leader && p.in_sync < p.replicas),
        ),
        ("kafka_cluster_partition_insyncreplicascount", "Members of the in-sync set.", |p| {
            i64::try_from(p.in_sync).unwrap_or(i64::MAX)
        }),
    ];
    for (name, help, value) in families {
        let mut family = text.family(name, Kind::Gauge, help);
        for partition in partitions.iter().take(PARTITIONS_MAX) {
            let labels: [Label<'_>; 2] =
                [("topic", &partition.topic), ("partition", &partition.partition.to_string())];
            family.sample(&labels, value(partition));
        }
    }
    let beyond = partitions.len().saturating_sub(PARTITIONS_MAX);
    text.gauge(
        "minikafka_partitions_without_metrics",
        "Partitions that have no samples of their own.",
        beyond,
    );
}

fn write_dirs(text: &mut Text, snapshot: &Snapshot) {
    let flush_ms = snapshot.traffic.get(Flow::FlushNanoseconds) as f64 / 1e6;
    text.family("kafka_log_logflushstats_logflushrateandtimems", Kind::Summary, "Syncs of logs, in ms.")
        .summary(&[], flush_ms, snapshot.traffic.get(Flow::Flushes));
    text.gauge(
        "kafka_log_logmanager_offlinelogdirectorycount",
        "Log directories that failed.",
        snapshot.dirs.iter().filter(|dir| dir.is_offline).count(),
    );
    let mut family = text.family(
        "kafka_log_logmanager_logdirectoryoffline",
        Kind::Gauge,
        "1 for a log directory that failed, else 0.",
    );
    for dir in &snapshot.dirs {
        family.sample(&[("logDirectory", &dir.path)], u8::from(dir.is_offline));
    }
}

fn write_sessions(text: &mut Text, snapshot: &Snapshot) {
    let (sessions, partitions) = snapshot.fetch_sessions;
    text.gauge(
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "Incremental fetch sessions.",
        sessions,
    );
    text.gauge(
        "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached",
        "Partitions in them.",
        partitions,
    );
    text.counter(
        "kafka_server_fetchsessioncache_incrementalfetchsessionevictions_total",
        "Sessions that had to go for others.",
        snapshot.fetch_session_evictions,
    );
    let mut family = text.family(
        "kafka_server_delayedoperationpurgatory_purgatorysize",
        Kind::Gauge,
        "Requests that wait: Produce for replicas, Fetch for records.",
    );
    family.sample(&[("delayedOperation", "Fetch")], snapshot.waiting_fetches);
    family.sample(&[("delayedOperation", "Produce")], snapshot.waiting_produces);
}

fn write_memory(text: &mut Text, snapshot: &Snapshot) {
    let (used, limit) = snapshot.request_memory;
    for (name, help, bytes) in [
        ("memorypoolused", "Bytes of the budget for requests in flight that are in use.", used),
        ("memorypoolavailable", "Bytes of it that are left.", limit.saturating_sub(used)),
    ] {
        text.gauge(&format!("kafka_network_socketserver_{name}"), help, bytes);
    }
}

fn write_groups(text: &mut Text, snapshot: &Snapshot) {
    let classic = |state: Option<&str>| -> u64 {
        let classic = snapshot.groups.iter().filter(|((kind, _), _)| *kind == "classic");
        classic.filter(|((_, s), _)| state.is_none_or(|state| *s == state)).map(|(_, n)| n).sum()
    };
    for (name, state) in [
        ("", None),
        ("empty", Some("Empty")),
        ("preparingrebalance", Some("PreparingRebalance")),
        ("completingrebalance", Some("CompletingRebalance")),
        ("stable", Some("Stable")),
        ("dead", Some("Dead")),
    ] {
        let help = match state {
            None => "Classic groups that this broker coordinates.".to_owned(),
            Some(state) => format!("Of these, those in the state {state}."),
        };
        let name = format!("kafka_coordinator_group_groupmetadatamanager_numgroups{name}");
        text.gauge(&name, &help, classic(state));
    }
    let mut family = text.family(
        "kafka_server_group_coordinator_metrics_group_count",
        Kind::Gauge,
        "Groups that this broker coordinates.",
    );
    for protocol in ["classic", "consumer", "share", "streams"] {
        let groups = snapshot.groups.iter().filter(|((kind, _), _)| *kind == protocol);
        family.sample(&[("protocol", protocol)], groups.map(|(_, n)| n).sum::<u64>());
    }
}

fn write_metadata(text: &mut Text, snapshot: &Snapshot) {
    text.gauge(
        "kafka_server_brokermetadatametrics_last_applied_record_offset",
        "Last metadata offset that the broker applied.",
        snapshot.applied_offset,
    );
    text.gauge(
        "kafka_server_brokermetadatametrics_last_applied_record_timestamp",
        "Time of that record, ms since 1970.",
        snapshot.applied_timestamp_ms,
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn families_by_topic_are_bounded() {
        let topics = (0..TOPICS_MAX + 7).map(|n| (Arc::from(format!("t{n:05}")), FlowCounts::default()));
        let partition = |n: usize| PartitionSnapshot {
            topic: "t".into(),
            partition: i32::try_from(n).unwrap(),
            is_leader: n.is_multiple_of(2),
            is_offline: false,
            in_sync: 1,
            replicas: 2,
            min_in_sync: 1,
            log_start: 0,
            high_watermark: 0,
            log_end: 0,
            bytes: 0,
            segments: 1,
        };
        let partitions = (0..PARTITIONS_MAX + 8).map(partition).collect();
        let snapshot = Snapshot { topics: topics.collect(), partitions, ..Snapshot::default() };
        let mut text = Text::default();
        write_topics(&mut text, &snapshot);
        write_replicas(&mut text, &snapshot);
        write_partitions(&mut text, &snapshot.partitions);
        let text = text.finish();
        let samples = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(samples("kafka_server_brokertopicmetrics_bytesin_total{"), TOPICS_MAX);
        assert_eq!(samples("kafka_log_log_size{"), PARTITIONS_MAX);
        for line in [
            "minikafka_topics_without_metrics 7",
            "minikafka_partitions_without_metrics 8",
            "kafka_server_replicamanager_partitioncount 10008",
            "kafka_server_replicamanager_underreplicatedpartitions 5004",
        ] {
            assert_eq!(samples(line), 1, "{line}");
        }
    }
}
