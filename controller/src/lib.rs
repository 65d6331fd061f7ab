//! The active controller: decides what becomes of topics, partitions, brokers and configurations.

pub mod api_error;
pub mod decide;
pub mod entropy;
pub mod event;
pub mod liveness;
