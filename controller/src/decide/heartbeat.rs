//! BrokerHeartbeat: fencing, unfencing and controlled shutdown.
//!
//! ```text
//!                  wants no fence, caught up             wants to shut down, leads something
//!   fenced ──────────────────────────────▶ unfenced ─────────────────────────▶ controlled shutdown
//!     ▲  ◀──── wants fence, or silent ─────────┘                                        │
//!     └──────────────────── leads nothing, others caught up: shut down now ─────────────┘
//! ```

use metadata::image::BrokerRegistration;
use metadata::partition::{NO_LEADER, PartitionRegistration};
use protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use protocol::records::{BrokerRegistrationChangeRecord, FenceBrokerRecord, Record, UnfenceBrokerRecord};
use uuid::Uuid;

use super::View;
use super::partition_change::{Turnover, leader_and_isr_updates};
use crate::event::Decision;
use crate::liveness::LivenessUpdate;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

pub(super) fn heartbeat(view: View<'_>, request: &BrokerHeartbeatRequest) -> Decision {
    let id = request.broker_id.0;
    let broker = match view.broker_with_epoch(id, request.broker_epoch) {
        Ok(broker) => broker,
        Err(error) => {
            return Decision::reply(BrokerHeartbeatResponse::default().with_error_code(error.code()));
        }
    };
    let current = current_state(view, broker);
    let next = next_state(view, broker, current, request);
    let mut records = Vec::new();
    if current != next {
        match next {
            State::Fenced | State::ShutdownNow => records.extend(fence(view, broker)),
            State::Unfenced => records.extend(unfence(view, broker)),
            State::ControlledShutdown => records.extend(enter_controlled_shutdown(view, broker)),
        }
    }
    let has_directories = view.image.features.metadata_version().is_directory_assignment_supported();
    if has_directories && !request.offline_log_dirs.is_empty() {
        records.extend(take_directories_offline(view, broker, &request.offline_log_dirs));
    }
    let fenced = matches!(next, State::Fenced | State::ShutdownNow);
    let metadata_offset = request.current_metadata_offset;
    let mut liveness = vec![LivenessUpdate::Touch { broker: id, fenced, metadata_offset }];
    if next == State::ControlledShutdown {
        liveness.push(LivenessUpdate::EnterControlledShutdown(id));
    }
    let response = BrokerHeartbeatResponse::default()
        .with_is_caught_up(metadata_offset >= broker.epoch)
        .with_is_fenced(fenced)
        .with_should_shut_down(next == State::ShutdownNow);
    Decision { liveness, ..Decision::write(records, response) }
}

fn current_state(view: View<'_>, broker: &BrokerRegistration) -> State {
    if view.liveness.is_shutting_down(broker.id) {
        State::ControlledShutdown
    } else if broker.fenced {
        State::Fenced
    } else {
        State::Unfenced
    }
}

fn next_state(
    view: View<'_>,
    broker: &BrokerRegistration,
    current: State,
    request: &BrokerHeartbeatRequest,
) -> State {
    match current {
        State::Fenced if request.want_shut_down => State::ShutdownNow,
        // In KRaft the epoch of a broker is the offset of the record that registered it.
        State::Fenced if !request.want_fence && request.current_metadata_offset >= broker.epoch => {
            State::Unfenced
        }
        State::Fenced => State::Fenced,
        State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
        State::Unfenced if request.want_fence => State::Fenced,
        State::Unfenced if request.want_shut_down && leads_anything(view, broker.id) => {
            State::ControlledShutdown
        }
        State::Unfenced if request.want_shut_down => State::ShutdownNow,
        State::Unfenced => State::Unfenced,
        State::ControlledShutdown => {
            let others_know = view
                .liveness
                .shutdown_offset(broker.id)
                .is_none_or(|offset| offset <= view.liveness.lowest_active_offset(view.image));
            if others_know && !leads_anything(view, broker.id) {
                State::ShutdownNow
            } else {
                State::ControlledShutdown
            }
        }
        State::ShutdownNow => State::ShutdownNow,
    }
}

fn leads_anything(view: View<'_>, broker: i32) -> bool {
    view.image
        .topics
        .iter()
        .any(|topic| topic.partitions.values().any(|partition| partition.leader == broker))
}

/// Takes the broker out of every ISR, then fences it.
pub(super) fn fence(view: View<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let (id, epoch) = (broker.id, broker.epoch);
    let turnover = Turnover { leaving: Some(id), ..Turnover::default() };
    let mut records = leader_and_isr_updates(view, turnover, |partition| partition.isr.contains(&id));
    #[cfg(feature = "planted-bugs")]
    if planted::is(planted::Bug::FencedStaysInIsr) {
        records.clear();
    }
    records.push(if view.image.features.metadata_version().is_broker_registration_change_supported() {
        Record::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: id,
            broker_epoch: epoch,
            fenced: 1,
            ..BrokerRegistrationChangeRecord::default()
        })
    } else {
        Record::FenceBroker(FenceBrokerRecord { id, epoch })
    });
    records
}

/// Unfences the broker, then elects leaders where there is none.
fn unfence(view: View<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let (id, epoch) = (broker.id, broker.epoch);
    let mut records =
        vec![if view.image.features.metadata_version().is_broker_registration_change_supported() {
            Record::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id: id,
                broker_epoch: epoch,
                fenced: -1,
                ..BrokerRegistrationChangeRecord::default()
            })
        } else {
            Record::UnfenceBroker(UnfenceBrokerRecord { id, epoch })
        }];
    let turnover = Turnover { arriving: Some(id), ..Turnover::default() };
    records.extend(leader_and_isr_updates(view, turnover, |partition| partition.leader == NO_LEADER));
    records
}

fn enter_controlled_shutdown(view: View<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let mut records = Vec::new();
    let can_say = view.image.features.metadata_version().is_in_controlled_shutdown_supported();
    if can_say && !broker.in_controlled_shutdown {
        records.push(Record::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            in_controlled_shutdown: 1,
            ..BrokerRegistrationChangeRecord::default()
        }));
    }
    let turnover = Turnover { leaving: Some(broker.id), ..Turnover::default() };
    let in_isr = |partition: &PartitionRegistration| partition.isr.contains(&broker.id);
    records.extend(leader_and_isr_updates(view, turnover, in_isr));
    records
}

fn take_directories_offline(view: View<'_>, broker: &BrokerRegistration, offline: &[Uuid]) -> Vec<Record> {
    let newly_offline: Vec<Uuid> =
        broker.directories.iter().copied().filter(|id| offline.contains(id)).collect();
    if newly_offline.is_empty() {
        return Vec::new();
    }
    let turnover = Turnover { leaving: Some(broker.id), ..Turnover::default() };
    let mut records = leader_and_isr_updates(view, turnover, |partition| {
        partition.directory(broker.id).is_some_and(|id| newly_offline.contains(&id))
    });
    let log_dirs = broker.directories.iter().copied().filter(|id| !offline.contains(id)).collect();
    records.push(Record::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        log_dirs,
        ..BrokerRegistrationChangeRecord::default()
    }));
    records
}

/// Cuts the session of a broker down that looks dead, if it is still the one that was looked at.
pub(super) fn suspect(view: View<'_>, broker: i32, epoch: i64) -> Decision {
    match view.broker_with_epoch(broker, epoch) {
        Ok(registered) if !registered.fenced => {
            Decision { liveness: vec![LivenessUpdate::Suspect(broker)], ..Decision::default() }
        }
        _ => Decision::default(),
    }
}

/// Fences the broker whose session ended first, if any has: one at a time, so that each sees the effect of the last.
pub(super) fn fence_one_silent_broker(view: View<'_>) -> Decision {
    let due = view.liveness.next_expiry(view.image, view.rules.session_timeout_ms);
    let broker =
        due.filter(|(at_ms, _)| *at_ms <= view.now_ms).and_then(|(_, id)| view.image.cluster.broker(id));
    match broker {
        None => Decision::default(),
        Some(broker) => Decision {
            records: fence(view, broker),
            liveness: vec![LivenessUpdate::Expire(broker.id)],
            ..Decision::default()
        },
    }
}
