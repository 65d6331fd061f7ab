//! The replicas of this node.

pub(crate) mod checkpoints;
pub(crate) mod dir_state;
pub(crate) mod leader;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod manager;
pub(crate) mod moves;
mod new_logs;
pub(crate) mod partition;
pub(crate) mod waiters;
