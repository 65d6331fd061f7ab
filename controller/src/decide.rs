//! The decision core: what the controller does about an event, as a pure function.
//!
//! ```text
//!   image (tip) + liveness + rules + event ──decide──▶ records + answer
//! ```
//!
//! `decide` cannot fail, wait, see the time or do IO. It never changes the image: the caller replays the records.
//! Records come in an order in which every prefix is legal: a topic before its configs before its partitions.

mod activation;
mod alter_partition;
mod brokers;
mod client_quotas;
mod configs;
mod controllers;
mod directories;
mod election;
mod features;
mod heartbeat;
mod partition_change;
mod partitions;
mod placement;
mod producer_ids;
mod reassignment;
mod rules;
mod scram;
mod topic_names;
mod topics;

use metadata::MetadataImage;
use metadata::image::BrokerRegistration;
use protocol::ErrorCode;
use protocol::records::{NoOpRecord, Record};
pub use rules::Rules;

use crate::api_error::ApiError;
use crate::entropy::Entropy;
use crate::event::{Decision, Event, Request};
use crate::liveness::Liveness;

/// What a decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The newest image, uncommitted records included.
    pub image: &'a MetadataImage,
    /// Sessions of the brokers.
    pub liveness: &'a Liveness,
    /// Settings of this controller and its mode.
    pub rules: &'a Rules,
    /// Now, in ms of any steady clock.
    pub now_ms: i64,
}

impl View<'_> {
    /// The registration of `broker`, if `epoch` is its epoch.
    fn broker_with_epoch(&self, broker: i32, epoch: i64) -> Result<&BrokerRegistration, ApiError> {
        let stale = |message: String| ApiError::new(ErrorCode::STALE_BROKER_EPOCH, message);
        match self.image.cluster.broker(broker) {
            None => Err(stale(format!("No broker registration found for broker id {broker}"))),
            Some(known) if known.epoch != epoch => {
                Err(stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", known.epoch)))
            }
            Some(known) => Ok(known),
        }
    }
}

/// Decides what to do about `event`.
pub fn decide(view: View<'_>, entropy: &mut Entropy, event: &Event) -> Decision {
    match event {
        Event::Activated { bootstrap, in_transaction } => {
            activation::activate(view, bootstrap, *in_transaction)
        }
        Event::Request { version, request } => decide_request(view, entropy, *version, request),
        Event::SessionsDue => heartbeat::fence_one_silent_broker(view),
        Event::BrokerUnreachable { broker, epoch } => heartbeat::suspect(view, *broker, *epoch),
        Event::RebalanceDue => election::elect_preferred_everywhere(view),
        Event::UncleanElectionDue => election::elect_uncleanly_where_allowed(view),
        Event::Idle => Decision { records: vec![Record::NoOp(NoOpRecord::default())], ..Decision::default() },
    }
}

fn decide_request(view: View<'_>, entropy: &mut Entropy, version: i16, request: &Request) -> Decision {
    match request {
        Request::CreateTopics(request) => topics::create(view, entropy, request),
        Request::DeleteTopics(request) => topics::delete(view, version, request),
        Request::CreatePartitions(request) => partitions::create(view, entropy, request),
        Request::AlterConfigs(request) => configs::alter(view, request),
        Request::IncrementalAlterConfigs(request) => configs::alter_incrementally(view, request),
        Request::BrokerRegistration(request) => brokers::register(view, request),
        Request::BrokerHeartbeat(request) => heartbeat::heartbeat(view, request),
        Request::UnregisterBroker(request) => brokers::unregister(view, request),
        Request::AllocateProducerIds(request) => producer_ids::allocate(view, request),
        Request::UpdateFeatures(request) => features::update(view, version, request),
        Request::ControllerRegistration(request) => controllers::register(view, request),
        Request::AlterPartition(request) => alter_partition::alter(view, version, request),
        Request::ElectLeaders(request) => election::elect_leaders(view, request),
        Request::AlterPartitionReassignments(request) => reassignment::alter(view, request),
        Request::ListPartitionReassignments(request) => reassignment::list(view, request),
        Request::AlterClientQuotas(request) => client_quotas::alter(view, request),
        Request::AlterUserScramCredentials(request) => scram::alter(view, request),
        Request::AssignReplicasToDirs(request) => directories::assign(view, request),
    }
}
