//! `minikafka-bench`: measures this node beside the floor and Apache Kafka. `cargo xtask bench` builds and runs it.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use minikafka_bench::cell::{self, Cell, Kind, Shape};
use minikafka_bench::placement::{Pinned, Placement};
use minikafka_bench::rounds::Plan;
use minikafka_bench::server::{Server, Side};
use minikafka_bench::{floor, report, rounds};
use rustix::process::{Resource, getrlimit, setrlimit};

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "How fast, beside what the machine itself costs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Produce cells
    Produce(Run),
    /// Fetch cells
    Fetch(Run),
    /// The names of all cells
    List,
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

/// Options of the cells of produce and fetch. Options that together match no cell of the table make one.
#[derive(Args)]
struct Run {
    /// Only cells whose name contains this; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Only this shape: 100B, 16KiB or 1MiB
    #[arg(long)]
    shape: Option<Shape>,
    /// Only with so many connections
    #[arg(long)]
    connections: Option<usize>,
    /// Only with so many partitions
    #[arg(long)]
    partitions: Option<usize>,
    /// Only with so many requests in flight on each connection
    #[arg(long)]
    in_flight: Option<usize>,
    /// Whom to compare with: floor, kafka
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
    /// Where server and generator run
    #[arg(long, value_enum, default_value = "free")]
    placement: Placement,
    /// acks of produce requests: -1 (all), 0 is not possible here
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    acks: i16,
    /// Do not count system calls (for which perf is needed)
    #[arg(long)]
    no_syscalls: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Produce(run) => measure(&[Kind::Produce], &run),
        Command::Fetch(run) => measure(&[Kind::Fetch], &run),
        Command::List => {
            cell::table().iter().for_each(|cell| println!("{cell}"));
            Ok(())
        }
        Command::Floor { port, data } => {
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

fn measure(kinds: &[Kind], run: &Run) -> io::Result<()> {
    let cells = selected(kinds, run);
    raise_file_limit();
    let _pinned = Pinned::to(run.placement)?;
    let mut sides = vec![Side::Ours];
    if !run.alone {
        sides.extend(&run.vs);
    }
    let servers = sides.into_iter().map(Server::start).collect::<io::Result<Vec<_>>>()?;
    let plan = Plan {
        rounds: run.rounds,
        time: Duration::from_secs_f64(run.seconds),
        acks: run.acks,
        syscalls: !run.no_syscalls,
    };
    let mut names = 0;
    println!("{}", report::HEADING);
    for cell in &cells {
        let measured = rounds::run(cell, &plan, &servers, &mut names)?;
        for line in report::lines(cell, run.placement, &measured) {
            println!("{line}");
        }
    }
    Ok(())
}

fn selected(kinds: &[Kind], run: &Run) -> Vec<Cell> {
    let asked = |asked: Option<usize>, has: usize| asked.is_none_or(|n| n == has);
    let fits = |cell: &Cell| {
        kinds.contains(&cell.kind)
            && run.shape.is_none_or(|shape| shape == cell.shape)
            && asked(run.connections, cell.connections)
            && asked(run.partitions, cell.partitions)
            && asked(run.in_flight, cell.in_flight)
            && (run.only.is_empty() || run.only.iter().any(|part| cell.to_string().contains(part)))
    };
    let cells: Vec<Cell> = cell::table().into_iter().filter(fits).collect();
    if cells.is_empty() && run.only.is_empty() {
        let shape = run.shape.unwrap_or(cell::SHAPES[0]);
        let (connections, partitions) = (run.connections.unwrap_or(1), run.partitions.unwrap_or(1));
        let in_flight = run.in_flight.unwrap_or(1);
        return vec![Cell { kind: kinds[0], shape, connections, partitions, in_flight }];
    }
    cells
}

/// A thousand partitions and a hundred connections need more files than a shell usually allows.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
