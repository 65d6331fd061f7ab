//! Raft nodes alone, of up to five voters and three observers, static and dynamic, with snapshots and changes of voters.

mod chaos;
mod cluster;
mod machine;
mod random;
mod replica;
#[cfg(test)]
mod scenarios;

pub(crate) use random::run;
