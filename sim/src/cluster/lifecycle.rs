//! Registration, heartbeats and controlled shutdown of a simulated broker: what is sent when. What it means, the
//! controller decides.

use controller::event::Response;
use protocol::features::FEATURES;
use protocol::messages::broker_registration_request::Feature;
use protocol::messages::{BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest};
use protocol::{ErrorCode, StrBytes};
use uuid::Uuid;

use super::broker_process::{BrokerProcess, Out, Step};
use super::plan::{CLUSTER_ID, HEARTBEAT_MS, data_directory};
use super::rpc::{Answer, Ask, Told};

const TIMEOUT_MS: i64 = 500;
const RETRY_MS: i64 = 30;
const REGISTRATION_VERSION: i16 = 4;
const HEARTBEAT_VERSION: i16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Registering,
    Registered,
    Leaving,
}

pub(super) struct Lifecycle {
    stage: Stage,
    incarnation: Uuid,
    previous_epoch: i64,
    epoch: i64,
    /// The epoch of the first registration of this life; -1 before.
    registered_at: i64,
    /// Whether it was unfenced, so that it serves.
    pub(super) is_serving: bool,
    /// The call on its way.
    call: Option<u64>,
    /// When the next is sent, or the present one given up.
    due: i64,
}

impl Lifecycle {
    pub(super) fn new(incarnation: Uuid, previous_epoch: Option<i64>, now: i64) -> Lifecycle {
        Lifecycle {
            stage: Stage::Registering,
            incarnation,
            previous_epoch: previous_epoch.unwrap_or(-1),
            epoch: -1,
            registered_at: -1,
            is_serving: false,
            call: None,
            due: now,
        }
    }

    pub(super) fn next_deadline(&self) -> i64 {
        self.due
    }

    /// The epoch of the registration; -1 before.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The metadata offset that the broker has to reach before it starts; -1 if that is not known yet.
    pub(super) fn registered_at(&self) -> i64 {
        self.registered_at
    }

    /// Begins a controlled shutdown.
    pub(super) fn leave(&mut self, now: i64) {
        if self.stage == Stage::Registered {
            self.stage = Stage::Leaving;
            self.call = None;
            self.due = now;
        }
    }
}

impl BrokerProcess {
    pub(super) fn tick_lifecycle(&mut self, step: &mut Step<'_>) {
        if self.lifecycle.due > step.now {
            return;
        }
        let Some(to) = step.controller else {
            self.lifecycle.due = step.now + RETRY_MS;
            return;
        };
        let ask = match self.lifecycle.stage {
            Stage::Registering => Ask::Controller(REGISTRATION_VERSION, self.registration(step.id).into()),
            Stage::Registered | Stage::Leaving => {
                Ask::Controller(HEARTBEAT_VERSION, self.heartbeat(step.id).into())
            }
        };
        let call = self.next_call();
        self.lifecycle.call = Some(call);
        self.lifecycle.due = step.now + TIMEOUT_MS;
        step.out.push(Out::Call { call, to, ask });
    }

    fn registration(&self, id: i32) -> BrokerRegistrationRequest {
        let features = FEATURES.iter().map(|feature| {
            Feature::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(StrBytes::from_static_str(CLUSTER_ID))
            .with_incarnation_id(self.lifecycle.incarnation)
            .with_features(features.collect())
            .with_log_dirs(vec![data_directory(id)])
            .with_previous_broker_epoch(self.lifecycle.previous_epoch)
    }

    fn heartbeat(&self, id: i32) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(self.lifecycle.epoch)
            .with_current_metadata_offset(self.broker.image().provenance.last_offset)
            .with_want_shut_down(self.lifecycle.stage == Stage::Leaving)
    }

    /// Takes in an answer; false if it is to another call.
    pub(super) fn lifecycle_answered(&mut self, call: u64, answer: &Answer, step: &mut Step<'_>) -> bool {
        let lifecycle = &mut self.lifecycle;
        if lifecycle.call != Some(call) {
            return false;
        }
        lifecycle.call = None;
        lifecycle.due = step.now + RETRY_MS;
        let Ok(Told::Controller(Some(response))) = answer else { return true };
        match (lifecycle.stage, response) {
            (Stage::Registering, Response::BrokerRegistration(response)) if response.error_code == 0 => {
                lifecycle.epoch = response.broker_epoch;
                if lifecycle.registered_at < 0 {
                    lifecycle.registered_at = response.broker_epoch;
                }
                lifecycle.stage = Stage::Registered;
            }
            (Stage::Registered, Response::BrokerHeartbeat(response))
                if response.error_code == 0 && !response.is_fenced =>
            {
                lifecycle.due = step.now + HEARTBEAT_MS;
                lifecycle.is_serving = true;
            }
            (Stage::Registered, Response::BrokerHeartbeat(response))
                if response.error_code == ErrorCode::STALE_BROKER_EPOCH.code()
                    && self.broker.is_superseded(lifecycle.epoch) =>
            {
                lifecycle.stage = Stage::Registering;
                lifecycle.previous_epoch = -1;
            }
            (Stage::Leaving, Response::BrokerHeartbeat(response))
                if response.should_shut_down || response.error_code != 0 =>
            {
                step.out.push(Out::Exit);
            }
            _ => {}
        }
        true
    }
}
