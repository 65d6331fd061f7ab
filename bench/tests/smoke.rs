//! The generator against the floor, in one process: every shape goes in and comes out again. Nothing is timed.

use std::net::TcpListener;
use std::time::Duration;

use minikafka_bench::cell::SHAPES;
use minikafka_bench::floor;
use minikafka_bench::frames::Frames;
use minikafka_bench::load::{Burst, Limit, Load, Walk};
use minikafka_tests::wire::Wire;
use protocol::ErrorCode;
use protocol::batch::batches;

const CLIENTS: usize = 3;
const PARTITIONS: usize = 2;
const IN_FLIGHT: usize = 4;
const REQUESTS: u64 = 30;

#[test]
fn the_floor_takes_and_gives_back_every_shape() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let dir = data.path().to_path_buf();
    std::thread::spawn(move || floor::serve(listener, dir));
    let mut wire = Wire::connect(&address.to_string()).expect("it listens");
    for shape in SHAPES {
        let (batch, records) = shape.batch(1_700_000_000_000);
        assert_eq!(wire.create_topic(shape.name, PARTITIONS as i32).expect("an answer"), ErrorCode::NONE);

        let frames = Frames::produce(shape.name, PARTITIONS, &batch, -1);
        // One client, so that each partition gets its half.
        let burst = run(address, 1, frames, Walk::NONE);
        assert_eq!(burst.requests, REQUESTS, "{}: one answer for each produce", shape.name);

        let batches_each = REQUESTS as i64 / PARTITIONS as i64;
        let end = batches_each * i64::from(records);
        let (error, high_watermark, bytes) =
            wire.fetch(shape.name, 1, end - 1, batch.len() as i32).expect("an answer");
        assert_eq!((error, high_watermark), (ErrorCode::NONE, end), "{}", shape.name);
        assert_eq!(bytes.len(), batch.len(), "{}: the last batch alone", shape.name);
        let last =
            batches(&bytes).next().expect("a batch").expect("a whole one").header().expect("its header");
        assert_eq!(last.base_offset, end - i64::from(records), "{}: at its offset", shape.name);

        let frames = Frames::fetch(shape.name, PARTITIONS, batch.len(), batch.len());
        let burst = run(address, CLIENTS, frames, Walk { step: i64::from(records), end });
        assert_eq!(burst.requests, REQUESTS, "{}: one answer for each fetch", shape.name);
        assert!(burst.received >= REQUESTS * batch.len() as u64, "{}: {} bytes", shape.name, burst.received);

        // Several clients share the requests out as they come to them.
        run(address, CLIENTS, Frames::produce(shape.name, PARTITIONS, &batch, -1), Walk::NONE);
        let ends = (0..PARTITIONS).map(|p| wire.fetch(shape.name, p as i32, 0, 1).expect("an answer").1);
        let all = 2 * REQUESTS as i64 * i64::from(records);
        assert_eq!(ends.sum::<i64>(), all, "{}: every record once", shape.name);
    }
}

#[test]
fn each_node_gets_the_partitions_that_it_leads() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let nodes: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("a bound socket has one")).collect();
    for (i, listener) in listeners.into_iter().enumerate() {
        let dir = data.path().join(i.to_string());
        std::fs::create_dir(&dir).expect("a directory");
        std::thread::spawn(move || floor::serve(listener, dir));
    }
    let mut wires: Vec<_> =
        nodes.iter().map(|node| Wire::connect(&node.to_string()).expect("it listens")).collect();
    for wire in &mut wires {
        assert_eq!(wire.create_topic("split", 4).expect("an answer"), ErrorCode::NONE);
    }
    let (batch, records) = SHAPES[0].batch(1_700_000_000_000);
    let frames = Frames::produce("split", 4, &batch, -1);
    let mut load = Load::connect(&nodes, 2, IN_FLIGHT, frames, Walk::NONE).expect("they listen");
    let burst = load.burst(Limit { requests: REQUESTS, time: Duration::MAX }).expect("good answers");
    assert_eq!(burst.requests, REQUESTS);
    let mut ends = 0;
    for (node, wire) in wires.iter_mut().enumerate() {
        for partition in 0..4 {
            let (_, end, _) = wire.fetch("split", partition, 0, 1).expect("an answer");
            assert_eq!(end > 0, partition as usize % 2 == node, "partition {partition} on node {node}");
            ends += end;
        }
    }
    assert_eq!(ends, REQUESTS as i64 * i64::from(records), "every record once");

    // A connection whose node leads nothing is a mistake of whoever asks for it.
    let frames = Frames::produce("split", 1, &batch, -1);
    assert!(Load::connect(&nodes, 2, IN_FLIGHT, frames, Walk::NONE).is_err());
}

#[test]
fn an_answer_with_an_error_ends_the_run() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let dir = data.path().to_path_buf();
    std::thread::spawn(move || floor::serve(listener, dir));
    // Nothing was written, so that no fetch can have a record.
    let frames = Frames::fetch("empty", 1, 100, 100);
    let mut load = Load::connect(&[address], 1, 1, frames, Walk { step: 1, end: 10 }).expect("it listens");
    let failed = load.burst(Limit { requests: 1, time: Duration::MAX }).expect_err("there is no record");
    assert!(failed.to_string().contains("an answer of"), "{failed}");
}

fn run(address: std::net::SocketAddr, clients: usize, frames: Frames, walk: Walk) -> Burst {
    let mut load = Load::connect(&[address], clients, IN_FLIGHT, frames, walk).expect("it listens");
    load.burst(Limit { requests: REQUESTS, time: Duration::MAX }).expect("good answers")
}
