//! The sections of the table with their columns, and the bars that the project sets itself.

use crate::server::Side;

/// A column of a section.
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// Whether the ratio of ours to the others is told.
    pub ratio: bool,
    /// Whether the smallest of the rounds is told, not their median.
    pub least: bool,
}

const fn column(name: &'static str, digits: usize) -> Column {
    Column { name, digits, ratio: false, least: false }
}

const fn compared(name: &'static str, digits: usize) -> Column {
    Column { name, digits, ratio: true, least: false }
}

/// Lines of the table that measure the same things.
pub struct Section {
    /// Its heading.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// The column that the picture shows.
    pub drawn: usize,
}

/// Produce and fetch at full load.
pub const REQUESTS: Section = Section {
    name: "requests",
    columns: &[
        compared("cpu us/req", 2),
        Column { name: "least", digits: 2, ratio: false, least: true },
        column("cpu s/GB", 3),
        column("cpu ns/rec", 0),
        compared("kreq/s", 1),
        column("MB/s", 0),
        column("switches/req", 2),
        column("calls/req", 2),
        column("futex/req", 2),
        column("RSS MiB", 1),
        column("peak MiB", 1),
        column("others", 2),
    ],
    drawn: 0,
};

/// Produce to a cluster of three: processor time and memory are those of all three, bytes are counted once.
pub const REPLICATED: Section = Section {
    name: "replicated",
    columns: &[
        column("cpu us/req", 2),
        Column { name: "least", digits: 2, ratio: false, least: true },
        compared("cpu s/GB", 3),
        column("cpu ns/rec", 0),
        compared("kreq/s", 1),
        column("MB/s", 0),
        column("switches/req", 2),
        column("calls/req", 2),
        column("futex/req", 2),
        column("RSS MiB", 1),
        column("peak MiB", 1),
        column("others", 2),
    ],
    drawn: 2,
};

/// From the moment at which a record was to be sent to its arrival at a consumer.
pub const LATENCY: Section = Section { name: "latency", columns: LATENCIES, drawn: 0 };

/// The same with a cluster of three; written to the leader and read from it.
pub const REPLICATED_LATENCY: Section = Section { name: "replicated latency", columns: LATENCIES, drawn: 0 };

const LATENCIES: &[Column] = &[
    compared("p50 us", 0),
    compared("p99 us", 0),
    column("p99.9 us", 0),
    column("max us", 0),
    column("kmsg/s", 1),
    column("cpu us/msg", 2),
    column("others", 2),
];

/// From exec on an empty, formatted directory.
pub const STARTUP: Section =
    Section { name: "start-up", columns: &[compared("accept ms", 1), compared("record ms", 1)], drawn: 1 };

/// Memory and processor time of a server with nothing to do.
pub const IDLE: Section = Section {
    name: "idle",
    columns: &[compared("RSS MiB", 1), compared("cpu %", 3), column("threads", 0)],
    drawn: 0,
};

/// From exec on a full directory.
pub const RESTART: Section = Section {
    name: "restart",
    columns: &[compared("accept ms", 1), compared("served ms", 0), column("cpu s", 2), column("RSS MiB", 1)],
    drawn: 1,
};

/// What a figure is held to.
pub enum Limit {
    /// At most so much.
    Most(f64),
    /// The ratio of ours to this side is at most so much.
    Times(Side, f64),
    /// Processor time of a request is at most so many times that of another cell.
    TimesCell(&'static str, f64),
}

/// A promise about a cell: the beginning of its name, the column, the limit.
pub struct Bar(pub &'static str, pub &'static str, pub Limit);

/// All bars.
pub const BARS: &[Bar] = &[
    Bar("produce-16KiB-1c-1p-5k", "cpu us/req", Limit::Times(Side::Floor, 1.4)),
    Bar("produce-1MiB-1c-1p-5k", "cpu us/req", Limit::Times(Side::Floor, 1.5)),
    Bar("produce-100B-1c-1p-1k", "cpu us/req", Limit::Times(Side::Floor, 1.5)),
    Bar("produce-100B-1c-1p-64k", "cpu us/req", Limit::Times(Side::Floor, 1.7)),
    Bar("fetch-1MiB-1c-1p-1k", "cpu us/req", Limit::Times(Side::Floor, 1.3)),
    // Requests for each second of processor time: 0.9 of those of one connection, 0.8 of those to one partition.
    Bar("produce-16KiB-100c-1p-5k", "cpu us/req", Limit::TimesCell("produce-16KiB-1c-1p-5k", 1.0 / 0.9)),
    Bar("produce-16KiB-1c-1000p-5k", "cpu us/req", Limit::TimesCell("produce-16KiB-1c-1p-5k", 1.0 / 0.8)),
    Bar("fetch-16KiB-100c-1p-1k", "cpu us/req", Limit::TimesCell("fetch-16KiB-1c-1p-1k", 1.0 / 0.9)),
    Bar("fetch-16KiB-1c-1000p-1k", "cpu us/req", Limit::TimesCell("fetch-16KiB-1c-1p-1k", 1.0 / 0.8)),
    Bar("latency-1000", "p50 us", Limit::Most(100.0)),
    Bar("latency-1000", "p99 us", Limit::Most(500.0)),
    Bar("startup", "accept ms", Limit::Most(15.0)),
    Bar("startup", "record ms", Limit::Most(60.0)),
    Bar("idle-0p-1c", "RSS MiB", Limit::Most(12.0)),
    Bar("idle-0p-1c", "cpu %", Limit::Most(0.1)),
    Bar("idle-1000p-1c", "RSS MiB", Limit::Most(20.0)),
    Bar("idle-1000p-1c", "cpu %", Limit::Most(0.3)),
    Bar("replicated-16KiB", "cpu s/GB", Limit::Most(3.0)),
    Bar("replicated-16KiB", "cpu s/GB", Limit::Times(Side::Kafka, 1.0 / 12.0)),
    Bar("replicated-latency-1000", "p50 us", Limit::Most(250.0)),
    Bar("replicated-latency-1000", "p99 us", Limit::Most(2000.0)),
    Bar("restart-unclean", "served ms", Limit::Most(3000.0)),
];
