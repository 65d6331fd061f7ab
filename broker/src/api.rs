//! Every API of a broker listener: which are served, and by whom.
//!
//! Produce and Fetch are called with the frame itself and write their answers by hand. The other requests are
//! checked by the guard, decoded, handled by an async function of their own file, and encoded here. Requests that
//! change the cluster go to the controller as they came.

pub(crate) mod alter_configs;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod alter_requests;
pub(crate) mod api_versions;
pub(crate) mod consumer_group_describe;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_user_scram_credentials;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod forward;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use bytes::Bytes;
use net::{Charge, Outbox, Outcome, Purpose};
use protocol::request::HeaderView;
use protocol::versions::{self, ApiKey, Listener};
use protocol::{Decodable, Encodable, guard};

use crate::context::Context;
use crate::group::{ClientContext, GroupCoordinator, Reply};
use crate::heavy::Heavy;
use crate::metrics::codes;
use crate::server::Session;

/// The APIs that are served; all others are neither advertised nor taken.
pub(crate) const SERVED: &[i16] = &[
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::METADATA,
    ApiKey::OFFSET_COMMIT,
    ApiKey::OFFSET_FETCH,
    ApiKey::FIND_COORDINATOR,
    ApiKey::JOIN_GROUP,
    ApiKey::HEARTBEAT,
    ApiKey::LEAVE_GROUP,
    ApiKey::SYNC_GROUP,
    ApiKey::DESCRIBE_GROUPS,
    ApiKey::LIST_GROUPS,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::DELETE_RECORDS,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ApiKey::DESCRIBE_CONFIGS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::ALTER_REPLICA_LOG_DIRS,
    ApiKey::DESCRIBE_LOG_DIRS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::DELETE_GROUPS,
    ApiKey::ELECT_LEADERS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::ALTER_PARTITION_REASSIGNMENTS,
    ApiKey::LIST_PARTITION_REASSIGNMENTS,
    ApiKey::OFFSET_DELETE,
    ApiKey::DESCRIBE_CLIENT_QUOTAS,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS,
    ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
    ApiKey::DESCRIBE_QUORUM,
    ApiKey::UPDATE_FEATURES,
    ApiKey::DESCRIBE_CLUSTER,
    ApiKey::DESCRIBE_PRODUCERS,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::CONSUMER_GROUP_DESCRIBE,
    ApiKey::LIST_CONFIG_RESOURCES,
    ApiKey::DESCRIBE_TOPIC_PARTITIONS,
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
];

/// A response larger than this is not sent: the size field of a frame could not say how large it is.
const MAX_RESPONSE_BYTES: usize = 1 << 30;

/// Who sent a request, and in which version.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) peer: SocketAddr,
    /// Name of the listener that took the request.
    pub(crate) listener: Arc<str>,
}

/// A decoded request on its way to its handler.
struct Call {
    ctx: Arc<Context>,
    key: i16,
    correlation_id: i32,
    client: Client,
    /// The whole frame: header and body.
    frame: Bytes,
    body: usize,
    /// The memory that the request takes until it is answered.
    charge: Charge,
}

/// Starts a response frame with its header; `flexible` as the response's version is.
pub(crate) fn begin_response(out: &mut Outbox, correlation_id: i32, flexible: bool) -> net::FrameMark {
    let mark = out.begin_frame();
    out.buffer().extend_from_slice(&correlation_id.to_be_bytes());
    if flexible {
        out.buffer().push(0);
    }
    mark
}

/// Handles one request of a client.
pub(crate) fn dispatch(
    ctx: &Arc<Context>,
    session: &mut Session,
    frame: &mut [u8],
    out: &mut Outbox,
) -> Outcome {
    if Heavy::is_meant(frame) {
        return ctx.heavy.run(|| handle(ctx, session, frame, out)).unwrap_or(Outcome::Starved);
    }
    handle(ctx, session, frame, out)
}

fn handle(ctx: &Arc<Context>, session: &mut Session, frame: &mut [u8], out: &mut Outbox) -> Outcome {
    let Ok(header) = HeaderView::parse(frame) else {
        return Outcome::Close("undecodable request header".to_owned());
    };
    let (key, version) = (header.api_key, header.api_version);
    if key == ApiKey::API_VERSIONS && !versions::is_taken(Listener::Broker, key, version) {
        api_versions::unsupported(header.correlation_id, out);
        return Outcome::Answered;
    }
    if !SERVED.contains(&key) || !versions::is_taken(Listener::Broker, key, version) {
        return Outcome::Close(format!("unsupported request: API key {key} version {version}"));
    }
    let checked = match guard::check(key, version, &frame[header.body_start..]) {
        Ok(checked) => checked,
        Err(e) => return Outcome::Close(format!("malformed request: API key {key} version {version}: {e}")),
    };
    match key {
        // Not decoded: read where it lies.
        ApiKey::PRODUCE => return produce::handle(ctx, &header, frame, &mut session.grown, out),
        ApiKey::API_VERSIONS => return api_versions::handle(ctx, &header, frame, out),
        _ => {}
    }
    // A copy of the frame, and what is made of it.
    let memory = frame.len().saturating_add(checked.decoded_bytes);
    let Some(charge) = ctx.bounds.memory.try_charge(memory, Purpose::Decoding) else {
        return Outcome::Starved;
    };
    match key {
        ApiKey::FETCH => fetch::handle(ctx, &header, frame, charge, out),
        _ => {
            let call = Call {
                ctx: ctx.clone(),
                key,
                correlation_id: header.correlation_id,
                client: Client {
                    version,
                    client_id: header.client_id(frame).unwrap_or_default().into_owned(),
                    peer: session.peer,
                    listener: session.listener.clone(),
                },
                body: header.body_start,
                frame: Bytes::copy_from_slice(frame),
                charge,
            };
            call.start(out)
        }
    }
}

impl Call {
    /// Hands the request to its handler.
    fn start(self, out: &mut Outbox) -> Outcome {
        match self.key {
            ApiKey::LIST_OFFSETS => self.run(list_offsets::handle, out),
            ApiKey::METADATA => self.run(metadata::handle, out),
            ApiKey::OFFSET_COMMIT => self.run_group(offset_commit::handle, out),
            ApiKey::OFFSET_FETCH => self.run_group(offset_fetch::handle, out),
            ApiKey::FIND_COORDINATOR => self.run(find_coordinator::handle, out),
            ApiKey::JOIN_GROUP => self.run_group(join_group::handle, out),
            ApiKey::HEARTBEAT => self.run_group(heartbeat::handle, out),
            ApiKey::LEAVE_GROUP => self.run_group(leave_group::handle, out),
            ApiKey::SYNC_GROUP => self.run_group(sync_group::handle, out),
            ApiKey::DESCRIBE_GROUPS => self.run_group(describe_groups::handle, out),
            ApiKey::LIST_GROUPS => self.run_group(list_groups::handle, out),
            ApiKey::DELETE_GROUPS => self.run_group(delete_groups::handle, out),
            ApiKey::OFFSET_DELETE => self.run_group(offset_delete::handle, out),
            ApiKey::DELETE_RECORDS => self.run(delete_records::handle, out),
            ApiKey::INIT_PRODUCER_ID => self.run(init_producer_id::handle, out),
            ApiKey::OFFSET_FOR_LEADER_EPOCH => self.run(offset_for_leader_epoch::handle, out),
            ApiKey::DESCRIBE_CONFIGS => self.run(describe_configs::handle, out),
            ApiKey::ALTER_CONFIGS => self.run(alter_requests::legacy, out),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => self.run(alter_requests::incremental, out),
            ApiKey::DESCRIBE_LOG_DIRS => self.run(describe_log_dirs::handle, out),
            ApiKey::ALTER_REPLICA_LOG_DIRS => self.run(alter_replica_log_dirs::handle, out),
            ApiKey::DESCRIBE_CLUSTER => self.run(describe_cluster::handle, out),
            ApiKey::DESCRIBE_PRODUCERS => self.run(describe_producers::handle, out),
            ApiKey::LIST_CONFIG_RESOURCES => self.run(list_config_resources::handle, out),
            ApiKey::CONSUMER_GROUP_DESCRIBE => self.run_group(consumer_group_describe::handle, out),
            ApiKey::DESCRIBE_CLIENT_QUOTAS => self.run(describe_client_quotas::handle, out),
            ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS => self.run(describe_user_scram_credentials::handle, out),
            ApiKey::DESCRIBE_TOPIC_PARTITIONS => self.run(describe_topic_partitions::handle, out),
            _ => {
                forward::to_controller(self.place(), self.ctx, self.client.peer.ip(), self.frame, self.charge)
            }
        }
    }

    /// Likewise for a request to the group coordinator, which answers at once or when others have joined.
    fn run_group<Req, Res>(
        self,
        handler: fn(&GroupCoordinator, i16, ClientContext<'_>, Req) -> Reply<Res>,
        out: &mut Outbox,
    ) -> Outcome
    where
        Req: Decodable,
        Res: Encodable + Send + 'static,
    {
        let request = match self.decode() {
            Ok(request) => request,
            Err(reason) => return Outcome::Close(reason),
        };
        let who = ClientContext { client_id: &self.client.client_id, client_host: self.client.peer.ip() };
        match handler(&self.ctx.groups, self.client.version, who, request) {
            Reply::Ready(Some(response)) => self.place().answer(&response, out),
            Reply::Ready(None) => Outcome::Close("a request that cannot be answered".to_owned()),
            Reply::Later(later) => self.place().answer_when_ready(later, self.charge, out),
        }
    }

    /// Decodes the body, runs the handler, and encodes its response.
    fn run<Req, Res, F, Fut>(self, handler: F, out: &mut Outbox) -> Outcome
    where
        Req: Decodable,
        Res: Encodable + Send + 'static,
        F: FnOnce(Arc<Context>, Client, Req) -> Fut,
        Fut: Future<Output = Res> + Send + 'static,
    {
        let request = match self.decode() {
            Ok(request) => request,
            Err(reason) => return Outcome::Close(reason),
        };
        let place = self.place();
        place.answer_when_ready(handler(self.ctx, self.client, request), self.charge, out)
    }

    fn decode<Req: Decodable>(&self) -> Result<Req, String> {
        let version = self.client.version;
        Req::decode(&mut self.frame.slice(self.body..), version)
            .map_err(|e| format!("undecodable request: API key {} version {version}: {e}", self.key))
    }

    fn place(&self) -> Place {
        Place { key: self.key, version: self.client.version, correlation_id: self.correlation_id }
    }
}

/// What a response's frame is made from beside the response.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    key: i16,
    version: i16,
    correlation_id: i32,
}

impl Place {
    /// A response that another has made is on its way.
    fn note_frame(self, frame: &Bytes) {
        codes::note_frame(self.key, self.version, frame);
    }

    /// Writes the response now.
    fn answer<R: Encodable + 'static>(self, response: &R, out: &mut Outbox) -> Outcome {
        match self.encode(response, out) {
            Ok(()) => Outcome::Answered,
            Err(reason) => Outcome::Close(reason),
        }
    }

    /// Writes the response now if it is there at the first look, as most are; else parks the request.
    fn answer_when_ready<R, F>(self, response: F, charge: Charge, out: &mut Outbox) -> Outcome
    where
        R: Encodable + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let mut response = Box::pin(response);
        // The connection polls again, with a waker, if this look comes too early.
        match response.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => self.answer(&response, out),
            Poll::Pending => Outcome::Exclusive(Box::pin(async move {
                let mut out = Outbox::new();
                let encoded = self.encode(&response.await, &mut out);
                drop(charge);
                match encoded {
                    Ok(()) => Some(out),
                    Err(reason) => {
                        tracing::error!("{reason}");
                        None
                    }
                }
            })),
        }
    }

    /// Writes a response of a generated message as one frame.
    fn encode<R: Encodable + 'static>(self, response: &R, out: &mut Outbox) -> Result<(), String> {
        let Self { key, version, correlation_id } = self;
        codes::note_answer(key, response);
        let flexible = versions::response_header_version(key, version) == 1;
        let mark = begin_response(out, correlation_id, flexible);
        let start = out.buffer().len();
        let encoded = response.encode(out.buffer(), version).map_err(|e| e.to_string());
        let failed = match encoded {
            Ok(()) if out.buffer().len() - start <= MAX_RESPONSE_BYTES => {
                out.end_frame(mark);
                return Ok(());
            }
            Ok(()) => "it is too large".to_owned(),
            Err(e) => e,
        };
        out.cancel_frame(mark);
        Err(format!("API key {key} version {version}: the response cannot be encoded: {failed}"))
    }
}
