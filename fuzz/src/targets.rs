//! The targets, one file each.

mod answers;
mod batches;
mod checkpoints;
mod groups;
mod log;
mod metadata;
mod offsets;
mod properties;
mod raft;
mod requests;

use crate::Target;

const KIB: usize = 1024;

/// All of them.
///
/// The allowances: 16 KiB is the request guard's own; decoding a request twice and encoding it again adds the rest.
/// A batch has the buffers and contexts of the codecs. A log has the buffers of its scans, 1 MiB to search for the
/// next good batch among them, and is opened several times.
pub const TARGETS: &[Target] = &[
    Target { name: "requests", run: requests::run, allowance: 48 * KIB, max_len: 4 * KIB },
    Target { name: "batches", run: batches::run, allowance: 10 * KIB * KIB, max_len: 4 * KIB },
    Target { name: "log", run: log::run, allowance: 4 * KIB * KIB, max_len: 16 * KIB },
    Target { name: "checkpoints", run: checkpoints::run, allowance: 64 * KIB, max_len: 2 * KIB },
    Target { name: "properties", run: properties::run, allowance: 512 * KIB, max_len: 4 * KIB },
    Target { name: "metadata", run: metadata::run, allowance: 256 * KIB, max_len: 8 * KIB },
    Target { name: "offsets", run: offsets::run, allowance: 256 * KIB, max_len: 4 * KIB },
    Target { name: "answers", run: answers::run, allowance: 128 * KIB, max_len: 2 * KIB },
    Target { name: "groups", run: groups::run, allowance: 256 * KIB, max_len: 2 * KIB },
    Target { name: "raft", run: raft::run, allowance: 256 * KIB, max_len: 4 * KIB },
];
