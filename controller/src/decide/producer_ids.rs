//! AllocateProducerIds: a block of producer ids for a broker (KIP-730).

use protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId};
use protocol::records::{ProducerIdsRecord, Record};

use super::View;
use crate::event::Decision;

/// How many ids a broker gets at once.
const BLOCK: i64 = 1_000;

pub(super) fn allocate(view: View<'_>, request: &AllocateProducerIdsRequest) -> Decision {
    let response = AllocateProducerIdsResponse::default();
    if let Err(error) = view.broker_with_epoch(request.broker_id.0, request.broker_epoch) {
        return Decision::reply(response.with_error_code(error.code()));
    }
    let start = view.image.next_producer_id;
    let Some(next_producer_id) = start.checked_add(BLOCK) else {
        return Decision::reply(response.with_error_code(protocol::ErrorCode::UNKNOWN_SERVER_ERROR.code()));
    };
    let record = ProducerIdsRecord {
        broker_id: request.broker_id.0,
        broker_epoch: request.broker_epoch,
        next_producer_id,
    };
    let response = response.with_producer_id_start(ProducerId(start)).with_producer_id_len(BLOCK as i32);
    Decision::atomic(vec![Record::ProducerIds(record)], response)
}
