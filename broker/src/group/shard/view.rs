//! Groups as administrators see them.

use std::sync::Arc;

use bytes::Bytes;

use super::super::classic::State;
use super::super::modern::{ConsumerEpochs, ModernKind};
use super::Shard;

/// A line of ListGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Group id.
    pub group_id: Arc<str>,
    /// `consumer`, `connect`, ...; empty for a group that only has offsets.
    pub protocol_type: Arc<str>,
    /// State name.
    pub state: &'static str,
    /// `classic`, `consumer`, `share` or `streams`.
    pub group_type: &'static str,
}

/// A classic group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// State name.
    pub state: &'static str,
    /// `consumer`, `connect`, ...; empty for a group that only has offsets.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is Stable.
    pub protocol: Arc<str>,
    /// Members.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    /// Member id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Client id.
    pub client_id: Arc<str>,
    /// Client host, `/10.0.0.1`.
    pub client_host: Arc<str>,
    /// Metadata for the chosen protocol; empty unless the group is Stable.
    pub metadata: Bytes,
    /// The leader's assignment; empty unless the group is Stable.
    pub assignment: Bytes,
}

impl Shard {
    /// All groups, in no order.
    pub(in crate::group) fn list(&self) -> Vec<ListedGroup> {
        let classic = self.groups.iter().map(|(id, group)| ListedGroup {
            group_id: id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state().name(),
            group_type: "classic",
        });
        let modern = self.modern.iter().map(|(id, group)| ListedGroup {
            group_id: id.clone(),
            protocol_type: group.kind.name().into(),
            state: State::Empty.name(),
            group_type: group.kind.name(),
        });
        classic.chain(modern).collect()
    }

    /// A classic group; `None` if there is none of that id.
    pub(in crate::group) fn describe(&self, group_id: &str) -> Option<DescribedGroup> {
        let group = self.groups.get(group_id)?;
        let stable = group.state() == State::Stable;
        let member = |(id, member): (&Arc<str>, &super::super::classic::Member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(group.protocol.as_ref()) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        };
        Some(DescribedGroup {
            state: group.state().name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol: group.protocol.clone().filter(|_| stable).unwrap_or_default(),
            members: group.members.iter().map(member).collect(),
        })
    }

    /// The epochs of a consumer group of the newer protocol; `None` if there is none of that id.
    pub(in crate::group) fn consumer_epochs(&self, group_id: &str) -> Option<ConsumerEpochs> {
        let group = self.modern.get(group_id)?;
        (group.kind == ModernKind::Consumer).then_some(group.epochs)
    }

    /// Whether a group of any kind has that id.
    pub(in crate::group) fn is_known(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id) || self.modern.contains_key(group_id)
    }

    /// Whether a group of a newer protocol has that id.
    pub(in crate::group) fn is_modern(&self, group_id: &str) -> bool {
        self.modern.contains_key(group_id)
    }
}
