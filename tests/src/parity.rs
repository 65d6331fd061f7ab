//! The same requests to our node and to Apache Kafka, and their answers as text that can be compared.
//!
//! A script sends well-formed and slightly wrong requests to a fresh node, one after another, and notes every answer
//! (or that the connection was closed). What differs from run to run - ids, ports, times, sizes - is replaced by what
//! it is ([`normal`]). Apache Kafka's answers are kept in `testdata/answers-4.1.2.txt`; how they were made and which
//! differences are wanted is in `tests/compat/README.md`.

mod accounts;
mod alter;
mod configs;
mod controller;
mod dynamic;
mod fetch;
mod groups;
mod log_admin;
mod metadata;
pub(crate) mod normal;
mod offsets;
mod produce;
mod raw;
mod replay;
pub(crate) mod session;
mod topics;
mod versions;

use crate::node::Node;
pub use dynamic::{change_every_key, see_changes_act};
pub use replay::{Replayed, replay};
pub use session::Answer;
use session::Session;

/// Sends all requests to a fresh node; gives the answers in their order.
pub fn answers(node: &Node) -> Vec<Answer> {
    let mut s = Session::new(node);
    versions::script(&mut s);
    topics::script(&mut s);
    metadata::script(&mut s);
    produce::script(&mut s);
    fetch::script(&mut s);
    offsets::script(&mut s);
    log_admin::script(&mut s);
    configs::script(&mut s);
    alter::script(&mut s);
    accounts::script(&mut s, &node.data().display().to_string());
    groups::script(&mut s);
    topics::deletions(&mut s);
    raw::script(&mut s);
    controller::script(&mut s);
    s.into_answers()
}
