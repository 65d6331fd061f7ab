//! Families of the controller: `kafka.controller` and `kafka.server:type=raft-metrics`.

use controller::{ControllerSnapshot, TimesSnapshot};
use metadata::MetadataImage;

use super::text::{Kind, Text};

/// Writes the families.
pub(super) fn write(text: &mut Text, controller: &ControllerSnapshot, image: &MetadataImage) {
    write_controller(text, controller, image);
    write_raft(text, controller);
}

fn write_controller(text: &mut Text, controller: &ControllerSnapshot, image: &MetadataImage) {
    let mut gauge = |name: &str, help: &str, value: i64| {
        text.gauge(&format!("kafka_controller_kafkacontroller_{name}"), help, value);
    };
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    gauge("activecontrollercount", "1 on the active controller, else 0.", controller.is_active.into());
    let brokers = image.cluster.brokers.values();
    let fenced = brokers.filter(|broker| broker.fenced).count();
    gauge("fencedbrokercount", "Registered brokers that are fenced.", count(fenced));
    gauge(
        "activebrokercount",
        "Registered brokers that are not fenced.",
        count(image.cluster.brokers.len() - fenced),
    );
    gauge("globaltopiccount", "Topics of the cluster.", count(image.topics.iter().count()));
    let (mut all, mut offline, mut imbalanced) = (0, 0, 0);
    for partition in image.topics.iter().flat_map(|topic| topic.partitions.values()) {
        all += 1;
        offline += i64::from(partition.leader().is_none());
        imbalanced += i64::from(!partition.has_preferred_leader());
    }
    gauge("globalpartitioncount", "Partitions of the cluster.", all);
    gauge("offlinepartitionscount", "Partitions without a leader.", offline);
    gauge(
        "preferredreplicaimbalancecount",
        "Partitions that are not led by their preferred replica.",
        imbalanced,
    );
    gauge(
        "lastcommittedrecordoffset",
        "Last committed metadata offset that this controller knows.",
        image.provenance.last_offset,
    );
    gauge(
        "lastappliedrecordtimestamp",
        "Time of that record, ms since 1970.",
        image.provenance.last_timestamp_ms,
    );
    text.counter(
        "kafka_controller_kafkacontroller_newactivecontrollerscount",
        "How often this node became the active controller.",
        controller.activations,
    );
    text.counter(
        "kafka_controller_kafkacontroller_timedoutbrokerheartbeatcount",
        "Brokers that were fenced because they were silent.",
        controller.expired_sessions,
    );
    let mut family = text.family(
        "kafka_controller_controllereventmanager_eventqueueprocessingtimems",
        Kind::Summary,
        "Time that the controller's thread spent on events.",
    );
    family.summary(&[], ms(controller.processing.sum.as_secs_f64()), controller.processing.count);
    text.gauge(
        "kafka_server_snapshotemitter_latestsnapshotgeneratedoffset",
        "End of the newest metadata snapshot that this process wrote or loaded; 0 if none.",
        controller.snapshot_offset,
    );
}

fn write_raft(text: &mut Text, controller: &ControllerSnapshot) {
    let raft = &controller.raft;
    let mut gauge = |name: &str, help: &str, value: i64| {
        text.gauge(&format!("kafka_server_raftmetrics_{name}"), help, value);
    };
    gauge(
        "current_leader",
        "Id of the quorum's leader, -1 if unknown.",
        raft.leader_id.map_or(-1, Into::into),
    );
    gauge("current_epoch", "Epoch of the quorum.", raft.epoch.into());
    gauge("high_watermark", "Offset below which metadata is committed.", raft.high_watermark);
    gauge("log_start_offset", "First offset of the metadata log.", raft.log_start);
    gauge("log_end_offset", "Next offset of the metadata log.", raft.log_end);
    gauge("log_end_epoch", "Epoch of the last record of the metadata log.", raft.log_end_epoch.into());
    let mut family =
        text.family("kafka_server_raftmetrics_current_state", Kind::Gauge, "Role in the quorum.");
    family.sample(&[("current_state", raft.role)], 1);
    times(text, "election_latency", "Time without a leader, in ms.", &controller.elections);
    times(text, "commit_latency", "From the append of metadata to its commit, in ms.", &controller.commits);
}

/// Sum, count and longest of something of the Raft node.
fn times(text: &mut Text, name: &str, help: &str, times: &TimesSnapshot) {
    let name = format!("kafka_server_raftmetrics_{name}");
    text.family(&name, Kind::Summary, help).summary(&[], ms(times.sum.as_secs_f64()), times.count);
    text.gauge(&format!("{name}_max"), "The longest since the start, in ms.", ms(times.max.as_secs_f64()));
}

fn ms(seconds: f64) -> f64 {
    seconds * 1e3
}
