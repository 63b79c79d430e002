//! Serves the endpoint: its connections are few and bounded, on descriptors that are reserved for them.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::answer::problem;
use super::http::{BODY_TIME, LATE, Never, Request, Wrong, read, response};
use super::io::{HttpIo, Times, Waits};
use super::router;
use crate::net::Socket;
use crate::server::{ADMIN_CONNECTIONS, AdminListener, Handle};
use crate::tasks::{Scope, Task};

/// The most bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// The most fields of a request's head.
const FIELDS: usize = 64;
/// How long a client may take.
const TIMES: Times = Times { idle: Duration::from_secs(60), head: Duration::from_secs(5), write: BODY_TIME };
/// How long accepting pauses after an error, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the rest of a refused request is read.
const LINGER: Duration = Duration::from_secs(1);

/// Serves the endpoint that the file configures, and after an edit the next one. Returns when the server has gone.
pub async fn serve(handle: Handle) {
    let mut admin = handle.admin.clone();
    loop {
        let Some(listener) = admin.borrow_and_update().clone() else {
            if admin.changed().await.is_err() {
                return;
            }
            continue;
        };
        let guests = handle.scope.child();
        tokio::select! {
            () = accept(&listener, &handle, &guests) => {}
            () = replaced(&mut admin, &listener) => {}
        }
        guests.kill();
    }
}

/// Resolves when an edit has replaced or removed the endpoint's socket.
async fn replaced(admin: &mut watch::Receiver<Option<Arc<AdminListener>>>, listener: &AdminListener) {
    let same = |now: &Option<Arc<AdminListener>>| {
        now.as_ref().is_some_and(|now| Arc::ptr_eq(&now.socket, &listener.socket))
    };
    // On an error the server is gone, and so are its sockets.
    drop(admin.wait_for(|now| !same(now)).await);
}

/// One open connection of the endpoint.
struct OpenConnection {
    task: Task,
    waits: Arc<Waits>,
}

/// Accepts connections until it is dropped. Once [`ADMIN_CONNECTIONS`] are open, the one that has waited longest for a
/// request is closed: whoever only holds connections keeps nobody out.
async fn accept(listener: &AdminListener, handle: &Handle, scope: &Scope) {
    // One has left, or waits for a request.
    let left = Arc::new(Notify::new());
    let mut guests: Vec<OpenConnection> = Vec::new();
    let begun = Instant::now();
    loop {
        let Ok(socket) = listener.socket.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        loop {
            guests.retain(|guest| Arc::strong_count(&guest.waits) > 1);
            if guests.len() < ADMIN_CONNECTIONS {
                break;
            }
            let waiting = guests.iter().filter_map(|guest| Some((guest.waits.since()?, guest)));
            if let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) {
                longest.task.kill();
            }
            left.notified().await;
        }
        let waits = Arc::new(Waits::new(begun, left.clone()));
        let (mine, departure, handle) = (waits.clone(), Departure(left.clone()), handle.clone());
        let task = scope.spawn(async move {
            // Dropped after `mine`: whoever is notified sees that the connection is gone.
            let _departure = departure;
            converse(socket, handle, mine).await;
        });
        guests.push(OpenConnection { task, waits });
    }
}

/// Notifies, when dropped, that a connection has ended, however it ended.
struct Departure(Arc<Notify>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn converse(socket: Socket, handle: Handle, waits: Arc<Waits>) {
    let refused = AtomicBool::new(false);
    let service = service_fn(|request| async {
        waits.end();
        let answer = answer(&handle, request, &refused).await;
        waits.answer();
        Ok::<_, Never>(answer)
    });
    let io = HttpIo::bounded(&socket, waits.clone(), TIMES);
    let ended = http1::Builder::new()
        .max_buf_size(HEAD)
        .max_headers(FIELDS)
        .half_close(true)
        .serve_connection(io, service)
        .await;
    if ended.as_ref().is_err_and(is_late) && waits.has_begun() {
        // hyper sends no answer to a client whose head was too slow.
        let answer = problem(408, LATE, "see /v1/openapi.json");
        let (kind, length) = (answer.kind, answer.body.len());
        let head = format!(
            "HTTP/1.1 408 Request Timeout\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let late = [head.into_bytes(), answer.body].concat();
        drop(timeout(LINGER, (&socket).write_all(&late)).await);
    }
    if ended.is_err() || refused.load(Ordering::Relaxed) {
        linger(&socket).await;
    }
}

/// Whether the client was too slow.
fn is_late(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Answers one request. Sets `refused` if a body was not read.
async fn answer(
    handle: &Handle,
    request: hyper::Request<Incoming>,
    refused: &AtomicBool,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answered = async {
        let request = Request::of(&head)?;
        let call = match router::permitted(handle, &request) {
            Ok(call) => call,
            // The body of a request that may not be made is not read.
            Err(answer) => return Ok((answer, false)),
        };
        let body = read(body).await?;
        Ok((router::answer(handle, call, &request, body).await, true))
    };
    match answered.await {
        Ok((answer, true)) => response(answer, false),
        Ok((answer, false)) => response(answer, refuse(&head, refused)),
        Err(Wrong { status, error }) => {
            refused.store(true, Ordering::Relaxed);
            response(problem(status, error, "see /v1/openapi.json"), true)
        }
    }
}

/// Whether a refused request has a body that is left unread: then the connection ends.
fn refuse(head: &hyper::http::request::Parts, refused: &AtomicBool) -> bool {
    let has_body = head.headers.contains_key(hyper::header::CONTENT_LENGTH);
    refused.fetch_or(has_body, Ordering::Relaxed);
    has_body
}

/// Reads a little of the remaining input, for a moment: unread input turns the close into a reset, which could destroy
/// the answer.
async fn linger(socket: &Socket) {
    // The client may be gone.
    drop((&mut &*socket).shutdown().await);
    let mut rest = Vec::new();
    let read =
        async { while rest.len() < 1 << 20 && matches!(socket.recv_into(&mut rest).await, Ok(1..)) {} };
    drop(timeout(LINGER, read).await);
}
