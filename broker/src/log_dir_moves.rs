//! Carries out the moves of replicas between log directories: one after another, within the throttle (KIP-113).
//!
//! The order is Kafka's (`ReplicaAlterLogDirsThread`, KIP-858): copy; once the copy has all, have the controller note the
//! new directory; then swap. So the controller never believes a replica in a directory from which it could be lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::context::Context;
use crate::dir_assignments;
use crate::maintenance::blocking;
use crate::replica::manager::DirAssignment;
use crate::replica::moves::{Move, MoveError, Progress};

/// Pause while the throttle is exceeded, the controller cannot be reached, or the log is busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until cancelled.
pub(crate) async fn run(
    ctx: Arc<Context>,
    mut moves: mpsc::UnboundedReceiver<Arc<Move>>,
    cancel: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = cancel.cancelled() => return,
            Some(next) = moves.recv() => next,
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = carry_out(&ctx, &next) => {}
        }
    }
}

async fn carry_out(ctx: &Arc<Context>, moving: &Arc<Move>) {
    while !is_in_vain(ctx, moving) {
        let rate = ctx.settings().replica_alter_log_dirs_io_max_bytes_per_second;
        if ctx.throttles.log_dirs.is_exceeded(rate, clock::now_ms()) {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let step = moving.clone();
        match blocking(move || step.copy_piece()).await {
            Ok(Progress::Copied(bytes)) => ctx.throttles.log_dirs.record(bytes, clock::now_ms()),
            Ok(Progress::CaughtUp) if !moving.is_assigned.load(Ordering::Acquire) => {
                assign(ctx, moving).await
            }
            Ok(Progress::CaughtUp) => {
                let (ctx, step) = (ctx.clone(), moving.clone());
                let finished = blocking({
                    let ctx = ctx.clone();
                    move || ctx.replicas.finish_move(&step)
                });
                match finished.await {
                    Ok(Progress::Over) => return,
                    Ok(_) => tokio::time::sleep(PAUSE).await,
                    Err(error) => return failed(&ctx, moving, &error),
                }
            }
            Ok(Progress::Over) => return,
            Err(error) => return failed(ctx, moving, &error),
        }
    }
    let (ctx, moving) = (ctx.clone(), moving.clone());
    blocking(move || ctx.replicas.give_up(&moving)).await;
}

/// Whether the replica is gone, or one of the directories failed.
fn is_in_vain(ctx: &Context, moving: &Move) -> bool {
    let partition = &moving.partition;
    partition.is_deleted() || partition.is_offline() || ctx.replicas.dirs()[moving.to].is_offline()
}

/// Has the controller note the new directory.
async fn assign(ctx: &Context, moving: &Move) {
    let (topic_id, partition) = (moving.partition.topic_id, moving.partition.name.partition);
    let dir = ctx.replicas.dirs()[moving.to].id;
    moving.was_told.store(true, Ordering::Release);
    let told = dir_assignments::report(ctx, &[DirAssignment { topic_id, partition, dir }]).await;
    match told {
        Ok(()) => moving.is_assigned.store(true, Ordering::Release),
        Err(error) => {
            tracing::debug!("{}: the new directory is not noted: {error}", moving.partition.name);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn failed(ctx: &Context, moving: &Move, error: &MoveError) {
    match error {
        MoveError::Read(error) => {
            ctx.replicas.read_failed(&moving.partition, error);
        }
        MoveError::Append(error) if error.code() != protocol::ErrorCode::KAFKA_STORAGE_ERROR => {
            tracing::error!("{}: cannot be moved: {error}", moving.partition.name);
        }
        _ => ctx.replicas.dir_failed(moving.to, error),
    }
    ctx.replicas.give_up(moving);
}
