//! `minikafka-bench`: measures this node beside the floor and Apache Kafka. `cargo xtask bench` builds and runs it.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use minikafka_bench::cell::{self, Cell, Kind, Shape};
use minikafka_bench::placement::{Pinned, Placement};
use minikafka_bench::plan::Plan;
use minikafka_bench::results::Results;
use minikafka_bench::section::{
    IDLE, LATENCY, REPLICATED, REPLICATED_LATENCY, REQUESTS, RESTART, STARTUP, Section,
};
use minikafka_bench::server::{Server, Side};
use minikafka_bench::turns::Rounds;
use minikafka_bench::{floor, idle, latency, profile, report, requests, restart, startup};
use minikafka_tests::setup;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Messages a second of the latency cells.
const RATES: [u64; 2] = [1000, 50_000];
/// And of that with three replicas.
const REPLICATED_RATE: u64 = 1000;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "How fast, beside what the machine itself costs", version)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Draw a flame graph of a cell of produce, fetch or replicated (`cargo xtask profile` has the build that it needs)
    Profile {
        /// The cell's name
        cell: String,
        /// How long
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// The picture
        #[arg(long, default_value = "profile.svg")]
        out: PathBuf,
    },
    /// Be the floor server
    #[command(hide = true)]
    Floor {
        /// Port on 127.0.0.1
        #[arg(long)]
        port: u16,
        /// Directory of its files
        #[arg(long)]
        data: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Produce,
    Fetch,
    Latency,
    Startup,
    Idle,
    Restart,
    Replicated,
}

impl What {
    fn of(kind: Kind) -> What {
        match kind {
            Kind::Produce => What::Produce,
            Kind::Fetch => What::Fetch,
            Kind::Replicated => What::Replicated,
        }
    }
}

#[derive(Args)]
struct Run {
    /// What to measure; everything when nothing is named
    what: Vec<What>,
    /// Print the names of the cells, and measure nothing
    #[arg(long)]
    list: bool,
    /// Only cells whose name contains this; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Requests: only this shape (100B, 16KiB, 1MiB). Options that fit no cell of the table make one
    #[arg(long)]
    shape: Option<Shape>,
    /// Requests: only with so many connections
    #[arg(long)]
    connections: Option<usize>,
    /// Requests: only with so many partitions
    #[arg(long)]
    partitions: Option<usize>,
    /// Requests: only with so many under way on each connection
    #[arg(long)]
    in_flight: Option<usize>,
    /// Whom to compare with: floor, kafka, or both with a comma
    #[arg(long, value_delimiter = ',', default_value = "floor")]
    vs: Vec<Side>,
    /// Only ours: nothing to compare with
    #[arg(long, conflicts_with = "vs")]
    alone: bool,
    /// Measured rounds of each side
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Longest time of a round, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds that each cell runs on a JVM before it is measured
    #[arg(long, default_value_t = 10.0)]
    jvm_warm: f64,
    /// Where server and generator run
    #[arg(long, value_enum, default_value = "free")]
    placement: Placement,
    /// acks of produce requests: 1, or -1 for all
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    acks: i16,
    /// Do not count system calls (for which perf is needed)
    #[arg(long)]
    no_syscalls: bool,
    /// What a restart finds on the disk, in GB
    #[arg(long, default_value_t = 10.0)]
    restart_gb: f64,
    /// Directory of the results; bench/results unless told otherwise
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    raise_file_limit();
    let result = match cli.command {
        None if cli.run.list => {
            cell::table().iter().for_each(|cell| println!("{cell}"));
            other_cells().iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        None => measure(&cli.run),
        Some(Command::Profile { cell, seconds, out }) => flame_graph(&cell, seconds, &out),
        Some(Command::Floor { port, data }) => {
            TcpListener::bind(("127.0.0.1", port)).and_then(|listener| floor::serve(listener, data))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// A cell that is not one of requests.
#[derive(Clone, Copy)]
enum Other {
    Latency(u64),
    Startup,
    Idle(usize, usize),
    /// Both restarts: they share the filling.
    Restart,
    ReplicatedLatency(u64),
}

fn other_cells() -> Vec<(String, Other)> {
    let latency = RATES.map(|rate| (format!("latency-{rate}"), Other::Latency(rate)));
    let idle = idle::CELLS.map(|(p, c)| (format!("idle-{p}p-{c}c"), Other::Idle(p, c)));
    let mut cells = Vec::from(latency);
    cells.push(("startup".to_owned(), Other::Startup));
    cells.extend(idle);
    cells.push(("restart".to_owned(), Other::Restart));
    let replicated = format!("replicated-latency-{REPLICATED_RATE}");
    cells.push((replicated, Other::ReplicatedLatency(REPLICATED_RATE)));
    cells
}

impl Run {
    fn wants(&self, what: What) -> bool {
        self.what.is_empty() || self.what.contains(&what)
    }

    fn named(&self, cell: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| cell.contains(part))
    }

    fn plan(&self) -> Plan {
        Plan {
            rounds: self.rounds.max(1),
            time: Duration::from_secs_f64(self.seconds),
            acks: self.acks,
            syscalls: !self.no_syscalls,
            jvm_warm: Duration::from_secs_f64(self.jvm_warm),
            restart_bytes: (self.restart_gb * 1e9) as u64,
        }
    }

    /// The chosen cells of produce and fetch, and of both to a cluster.
    fn cells(&self) -> Vec<Cell> {
        let wanted = |kind| self.wants(What::of(kind));
        let asked = |asked: Option<usize>, has: usize| asked.is_none_or(|n| n == has);
        let fits = |cell: &Cell| {
            wanted(cell.kind)
                && self.shape.is_none_or(|shape| shape == cell.shape)
                && asked(self.connections, cell.connections)
                && asked(self.partitions, cell.partitions)
                && asked(self.in_flight, cell.in_flight)
                && self.named(&cell.to_string())
        };
        let mut cells: Vec<Cell> = cell::table().into_iter().filter(fits).collect();
        let kinds = [Kind::Produce, Kind::Fetch, Kind::Replicated].into_iter().filter(|kind| wanted(*kind));
        if cells.is_empty() && self.only.is_empty() {
            let shape = self.shape.unwrap_or(cell::SHAPES[0]);
            let [connections, partitions, in_flight] =
                [self.connections, self.partitions, self.in_flight].map(|n| n.unwrap_or(1).max(1));
            cells.extend(kinds.map(|kind| Cell { kind, shape, connections, partitions, in_flight }));
        }
        cells
    }

    /// The chosen cells of everything else.
    fn others(&self) -> Vec<(String, Other)> {
        let what = |other| match other {
            Other::Latency(_) => What::Latency,
            Other::Startup => What::Startup,
            Other::Idle(..) => What::Idle,
            Other::Restart => What::Restart,
            Other::ReplicatedLatency(_) => What::Replicated,
        };
        let chosen = |(name, other): &(String, Other)| self.wants(what(*other)) && self.named(name);
        other_cells().into_iter().filter(chosen).collect()
    }
}

/// A run: what is measured so far, and how it is shown.
struct Bench {
    placement: Placement,
    sides: Vec<Side>,
    results: Results,
    section: &'static str,
}

impl Bench {
    fn show(
        &mut self,
        section: &'static Section,
        cell: &str,
        sides: &[Side],
        rounds: &Rounds,
    ) -> io::Result<()> {
        let cell = format!("{cell}-{}", self.placement.name());
        if self.section != section.name {
            self.section = section.name;
            println!("\n{}", report::heading(section));
        }
        let rows = report::rows(section, &cell, sides, rounds);
        rows.iter().for_each(|row| println!("{}", report::line(row)));
        self.results.add(rows)
    }

    /// All sides, running.
    fn servers(&self) -> io::Result<Vec<Server>> {
        self.sides.iter().map(|side| Server::start(*side)).collect()
    }

    /// The sides that can do more than the floor.
    fn without_floor(&self) -> Vec<Side> {
        self.sides.iter().copied().filter(|side| *side != Side::Floor).collect()
    }
}

fn measure(run: &Run) -> io::Result<()> {
    let _pinned = Pinned::to(run.placement)?;
    let mut sides = vec![Side::Ours];
    sides.extend(run.vs.iter().filter(|_| !run.alone));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let dir = run.results.clone().unwrap_or_else(|| setup::root().join("bench/results"));
    let results = Results::begin(&dir, &words.join(" "))?;
    let mut bench = Bench { placement: run.placement, sides, results, section: "" };
    let (plan, others) = (run.plan(), run.others());
    let (replicated, cells): (Vec<Cell>, Vec<Cell>) =
        run.cells().into_iter().partition(|cell| cell.kind == Kind::Replicated);
    if !cells.is_empty() {
        let servers = bench.servers()?;
        for cell in &cells {
            let rounds = requests::run(cell, &plan, &servers)?;
            bench.show(&REQUESTS, &cell.to_string(), &bench.sides.clone(), &rounds)?;
        }
    }
    for (name, other) in others {
        measure_other(&mut bench, &plan, &name, other)?;
    }
    if !replicated.is_empty() {
        let sides = bench.without_floor();
        let clusters = clusters(&sides)?;
        for cell in &replicated {
            let rounds = requests::run(cell, &plan, &clusters)?;
            bench.show(&REPLICATED, &cell.to_string(), &sides, &rounds)?;
        }
    }
    report::bars(bench.results.rows()).iter().for_each(|bar| println!("{bar}"));
    println!("results: {}.*", bench.results.stem().display());
    Ok(())
}

fn clusters(sides: &[Side]) -> io::Result<Vec<Server>> {
    sides.iter().map(|side| Server::cluster(*side)).collect()
}

fn measure_other(bench: &mut Bench, plan: &Plan, name: &str, other: Other) -> io::Result<()> {
    let sides = bench.sides.clone();
    match other {
        Other::Latency(rate) => {
            let servers = bench.servers()?;
            bench.show(&LATENCY, name, &sides, &latency::run(rate, plan, &servers)?)
        }
        Other::Startup => bench.show(&STARTUP, name, &sides, &startup::run(plan, &sides)?),
        Other::Idle(partitions, connections) => {
            bench.show(&IDLE, name, &sides, &idle::run(partitions, connections, plan, &sides)?)
        }
        Other::Restart => {
            // The floor finds nothing again.
            let sides = bench.without_floor();
            let [clean, unclean] = restart::run(plan, &sides)?;
            bench.show(&RESTART, "restart-clean", &sides, &clean)?;
            bench.show(&RESTART, "restart-unclean", &sides, &unclean)
        }
        Other::ReplicatedLatency(rate) => {
            let sides = bench.without_floor();
            let rounds = latency::run(rate, plan, &clusters(&sides)?)?;
            bench.show(&REPLICATED_LATENCY, name, &sides, &rounds)
        }
    }
}

fn flame_graph(name: &str, seconds: f64, out: &std::path::Path) -> io::Result<()> {
    let cell = cell::table().into_iter().find(|cell| cell.to_string() == name);
    let cell = cell.ok_or_else(|| io::Error::other("no such cell: `cargo xtask bench --list` names them"))?;
    let plan = Plan {
        rounds: 1,
        time: Duration::from_secs(2),
        acks: -1,
        syscalls: false,
        jvm_warm: Duration::ZERO,
        restart_bytes: 0,
    };
    let server =
        if cell.kind == Kind::Replicated { Server::cluster(Side::Ours) } else { Server::start(Side::Ours) }?;
    profile::run(&cell, &plan, &server, Duration::from_secs_f64(seconds), out)?;
    println!("{}", out.display());
    Ok(())
}

/// A thousand partitions and connections need more files than a shell usually allows.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
