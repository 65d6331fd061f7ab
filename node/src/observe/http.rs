//! The HTTP listener: three paths, short connections, bounds on everything.
//!
//! A connection carries one request and lives for [`CONNECTION_LIFE`] at most; beyond [`CONNECTIONS_MAX`] of them new
//! ones are closed at once. What is no HTTP is answered 400, too long headers 431, by the library.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use net::tasks::Tasks;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Observed;
use super::health::{self, Verdict};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// From accept to close.
const CONNECTION_LIFE: Duration = Duration::from_secs(15);
/// Within which the request must be there.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Bytes of a request's line and headers.
const HEADER_BYTES: usize = 16 * 1024;
/// Number of headers.
const HEADERS_MAX: usize = 64;
/// Pause after an accept error such as "too many open files".
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GET_AND_HEAD: HeaderValue = HeaderValue::from_static("GET, HEAD");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Answers until it is told to stop.
pub(super) async fn serve(socket: TcpListener, observed: Arc<Observed>, stop: CancellationToken) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(e) => return tracing::error!("the metrics listener does not work: {e}"),
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = Tasks::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::debug!("accept failed on the metrics listener: {e}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            let observed = observed.clone();
            tasks.spawn(async move {
                // Whoever is cut off here had its time.
                let _ = tokio::time::timeout(CONNECTION_LIFE, connection(stream, observed)).await;
                drop(slot);
            });
        }
    }
}

async fn connection(stream: TcpStream, observed: Arc<Observed>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let observed = observed.clone();
        async move { Ok::<_, Infallible>(answer(&request, &observed).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        tracing::debug!("a connection to the metrics listener failed: {e}");
    }
}

async fn answer(request: &Request<Incoming>, observed: &Observed) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, GET_AND_HEAD);
        return refused;
    }
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, TEXT, observed.metrics()),
        "/health/live" => verdict(&health::live(observed).await),
        "/health/ready" => verdict(&health::ready(observed).await),
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /health/live and /health/ready\n".to_owned(),
        ),
    }
}

fn verdict(verdict: &Verdict) -> Response<Full<Bytes>> {
    let status = if verdict.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, JSON, verdict.to_json())
}

fn response(status: StatusCode, content_type: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
