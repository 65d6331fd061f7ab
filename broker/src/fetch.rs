//! Serving fetches: sessions, reading, and the answer.

pub(crate) mod answer;
pub(crate) mod read;
pub(crate) mod session;
