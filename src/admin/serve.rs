//! The endpoint: its connections, few and bounded, on descriptors that the proxy leaves to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::http::{Answer, HEAD_TIME, Talk, Wrong};
use super::router;
use crate::net::Socket;
use crate::server::Handle;
use crate::server::handle::{ADMIN_CONNECTIONS, AdminDoor};
use crate::tasks::{Scope, Task};

/// Serves the endpoint of the file, as long as the file has one, and the next one after an edit.
pub async fn serve(handle: Handle) {
    let mut admin = handle.admin.clone();
    loop {
        let Some(door) = admin.borrow_and_update().clone() else {
            if admin.changed().await.is_err() {
                return;
            }
            continue;
        };
        let guests = handle.scope.child();
        let accepting = accept(&door, &handle, &guests);
        tokio::select! {
            () = accepting => {}
            () = replaced(&mut admin, &door) => {}
        }
        guests.kill();
    }
}

/// Resolves when the file has another socket for it, or none.
async fn replaced(admin: &mut tokio::sync::watch::Receiver<Option<Arc<AdminDoor>>>, door: &AdminDoor) {
    let same =
        |now: &Option<Arc<AdminDoor>>| now.as_ref().is_some_and(|now| Arc::ptr_eq(&now.socket, &door.socket));
    // An error: the server is gone, and so is what it listens on.
    drop(admin.wait_for(|now| !same(now)).await);
}

/// One connection.
struct Guest {
    task: Task,
    state: Arc<State>,
}

/// When it began to wait for a request, in milliseconds from 1; 0: it has one.
#[derive(Debug, Default)]
struct State {
    waits: AtomicU64,
}

impl State {
    fn waits_since(&self, begun: Instant) {
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waits.store(now.saturating_add(1), Ordering::Relaxed);
    }
}

/// Takes connections until it is dropped. Where there are as many as may be, the one that has been waiting longest for a
/// request gives way: whoever only holds connections keeps nobody out.
async fn accept(door: &AdminDoor, handle: &Handle, scope: &Scope) {
    let left = Arc::new(Notify::new());
    let mut guests: Vec<Guest> = Vec::new();
    let begun = Instant::now();
    loop {
        let Ok(socket) = door.socket.accept().await else {
            sleep(HEAD_TIME / 50).await;
            continue;
        };
        loop {
            guests.retain(|guest| Arc::strong_count(&guest.state) > 1);
            if guests.len() < ADMIN_CONNECTIONS {
                break;
            }
            let waiting = guests.iter().filter(|guest| guest.state.waits.load(Ordering::Relaxed) > 0);
            if let Some(longest) = waiting.min_by_key(|guest| guest.state.waits.load(Ordering::Relaxed)) {
                longest.task.kill();
            }
            left.notified().await;
        }
        let state = Arc::new(State::default());
        state.waits_since(begun);
        let (mine, departure, handle) = (state.clone(), Departure(left.clone()), handle.clone());
        let task = scope.spawn(async move {
            // Dropped after `mine`: who hears of it sees that it is gone.
            let _departure = departure;
            converse(socket, handle, (mine, begun)).await;
        });
        guests.push(Guest { task, state });
    }
}

/// Tells that a connection has gone, however it went.
struct Departure(Arc<Notify>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn converse(socket: Socket, handle: Handle, (state, begun): (Arc<State>, Instant)) {
    let mut talk = Talk::new(socket);
    let waits = |waits: bool| match waits {
        true => state.waits_since(begun),
        false => state.waits.store(0, Ordering::Relaxed),
    };
    loop {
        let request = match talk.next(waits).await {
            Ok(request) => request,
            Err(Wrong::Gone) => return,
            Err(Wrong::Bad(status, error)) => {
                let answer = router::problem(status, error, "see /v1/openapi.json");
                // Whoever sends rubbish may be gone.
                drop(talk.answer(&answer, false, false).await);
                return linger(talk).await;
            }
        };
        let head_only = request.method == super::http::Method::Head;
        let answer: Answer = router::answer(&handle, &request).await;
        if talk.answer(&answer, head_only, request.again).await.is_err() || !request.again {
            return;
        }
    }
}

/// Unread input makes the close a reset, which could destroy the answer: a little of it is read, for a moment.
async fn linger(talk: Talk) {
    let mut rest = Vec::new();
    let read =
        async { while rest.len() < 1 << 20 && matches!(talk.socket.recv_into(&mut rest).await, Ok(1..)) {} };
    drop(tokio::time::timeout(HEAD_TIME / 5, read).await);
}
