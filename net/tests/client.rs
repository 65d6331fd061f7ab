//! Outgoing connections against peers that answer, lie, fall silent or end.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use minikafka_net::client::{Backoff, ClientError, ClientLimits, Connection};
use protocol::request::{RequestHeader, put_response_header};
use protocol::versions::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const KEY: i16 = ApiKey::DESCRIBE_CLUSTER;

/// What a peer does with each request beside ApiVersions.
#[derive(Clone, Copy)]
enum Peer {
    /// Sends the body back.
    Echo,
    /// Knows only version 0 of ApiVersions.
    Old,
    /// Repeats another correlation id.
    Confused,
    /// Claims an answer of a gigabyte.
    Huge,
    /// Says nothing.
    Silent,
    /// Closes the connection.
    Ends,
}

fn limits() -> Arc<ClientLimits> {
    let request_timeout = Duration::from_secs(60);
    Arc::new(ClientLimits {
        client_id: "test".to_owned(),
        request_timeout,
        response_bytes: 1 << 20,
        ..ClientLimits::default()
    })
}

/// A peer for any number of connections; gives its port.
async fn peer(kind: Peer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, kind));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, kind: Peer) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let header = RequestHeader::parse(&frame).unwrap();
        let id = header.correlation_id;
        let mut answer = BytesMut::new();
        if header.api_key == ApiKey::API_VERSIONS {
            api_versions(&header, kind, &mut answer);
        } else {
            let id = if matches!(kind, Peer::Confused) { id + 1 } else { id };
            match kind {
                Peer::Huge => {
                    stream.write_i32(1 << 30).await.unwrap();
                    continue;
                }
                Peer::Silent => continue,
                Peer::Ends => return,
                _ => {}
            }
            put_response_header(header.api_key, header.api_version, id, &mut answer);
            answer.put_slice(&frame[header.body_start..]);
        }
        stream.write_i32(answer.len() as i32).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

/// DescribeCluster 0-1 and ApiVersions, as version 0 or 4 says it.
fn api_versions(header: &RequestHeader, kind: Peer, out: &mut BytesMut) {
    out.put_i32(header.correlation_id);
    let old = matches!(kind, Peer::Old);
    let max = if old { 0 } else { 4 };
    if header.api_version > max || header.api_version == 0 {
        out.put_i16(if header.api_version > max { 35 } else { 0 });
        out.put_i32(2);
        for (key, max) in [(ApiKey::API_VERSIONS, max), (KEY, 1)] {
            out.put_slice(&[&key.to_be_bytes()[..], &[0, 0], &max.to_be_bytes()].concat());
        }
        return;
    }
    // Compact: error, two APIs, throttle time, tags with the supported features.
    out.put_i16(0);
    out.put_u8(3);
    for (key, max) in [(ApiKey::API_VERSIONS, 4_i16), (KEY, 1)] {
        out.put_slice(&[&key.to_be_bytes()[..], &[0, 0], &max.to_be_bytes(), &[0]].concat());
    }
    out.put_i32(0);
    let feature = [&[2, 14][..], b"kraft.version", &[0, 0, 0, 1, 0]].concat();
    out.put_slice(&[1, 0, feature.len() as u8]);
    out.put_slice(&feature);
}

#[tokio::test]
async fn answers_come_to_those_who_asked() {
    let port = peer(Peer::Echo).await;
    let connection = Connection::open("localhost", port, limits()).await.unwrap();
    assert_eq!(connection.versions().best(KEY, 0..=5), Some(1));
    assert_eq!(connection.versions().best(KEY, 2..=5), None);
    assert_eq!(connection.versions().best(ApiKey::VOTE, 0..=2), None);
    assert_eq!(connection.versions().feature("kraft.version"), Some((0, 1)));
    let calls = (0..200u32).map(|i| {
        let connection = connection.clone();
        let body = vec![i as u8; i as usize * 100];
        tokio::spawn(async move { connection.call(KEY, 0, &body).await.unwrap() == body })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap());
    }
    // A caller that gives up leaves the others their answers.
    tokio::select! {
        biased;
        _ = connection.call(KEY, 0, b"given up") => panic!("answered before it was sent"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(&connection.call(KEY, 0, b"next").await.unwrap()[..], b"next");
}

#[tokio::test]
async fn an_old_peer_is_asked_again() {
    let port = peer(Peer::Old).await;
    let connection = Connection::open("127.0.0.1", port, limits()).await.unwrap();
    assert_eq!(connection.versions().best(KEY, 0..=5), Some(1));
}

#[tokio::test]
async fn a_peer_that_cannot_be_trusted_is_left() {
    for kind in [Peer::Confused, Peer::Huge, Peer::Ends] {
        let port = peer(kind).await;
        let connection = Connection::open("127.0.0.1", port, limits()).await.unwrap();
        let failed = connection.call(KEY, 0, b"x").await.unwrap_err();
        assert!(matches!(failed, ClientError::Disconnected), "{failed}");
        connection.closed().await;
        assert!(!connection.is_open());
        assert!(connection.call(KEY, 0, b"x").await.is_err());
    }
}

#[tokio::test]
async fn silence_ends_the_connection() {
    let port = peer(Peer::Silent).await;
    let limits =
        ClientLimits { request_timeout: Duration::from_millis(200), ..ClientLimits::clone(&limits()) };
    let connection = Connection::open("127.0.0.1", port, Arc::new(limits)).await.unwrap();
    let failed = connection.call(KEY, 0, b"x").await.unwrap_err();
    assert!(matches!(failed, ClientError::TimedOut), "{failed}");
    connection.closed().await;
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let failed = Connection::open("127.0.0.1", port, limits()).await.unwrap_err();
    assert!(matches!(failed, ClientError::Connect { .. }), "{failed}");
    assert!(Connection::open("no.such.host.invalid", port, limits()).await.is_err());
}

#[test]
fn pauses_grow_to_their_bound() {
    let millis = Duration::from_millis;
    let mut backoff = Backoff::new(millis(50), millis(400));
    let middle = u32::MAX / 2;
    let pauses: Vec<u128> = (0..5).map(|_| (backoff.pause(middle).as_micros() + 500) / 1000).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 400]);
    assert!(backoff.pause(0) < backoff.pause(u32::MAX));
    backoff.reset();
    assert!(backoff.pause(middle) <= millis(50));
}
