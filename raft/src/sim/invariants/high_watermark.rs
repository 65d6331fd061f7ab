//! High watermarks never go down, neither a node's nor from leader to leader; a majority has what is below.

use super::super::cluster::Cluster;
use super::Observed;
use crate::log::Log;
use crate::node::RoleName;

pub(super) fn check(observed: &mut Observed, cluster: &Cluster) {
    for (id, replica) in &cluster.replicas {
        let Some(node) = &replica.node else { continue };
        let Some(high_watermark) = node.high_watermark() else { continue };
        let last = observed.high_watermarks.insert(*id, high_watermark).unwrap_or(0);
        assert!(last <= high_watermark, "node {id}: high watermark {high_watermark} after {last}");
        assert!(high_watermark <= node.log().log_end_offset(), "node {id}: high watermark above its log end");
        let told = node.describe_quorum().map_or(-1, |quorum| quorum.high_watermark);
        if node.role() != RoleName::Leader || told < 0 {
            continue;
        }
        let (epoch, before) = observed.leader_high_watermark;
        if node.epoch() >= epoch {
            assert!(before <= told, "leader {id}: high watermark {told}, an earlier one had {before}");
            observed.leader_high_watermark = (node.epoch(), told);
        }
        if !observed.dynamic {
            let has = |voter: i32| cluster.replicas[&voter].log().log_end_offset() >= told;
            let count = node.voters().ids().filter(|voter| has(*voter)).count();
            assert!(
                count >= node.voters().majority(),
                "leader {id}: {count} voters have what is below {told}"
            );
        }
    }
}
