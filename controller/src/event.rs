//! Every reason for the controller to act, and what comes of it.

use protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterClientQuotasRequest,
    AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionRequest, AlterPartitionResponse,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest,
    BrokerRegistrationResponse, ControllerRegistrationRequest, ControllerRegistrationResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use protocol::records::Record;

use crate::liveness::LivenessUpdate;

/// A reason to act.
#[derive(Clone, Debug)]
pub enum Event {
    /// This node has become the active controller; these are the records of `bootstrap.checkpoint`.
    Activated {
        /// Records for an empty log.
        bootstrap: Vec<Record>,
        /// True if the log ends inside a metadata transaction.
        in_transaction: bool,
    },
    /// A request that may write.
    Request {
        /// Version of the request.
        version: i16,
        /// The request.
        request: Request,
    },
    /// A broker may have been silent for too long.
    SessionsDue,
    /// A broker without a connection to this controller looks dead: nobody listens where it said that it would.
    BrokerUnreachable {
        /// Broker id.
        broker: i32,
        /// Epoch of the registration that was looked at.
        epoch: i64,
    },
    /// Leaders should go back to the preferred replicas.
    RebalanceDue,
    /// Partitions without a leader should get one, where unclean elections are allowed.
    UncleanElectionDue,
    /// Nothing was written for a while.
    Idle,
}

/// What a decision wants written and answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Records to append, in order. Every prefix of them is legal.
    pub records: Vec<Record>,
    /// True if they must be one batch.
    pub atomic: bool,
    /// Changes of the soft state.
    pub liveness: Vec<LivenessUpdate>,
    /// The new level of `kraft.version`, which the store writes before the records, and whether it is only checked.
    pub kraft_version: Option<(i16, bool)>,
    /// The answer, to be sent when the records are committed; `None` for events that nobody waits for.
    pub reply: Option<Response>,
}

impl Decision {
    /// A decision that only answers.
    pub fn reply(reply: impl Into<Response>) -> Self {
        Self { reply: Some(reply.into()), ..Self::default() }
    }

    /// Records that must be one batch, with their answer.
    pub fn atomic(records: Vec<Record>, reply: impl Into<Response>) -> Self {
        Self { records, atomic: true, reply: Some(reply.into()), ..Self::default() }
    }

    /// Records that may be several batches, with their answer.
    pub fn write(records: Vec<Record>, reply: impl Into<Response>) -> Self {
        Self { records, reply: Some(reply.into()), ..Self::default() }
    }
}

macro_rules! apis {
    ($($name:ident($request:ident, $response:ident),)+) => {
        /// The requests that the decision core answers.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(
                #[doc = concat!("See [`", stringify!($request), "`].")]
                $name($request),
            )+
        }

        /// The answers to [`Request`].
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response {
            $(
                #[doc = concat!("See [`", stringify!($response), "`].")]
                $name($response),
            )+
        }

        impl Request {
            /// How long the client waits, for the requests whose time Kafka lets run out, milliseconds.
            pub fn timeout_ms(&self) -> Option<i32> {
                match self {
                    Self::CreateTopics(request) => Some(request.timeout_ms),
                    Self::DeleteTopics(request) => Some(request.timeout_ms),
                    Self::CreatePartitions(request) => Some(request.timeout_ms),
                    Self::ElectLeaders(request) => Some(request.timeout_ms),
                    _ => None,
                }
            }

            /// Name of the API.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name(_) => stringify!($name), )+ }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$name(request)
                }
            }

            impl From<$response> for Response {
                fn from(response: $response) -> Self {
                    Self::$name(response)
                }
            }

            impl TryFrom<Response> for $response {
                type Error = Response;

                fn try_from(response: Response) -> Result<Self, Response> {
                    match response {
                        Response::$name(response) => Ok(response),
                        other => Err(other),
                    }
                }
            }
        )+
    };
}

apis! {
    CreateTopics(CreateTopicsRequest, CreateTopicsResponse),
    DeleteTopics(DeleteTopicsRequest, DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsRequest, CreatePartitionsResponse),
    AlterConfigs(AlterConfigsRequest, AlterConfigsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse),
    BrokerRegistration(BrokerRegistrationRequest, BrokerRegistrationResponse),
    BrokerHeartbeat(BrokerHeartbeatRequest, BrokerHeartbeatResponse),
    UnregisterBroker(UnregisterBrokerRequest, UnregisterBrokerResponse),
    AllocateProducerIds(AllocateProducerIdsRequest, AllocateProducerIdsResponse),
    UpdateFeatures(UpdateFeaturesRequest, UpdateFeaturesResponse),
    ControllerRegistration(ControllerRegistrationRequest, ControllerRegistrationResponse),
    AlterPartition(AlterPartitionRequest, AlterPartitionResponse),
    ElectLeaders(ElectLeadersRequest, ElectLeadersResponse),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse),
    AlterClientQuotas(AlterClientQuotasRequest, AlterClientQuotasResponse),
    AlterUserScramCredentials(AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse),
    AssignReplicasToDirs(AssignReplicasToDirsRequest, AssignReplicasToDirsResponse),
}
