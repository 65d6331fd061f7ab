//! The connection loop against a service that echoes, waits, or refuses, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minikafka_net::tasks::Tasks;
use minikafka_net::{
    Bounds, ConnectionInfo, ConnectionLimits, ConnectionQuotas, FileRange, Listener, MemoryBudget, Outbox,
    Outcome, QuotaSettings, Service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Frames start with a letter: `e` echoes, `w` echoes later, `s` echoes slowly, `X` likewise and holds up others,
/// `c` counts requests, `n` gets nothing, `x` closes, `f` sends a file; `p` echoes once a `g` came, `q` fails then.
struct Echo {
    count: AtomicU8,
    go: watch::Sender<bool>,
    /// How many answers with a label left together, write by write.
    written: Mutex<Vec<usize>>,
    file: Arc<std::fs::File>,
    file_len: usize,
}

impl Service for Echo {
    type Session = ();

    fn open(&self, _info: &ConnectionInfo) {}

    fn call(&self, _session: &mut (), frame: &mut [u8], out: &mut Outbox) -> Outcome {
        let put = |out: &mut Outbox, bytes: &[u8]| {
            let mark = out.begin_frame();
            out.buffer().extend_from_slice(bytes);
            out.end_frame(mark);
        };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        match frame.first() {
            Some(b'c') => {
                put(out, &[count]);
                Outcome::Answered
            }
            Some(letter @ (b's' | b'X')) => {
                let copy = frame.to_vec();
                let answer = Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let mut out = Outbox::new();
                    put(&mut out, &copy);
                    Some(out)
                });
                if *letter == b's' { Outcome::Pending(answer) } else { Outcome::Exclusive(answer) }
            }
            Some(b'e') => {
                put(out, frame);
                Outcome::Answered
            }
            Some(b'w') => {
                let copy = frame.to_vec();
                Outcome::Pending(Box::pin(async move {
                    tokio::task::yield_now().await;
                    let mut out = Outbox::new();
                    put(&mut out, &copy);
                    Some(out)
                }))
            }
            Some(b'f') => {
                let mark = out.begin_frame();
                out.buffer().extend_from_slice(b"f");
                out.push_file(FileRange { file: self.file.clone(), position: 0, len: self.file_len });
                out.buffer().extend_from_slice(b"!");
                out.end_frame(mark);
                Outcome::Answered
            }
            Some(letter @ (b'p' | b'q')) => {
                let (copy, fails, mut go) = (frame.to_vec(), *letter == b'q', self.go.subscribe());
                Outcome::Pending(Box::pin(async move {
                    go.wait_for(|is_open| *is_open).await.unwrap();
                    let mut out = Outbox::new();
                    put(&mut out, &copy);
                    out.label(1);
                    (!fails).then_some(out)
                }))
            }
            Some(b'g') => {
                self.go.send_replace(true);
                put(out, frame);
                Outcome::Answered
            }
            Some(b'n') => Outcome::Unanswered,
            _ => Outcome::Close("told to".to_owned()),
        }
    }

    fn sent(&self, labels: &[i16], _took: Duration) {
        self.written.lock().unwrap().push(labels.len());
    }
}

async fn start(limits: ConnectionLimits) -> (TcpStream, Tasks) {
    let (stream, tasks, _) = start_seen(limits).await;
    (stream, tasks)
}

async fn start_seen(limits: ConnectionLimits) -> (TcpStream, Tasks, Arc<Echo>) {
    let mut file = tempfile::tempfile().unwrap();
    let file_len = 3_000_000;
    file.write_all(&vec![7; file_len]).unwrap();
    let listener = Listener::bind("127.0.0.1", 0).await.unwrap();
    let address = listener.address();
    let tasks = Tasks::new();
    let (count, written) = (AtomicU8::new(0), Mutex::default());
    let service =
        Arc::new(Echo { count, go: watch::Sender::new(false), written, file: Arc::new(file), file_len });
    let quotas = ConnectionQuotas::new(QuotaSettings::default());
    let bounds = Arc::new(Bounds { limits, quotas, memory: MemoryBudget::new(256 << 20) });
    tasks.spawn(listener.serve("TEST".into(), service.clone(), bounds, tasks.clone()));
    (TcpStream::connect(address).await.unwrap(), tasks, service)
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
}

async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let size = stream.read_i32().await.ok()?;
    let mut bytes = vec![0; size as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

#[tokio::test]
async fn answers_keep_the_order_of_requests() {
    let (mut stream, tasks) = start(ConnectionLimits::default()).await;
    let requests: Vec<Vec<u8>> = (0..200u8).map(|i| vec![if i % 3 == 0 { b'w' } else { b'e' }, i]).collect();
    let all: Vec<u8> = requests.iter().flat_map(|r| [frame(r), frame(b"n")].concat()).collect();
    for piece in all.chunks(7) {
        stream.write_all(piece).await.unwrap();
    }
    for request in &requests {
        assert_eq!(read_frame(&mut stream).await.as_ref(), Some(request));
    }
    assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn answers_that_become_ready_together_leave_in_one_write() {
    let (mut stream, tasks, service) = start_seen(ConnectionLimits::default()).await;
    let requests: [&[u8]; 5] = [b"p1", b"p2", b"e3", b"p4", b"g"];
    stream.write_all(&requests.map(frame).concat()).await.unwrap();
    for request in requests {
        assert_eq!(read_frame(&mut stream).await.unwrap(), request);
    }
    drop(stream);
    tasks.stop(Duration::from_secs(10)).await;
    assert_eq!(*service.written.lock().unwrap(), [3]);
}

#[tokio::test]
async fn what_came_before_a_request_that_fails_later_is_answered() {
    let (mut stream, _tasks) = start(ConnectionLimits::default()).await;
    let requests: [&[u8]; 4] = [b"p1", b"q2", b"p3", b"g"];
    stream.write_all(&requests.map(frame).concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"p1");
    assert_eq!(read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn files_are_sent_between_the_bytes_around_them() {
    let (mut stream, tasks) = start(ConnectionLimits::default()).await;
    stream.write_all(&[frame(b"e1"), frame(b"f"), frame(b"w2")].concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"e1");
    let sent = read_frame(&mut stream).await.unwrap();
    assert_eq!((sent[0], sent.len(), sent[sent.len() - 1]), (b'f', 3_000_002, b'!'));
    assert!(sent[1..sent.len() - 1].iter().all(|b| *b == 7));
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"w2");
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_came_before_a_bad_request_is_answered() {
    let limits = ConnectionLimits { request_bytes: 1000, ..ConnectionLimits::default() };
    let (mut stream, _tasks) = start(limits.clone()).await;
    stream.write_all(&[frame(b"e1"), frame(b"x"), frame(b"e2")].concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"e1");
    assert_eq!(read_frame(&mut stream).await, None);
    for size in [1001i32, -1, i32::MAX] {
        let (mut stream, _tasks) = start(limits.clone()).await;
        stream.write_all(&size.to_be_bytes()).await.unwrap();
        assert_eq!(read_frame(&mut stream).await, None, "size {size}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let limits = ConnectionLimits { idle: Duration::from_millis(50), ..ConnectionLimits::default() };
    let (mut stream, _tasks) = start(limits).await;
    stream.write_all(&frame(b"e1")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"e1");
    assert_eq!(read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn a_connection_may_be_idle_for_ever() {
    let limits = ConnectionLimits { idle: Duration::MAX, ..ConnectionLimits::default() };
    let (mut stream, _tasks) = start(limits).await;
    stream.write_all(&frame(b"e1")).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"e1");
}

#[tokio::test]
async fn a_peer_that_is_done_sending_still_gets_its_answers() {
    let (mut stream, _tasks) = start(ConnectionLimits::default()).await;
    stream.write_all(&[frame(b"s1"), frame(b"e2")].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"s1");
    assert_eq!(read_frame(&mut stream).await.unwrap(), b"e2");
    assert_eq!(read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn nothing_overtakes_an_exclusive_request() {
    let (mut stream, _tasks) = start(ConnectionLimits::default()).await;
    stream
        .write_all(&[frame(b"c"), frame(b"s"), frame(b"c"), frame(b"X"), frame(b"c")].concat())
        .await
        .unwrap();
    let mut counts = Vec::new();
    for _ in 0..5 {
        counts.push(read_frame(&mut stream).await.unwrap()[0]);
    }
    // `c` tells how many requests were handled before it; `s` and `X` take a while.
    assert_eq!(counts, [0, b's', 2, b'X', 4]);
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_given_up() {
    let limits = ConnectionLimits { idle: Duration::from_millis(200), ..ConnectionLimits::default() };
    let (mut stream, tasks) = start(limits).await;
    stream.write_all(&frame(b"f").repeat(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    assert!(got.len() < 30_000_000, "all {} bytes were sent", got.len());
    assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_peer_that_takes_nothing() {
    let (mut stream, tasks) = start(ConnectionLimits::default()).await;
    stream.write_all(&frame(b"f").repeat(10)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
}
