//! Names of things in a quorum: replicas, endpoints, positions in the log.

use uuid::Uuid;

/// A replica of the metadata log: node id and, where known, the id of its metadata log directory (KIP-853).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// `node.id`.
    pub id: i32,
    /// `directory.id` of `metadata.log.dir`; the zero uuid of the wire is `None` here.
    pub directory_id: Option<Uuid>,
}

impl ReplicaKey {
    /// The key of `id` in `directory`; a zero uuid means that the directory is not known.
    pub fn new(id: i32, directory: Uuid) -> ReplicaKey {
        ReplicaKey { id, directory_id: (!directory.is_nil()).then_some(directory) }
    }

    /// The directory id as the wire has it: zero when unknown.
    pub fn directory_or_zero(&self) -> Uuid {
        self.directory_id.unwrap_or(Uuid::nil())
    }
}

/// Host and port to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A listener of a controller: its name is protocol data, since peers look endpoints up by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Listener name in upper case, such as `CONTROLLER`.
    pub name: String,
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Where to connect to.
    pub fn address(&self) -> Address {
        Address { host: self.host.clone(), port: self.port }
    }
}

/// A position in the log with the epoch of the record before it; also the id of a snapshot
/// (`offset` is then the exclusive end of what it contains).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetAndEpoch {
    /// Exclusive end offset.
    pub offset: i64,
    /// Epoch of the last record below `offset`.
    pub epoch: i32,
}
