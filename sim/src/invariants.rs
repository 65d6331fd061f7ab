//! What must hold after every event. A check is an assertion; the file that it fails in names the invariant.

pub(crate) mod quorum;
pub(crate) mod replication;
