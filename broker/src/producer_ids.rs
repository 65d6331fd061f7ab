//! Producer ids, given out of blocks of a thousand that the controller grants (KIP-730).

use protocol::ErrorCode;
use protocol::messages::{AllocateProducerIdsRequest, BrokerId};
use tokio::sync::Mutex;

use crate::context::Context;
use crate::controller_channel::{Origin, send};

#[derive(Default)]
struct Block {
    next: i64,
    end: i64,
}

/// The block in use.
#[derive(Default)]
pub(crate) struct ProducerIds {
    // A tokio lock: one caller asks the controller while the others wait for its block.
    block: Mutex<Block>,
}

impl ProducerIds {
    /// A producer id that nobody else has.
    pub(crate) async fn next(&self, ctx: &Context) -> Result<i64, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.next == block.end {
            *block = allocate(ctx).await?;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}

async fn allocate(ctx: &Context) -> Result<Block, ErrorCode> {
    let request = AllocateProducerIdsRequest::default()
        .with_broker_id(BrokerId(ctx.config.node_id))
        .with_broker_epoch(ctx.lifecycle.epoch());
    let client_id = ctx.config.node_id.to_string();
    let sent = send(&*ctx.controller, Origin::Broker, 0, &client_id, &request);
    match sent.await {
        Ok((response, _)) if response.error_code == 0 && response.producer_id_len > 0 => {
            let next = response.producer_id_start.0;
            Ok(Block { next, end: next + i64::from(response.producer_id_len) })
        }
        Ok((response, _)) => {
            tracing::warn!("no producer ids: {}", ErrorCode(response.error_code).name());
            Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
        }
        Err(e) => {
            tracing::warn!("no producer ids: {e}");
            Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
        }
    }
}
