//! What a connection may not do: be one too many, take for ever, or take all memory.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minikafka_net::tasks::Tasks;
use minikafka_net::{
    Bounds, ConnectionInfo, ConnectionLimits, ConnectionQuotas, Listener, ListenerQuota, MemoryBudget,
    Outbox, Outcome, Purpose, QuotaSettings, Service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(20);
/// Long enough for something wrong to happen, most of the time.
const A_WHILE: Duration = Duration::from_millis(100);

/// Frames that start with `l` get a large answer, `d` needs as much memory as the rest says; others are echoed.
struct Echo {
    memory: Arc<MemoryBudget>,
}

impl Service for Echo {
    type Session = ();

    fn open(&self, _info: &ConnectionInfo) {}

    fn call(&self, _session: &mut (), frame: &mut [u8], out: &mut Outbox) -> Outcome {
        let needs = match frame {
            [b'd', rest @ ..] => std::str::from_utf8(rest).unwrap().parse().unwrap(),
            _ => 0,
        };
        let Some(_charge) = self.memory.try_charge(needs, Purpose::Decoding) else { return Outcome::Starved };
        let mark = out.begin_frame();
        match frame {
            [b'l', ..] => out.buffer().resize(64 << 20, 7),
            _ => out.buffer().extend_from_slice(frame),
        }
        out.end_frame(mark);
        Outcome::Answered
    }
}

struct Server {
    addresses: Vec<SocketAddr>,
    bounds: Arc<Bounds>,
    tasks: Tasks,
}

/// Listeners `A`, `B`… with these bounds.
async fn serve(count: usize, limits: ConnectionLimits, quotas: QuotaSettings, memory: usize) -> Server {
    let tasks = Tasks::new();
    let quotas = ConnectionQuotas::new(quotas);
    let bounds = Arc::new(Bounds { limits, quotas, memory: MemoryBudget::new(memory) });
    let service = Arc::new(Echo { memory: bounds.memory.clone() });
    let mut addresses = Vec::new();
    for name in ["A", "B"].into_iter().take(count) {
        let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
        addresses.push(listener.address());
        tasks.spawn(listener.serve(name.into(), service.clone(), bounds.clone(), tasks.clone()));
    }
    Server { addresses, bounds, tasks }
}

impl Server {
    async fn connect(&self, listener: usize) -> TcpStream {
        TcpStream::connect(self.addresses[listener]).await.unwrap()
    }

    /// A connection that has been served.
    async fn served(&self, listener: usize) -> TcpStream {
        let mut stream = self.connect(listener).await;
        assert!(is_served(&mut stream).await);
        stream
    }

    async fn wait_for_connections(&self, count: usize) {
        let all = async {
            while self.bounds.quotas.connections() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, all).await.unwrap();
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
}

async fn is_served(stream: &mut TcpStream) -> bool {
    let _ = stream.write_all(&frame(b"e")).await;
    let mut answer = [0; 5];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().is_ok()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

fn quotas(connections: usize) -> QuotaSettings {
    QuotaSettings { connections, ..QuotaSettings::default() }
}

const PLENTY: usize = 256 << 20;

#[tokio::test]
async fn a_connection_too_many_waits_for_another_to_end() {
    let server = serve(1, ConnectionLimits::default(), quotas(2), PLENTY).await;
    let first = server.served(0).await;
    let _second = server.served(0).await;
    let mut third = server.connect(0).await;
    third.write_all(&frame(b"e")).await.unwrap();
    assert!(timeout(A_WHILE, third.read_i32()).await.is_err(), "it is not served");
    drop(first);
    assert_eq!(timeout(SOON, third.read_i32()).await.unwrap().unwrap(), 1);
    server.bounds.quotas.set(quotas(3));
    server.served(0).await;
    server.tasks.stop(SOON).await;
    assert_eq!(server.bounds.quotas.connections(), 0);
}

#[tokio::test]
async fn a_smaller_number_closes_who_was_idle_longest() {
    let server = serve(1, ConnectionLimits::default(), quotas(10), PLENTY).await;
    let mut first = server.served(0).await;
    let mut second = server.served(0).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(is_served(&mut first).await);
    server.bounds.quotas.set(quotas(1));
    assert!(is_closed(&mut second).await);
    assert!(is_served(&mut first).await);
}

#[tokio::test]
async fn the_exempt_listener_takes_the_place_of_another() {
    let settings = QuotaSettings { exempt: Some("B".to_owned()), ..quotas(2) };
    let server = serve(2, ConnectionLimits::default(), settings, PLENTY).await;
    let mut oldest = server.served(0).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut other = server.served(0).await;
    let mut exempt = server.served(1).await;
    assert!(is_closed(&mut oldest).await);
    assert!(is_served(&mut other).await && is_served(&mut exempt).await);
    server.wait_for_connections(2).await;
}

#[tokio::test]
async fn a_listener_has_a_number_of_its_own() {
    let own = ListenerQuota { connections: 1, creation_rate: u32::MAX };
    let settings = QuotaSettings {
        exempt: Some("B".to_owned()),
        listeners: [("B".to_owned(), own)].into(),
        ..QuotaSettings::default()
    };
    let server = serve(2, ConnectionLimits::default(), settings, PLENTY).await;
    let _held = server.served(1).await;
    let mut next = server.connect(1).await;
    next.write_all(&frame(b"e")).await.unwrap();
    assert!(timeout(A_WHILE, next.read_i32()).await.is_err(), "it is not served");
    server.served(0).await;
}

#[tokio::test]
async fn an_address_has_a_number_of_connections() {
    let localhost = "127.0.0.1".parse().unwrap();
    let settings = |per_ip, of_localhost: Option<usize>| QuotaSettings {
        per_ip,
        per_ip_overrides: of_localhost.map(|n| (localhost, n)).into_iter().collect(),
        ..QuotaSettings::default()
    };
    let server = serve(1, ConnectionLimits::default(), settings(1, None), PLENTY).await;
    let first = server.served(0).await;
    assert!(is_closed(&mut server.connect(0).await).await);
    server.bounds.quotas.set(settings(1, Some(2)));
    let second = server.served(0).await;
    assert!(is_closed(&mut server.connect(0).await).await);
    drop((first, second));
    server.wait_for_connections(0).await;
    server.served(0).await;
}

#[tokio::test]
async fn connections_come_at_most_at_the_rate() {
    let settings = QuotaSettings { creation_rate: 10, ..QuotaSettings::default() };
    let server = serve(1, ConnectionLimits::default(), settings, PLENTY).await;
    let start = Instant::now();
    for _ in 0..103 {
        server.served(0).await;
    }
    // Ten seconds' worth come at once, then one each 100 ms, and later.
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

fn impatient(frame: Duration) -> ConnectionLimits {
    ConnectionLimits { frame, ..ConnectionLimits::default() }
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_closes_the_connection() {
    let server = serve(1, impatient(Duration::from_millis(300)), quotas(10), PLENTY).await;
    let mut whole = server.served(0).await;
    let mut slow = server.connect(0).await;
    slow.write_all(&1000i32.to_be_bytes()).await.unwrap();
    let start = Instant::now();
    let mut closed = false;
    while start.elapsed() < SOON && !closed {
        closed = slow.write_all(b"x").await.is_err() || slow.try_read(&mut [0]).is_ok();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(closed && start.elapsed() >= Duration::from_millis(250), "{closed} {:?}", start.elapsed());
    assert!(is_served(&mut whole).await, "who sends nothing is let be");
    assert_eq!(server.bounds.memory.used(), 0);
}

#[tokio::test]
async fn requests_wait_for_memory_and_end_one_by_one() {
    // Twelve requests of 2 MiB, memory for one and a half.
    let server = serve(1, ConnectionLimits::default(), quotas(100), 3 << 20).await;
    let request = Arc::new(frame(&vec![b'x'; 2 << 20]));
    let mut clients = Vec::new();
    for _ in 0..12 {
        let (mut stream, request) = (server.connect(0).await, request.clone());
        clients.push(tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            let mut answer = vec![0; request.len()];
            let (sent, read) = tokio::join!(to.write_all(&request), from.read_exact(&mut answer));
            sent.is_ok() && read.is_ok() && answer == *request
        }));
    }
    for client in clients {
        assert!(timeout(SOON * 3, client).await.unwrap().unwrap());
    }
    server.wait_for_connections(0).await;
    assert_eq!(server.bounds.memory.used(), 0);
}

#[tokio::test]
async fn large_requests_that_never_end_keep_no_small_one_out() {
    let server = serve(1, impatient(Duration::from_secs(2)), quotas(100), 4 << 20).await;
    let mut large = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect(0).await;
        stream.write_all(&(50i32 << 20).to_be_bytes()).await.unwrap();
        let _ = timeout(A_WHILE, stream.write_all(&vec![0; 2 << 20])).await;
        large.push(stream);
    }
    let mut small = server.served(0).await;
    for _ in 0..50 {
        assert!(is_served(&mut small).await);
    }
    // One of them has the overdraft, and those that have a buffer are closed in the end.
    assert!(server.bounds.memory.used() <= 12 << 20, "{}", server.bounds.memory.used());
    for stream in &mut large {
        assert!(is_closed(stream).await);
    }
    assert_eq!(server.bounds.memory.used(), 0);
}

#[tokio::test]
async fn a_request_is_handled_once_there_is_memory_for_what_it_becomes() {
    let server = serve(1, ConnectionLimits::default(), quotas(10), 1 << 20).await;
    let held = server.bounds.memory.try_charge(700 << 10, Purpose::Growth).unwrap();
    let overdraft = server.bounds.memory.try_charge(700 << 10, Purpose::Decoding).unwrap();
    let mut stream = server.connect(0).await;
    stream.write_all(&[frame(b"d300000"), frame(b"e")].concat()).await.unwrap();
    assert!(timeout(A_WHILE, stream.read_i32()).await.is_err(), "there is no memory");
    drop((held, overdraft));
    assert_eq!(timeout(SOON, stream.read_i32()).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn answers_that_nobody_takes_are_charged_and_given_up_for_others() {
    let server = serve(1, impatient(Duration::from_secs(1)), quotas(10), 1 << 20).await;
    let mut slow = server.connect(0).await;
    slow.write_all(&frame(b"l")).await.unwrap();
    let charged = async {
        while server.bounds.memory.used() < 64 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, charged).await.unwrap();
    // Somebody waits for memory now: the one that takes nothing is closed.
    server.served(0).await;
    let mut rest = Vec::new();
    let _ = timeout(SOON, slow.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 64 << 20);
}
