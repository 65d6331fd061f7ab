//! What is measured: one cell is a kind of request, a shape of batch, and how many of each thing.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use protocol::batch::BatchBuilder;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Produce requests with one batch of the shape each.
    Produce,
    /// Fetch requests for one partition each, as large as the shape.
    Fetch,
    /// Produce requests to a cluster of three, each to the leader of its partition; every node has a replica.
    Replicated,
}

impl Kind {
    /// Its name in the table and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Produce => "produce",
            Kind::Fetch => "fetch",
            Kind::Replicated => "replicated",
        }
    }

    /// Copies of each batch that the servers write.
    pub fn replicas(self) -> u64 {
        if self == Kind::Replicated { 3 } else { 1 }
    }
}

/// A batch: records of one size, as many as fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name in the table and on the command line.
    pub name: &'static str,
    /// Bytes of a record's value.
    value: usize,
    /// The batch does not get larger than this; one record is always in it.
    limit: usize,
}

/// All shapes: one record alone, the default batch of clients, the largest batch of a default broker.
pub const SHAPES: [Shape; 3] = [
    Shape { name: "100B", value: 100, limit: 0 },
    Shape { name: "16KiB", value: 100, limit: 16 << 10 },
    Shape { name: "1MiB", value: 1 << 10, limit: 1 << 20 },
];

impl Shape {
    /// One uncompressed batch whose records were made at `now_ms`, and the number of its records.
    pub fn batch(&self, now_ms: i64) -> (Bytes, u32) {
        let value = vec![b'x'; self.value];
        let mut builder = BatchBuilder::new(0);
        let mut record = 0;
        // The first record is never too large; a record is as large as the one before it, or a byte larger.
        while record == 0 || builder.size() + record < self.limit {
            let before = builder.size();
            builder.push_pair(now_ms, None, Some(&value));
            record = builder.size() - before;
        }
        let count = builder.count().unsigned_abs();
        (builder.build().freeze(), count)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let found = SHAPES.into_iter().find(|s| s.name.eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("a shape is one of {}", SHAPES.map(|s| s.name).join(", ")))
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What the clients do.
    pub kind: Kind,
    /// The batch that is written, or how much a fetch asks for.
    pub shape: Shape,
    /// Clients.
    pub connections: usize,
    /// Partitions that the requests go to in turn.
    pub partitions: usize,
    /// Requests that each client has under way.
    pub in_flight: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { kind, shape, connections, partitions, in_flight } = self;
        write!(f, "{}-{}-{connections}c-{partitions}p-{in_flight}k", kind.name(), shape.name)
    }
}

/// Every cell of the table.
pub fn table() -> Vec<Cell> {
    let mut cells = Vec::new();
    for kind in [Kind::Produce, Kind::Fetch] {
        for shape in SHAPES {
            let depths: &[usize] = match (kind, shape.name) {
                (Kind::Fetch, _) => &[1],
                (_, "100B") => &[1, 5, 64],
                _ => &[5],
            };
            for &in_flight in depths {
                cells.push(Cell { kind, shape, connections: 1, partitions: 1, in_flight });
            }
            let in_flight = if kind == Kind::Fetch { 1 } else { 5 };
            for (connections, partitions) in [(10, 1), (100, 1), (1, 1000), (10, 1000), (100, 1000)] {
                cells.push(Cell { kind, shape, connections, partitions, in_flight });
            }
        }
    }
    // One leader, and every node the leader of a partition.
    for (connections, partitions) in [(1, 1), (3, 3)] {
        let shape = SHAPES[1];
        cells.push(Cell { kind: Kind::Replicated, shape, connections, partitions, in_flight: 5 });
    }
    cells
}
