//! The broker.

pub(crate) mod api;
pub mod group;
