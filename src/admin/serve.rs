//! Serves the endpoint: its connections are few and bounded, on descriptors that are reserved for them.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::answer::problem;
use super::guests::{Guest, Guests, Stage, Times};
use super::http::{self, Answer, BODY_TIME, LATE, Never, Request, SMALL_BODY, Wrong, response};
use super::io::HttpIo;
use super::rights::Shown;
use super::router::{self, Posted};
use super::turns::turn;
use super::who::Who;
use crate::net::{Deadline, Socket, within};
use crate::server::{AdminListener, AdminSocket, Handle};
use crate::tasks::Scope;

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
/// How long answers under way may take once the endpoint has moved.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// Serves the endpoint that the file configures, and after an edit the next one. Returns when the server has gone.
pub async fn serve(handle: Handle) {
    let mut admin = handle.admin.clone();
    let guests = Guests::new();
    loop {
        let Some(listener) = admin.borrow_and_update().clone() else {
            if admin.changed().await.is_err() {
                return;
            }
            continue;
        };
        let endpoint =
            Endpoint { handle: handle.clone(), guests: guests.clone(), scope: handle.scope.child() };
        let moved = watch::Sender::new(false);
        // Whoever waits for the last answers may do so before this task has heard of the end.
        let unanswered = handle.scope.hold();
        tokio::select! {
            () = endpoint.accept(&listener, &moved) => {}
            () = replaced(&mut admin, &listener) => {}
        }
        // The answer to the call that moved it is still to be sent: connections end once they have no request.
        handle.scope.spawn(async move {
            moved.send_replace(true);
            endpoint.scope.drain(Deadline::after(LAST_ANSWERS)).await;
            drop(unanswered);
        });
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

/// What the connections of one address need.
struct Endpoint {
    handle: Handle,
    guests: Arc<Guests>,
    scope: Scope,
}

impl Endpoint {
    /// Accepts connections until it is dropped.
    async fn accept(&self, listener: &AdminListener, moved: &watch::Sender<bool>) {
        loop {
            let Ok((socket, peer)) = listener.socket.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let guest = self.guests.admit(&peer).await;
            let (id, of) = (guest.id, Arc::downgrade(&listener.socket));
            let by = Who::of(&socket, peer);
            let visit = Visit { handle: self.handle.clone(), guest: Arc::new(guest), of, by };
            let task = self.scope.spawn(converse(socket, visit, moved.subscribe()));
            self.guests.note_task(id, task);
        }
    }
}

/// What one connection is served with.
struct Visit {
    handle: Handle,
    guest: Arc<Guest>,
    /// The socket that it was accepted from.
    of: Weak<AdminSocket>,
    by: Who,
}

async fn converse(socket: Socket, visit: Visit, mut moved: watch::Receiver<bool>) {
    let (guest, refused, again) = (&visit.guest, AtomicBool::new(false), AtomicBool::new(false));
    let service = service_fn(|request| async {
        guest.reaches(Stage::Body);
        // hyper would answer all requests that have come, one after the other, before anybody else has a turn.
        if again.swap(true, Ordering::Relaxed) {
            yield_now().await;
        }
        let answer = answer(&visit, request, &refused).await;
        guest.reaches(Stage::Answer);
        Ok::<_, Never>(answer)
    });
    let io = HttpIo::bounded(&socket, guest.clone(), TIMES);
    let mut conversation = pin!(
        http1::Builder::new()
            .max_buf_size(HEAD)
            .max_header_size(HEAD)
            .max_headers(FIELDS)
            .half_close(true)
            .serve_connection(io, service)
    );
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        // On an error the endpoint is gone, and this task with it.
        () = async { drop(moved.wait_for(|moved| *moved).await) } => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    // hyper sends no answer of its own to these.
    let unanswered = ended.as_ref().err().and_then(|error| {
        if error.is_parse_version_h2() {
            let help = "speak HTTP/1.1, as `curl --http1.1` does; see /v1/openapi.json";
            return Some((
                "505 HTTP Version Not Supported",
                problem(505, "this endpoint does not speak HTTP/2", help),
            ));
        }
        let late = is_late(error) && guest.stage() == Stage::Head;
        late.then(|| ("408 Request Timeout", problem(408, LATE, "see /v1/openapi.json")))
    });
    if let Some((status, answer)) = unanswered {
        last_words(&socket, status, answer).await;
    }
    if ended.is_err() || refused.load(Ordering::Relaxed) {
        linger(&socket).await;
    }
}

/// Sends an answer after which the connection ends.
async fn last_words(socket: &Socket, status: &str, answer: Answer) {
    let (kind, length) = (answer.kind, answer.body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let words = [head.into_bytes(), answer.body].concat();
    // The client may be gone.
    drop(within(LINGER, (&mut &*socket).write_all(&words)).await);
}

/// Whether the client was too slow.
fn is_late(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Answers one request. Sets `refused` if a body was not read.
async fn answer(
    visit: &Visit,
    request: hyper::Request<Incoming>,
    refused: &AtomicBool,
) -> Response<Full<Bytes>> {
    let Visit { handle, guest, of, by } = visit;
    let (head, body) = request.into_parts();
    let answered = async {
        let request = Request::of(&head)?;
        let (call, shown) = match router::permitted(handle, of, &request) {
            Ok(permitted) => permitted,
            // The body of a request that may not be made is not read.
            Err(answer) => return Ok((answer, false)),
        };
        if shown != Shown::Nothing {
            guest.proves();
        }
        let changes = shown >= Shown::Change;
        let large = changes && http::length(&body) > SMALL_BODY as u64;
        let _turn = match large || router::takes_long(call) {
            true => {
                guest.reaches(Stage::Work);
                let Some(turn) = turn(shown).await else { return Ok((router::busy(), false)) };
                Some(turn)
            }
            false => None,
        };
        guest.reaches(Stage::Body);
        let body = http::read(body, changes).await?;
        guest.reaches(Stage::Work);
        Ok((
            router::answer(handle, call, &request, Posted { body, shown, by, guests: &guest.guests }).await,
            true,
        ))
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

/// Reads and forgets a little of the remaining input, for a moment: unread input turns the close into a reset, which
/// could destroy the answer.
async fn linger(socket: &Socket) {
    const MOST: usize = 1 << 20;
    // The client may be gone.
    drop((&mut &*socket).shutdown().await);
    let (mut read, mut piece) = (0, [0; 4096]);
    let reads = async {
        while read < MOST
            && let Ok(more @ 1..) = (&mut &*socket).read(&mut piece).await
        {
            read += more;
        }
    };
    drop(within(LINGER, reads).await);
}
