//! What watches over a relay beside the moving of bytes. Each watch exists only while it is needed, in a box of its own:
//! the task of an idle connection holds none.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ending::Pair;
use super::{Ending, Patience, Side, vigil};
use crate::net::Socket;

/// Ends with the connection's ending, or with nothing: then it is no longer needed.
type Watch<'a> = Option<Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>>;

/// The watches over one relay.
pub(super) struct Guards<'a> {
    pair: &'a Pair<'a>,
    client: &'a Socket,
    upstream: &'a Socket,
    patience: &'a Patience,
    /// For the end of the client, and of the upstream: where nobody reads from that side, or it is dead.
    ends: [Watch<'a>; 2],
    /// For silence, where a timeout is set.
    silence: Watch<'a>,
    /// For an answer, from the first byte that moved until all is acknowledged.
    answer: Watch<'a>,
    /// The progress when the last answer had come.
    answered: u64,
}

impl<'a> Guards<'a> {
    pub fn new(pair: &'a Pair<'a>, sockets: (&'a Socket, &'a Socket), patience: &'a Patience) -> Self {
        let timed = patience.idle.is_some() || patience.half_close.is_some();
        let silence: Watch<'a> = timed.then(|| {
            let watch = async move { Some(pair.silent(patience).await) };
            Box::pin(watch) as Pin<Box<dyn Future<Output = Option<Ending>> + Send + 'a>>
        });
        let (client, upstream) = sockets;
        Guards { pair, client, upstream, patience, ends: [None, None], silence, answer: None, answered: 0 }
    }

    /// To be called after the bytes that can be moved have been moved.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let pair = self.pair;
        for (watch, side) in self.ends.iter_mut().zip([Side::Client, Side::Upstream]) {
            if watch.is_none() && pair.is_unread(side) {
                let (socket, other) = match side {
                    Side::Client => (self.client, self.upstream),
                    Side::Upstream => (self.upstream, self.client),
                };
                *watch = Some(Box::pin(async move { Some(pair.abandoned(side, socket, other).await) }));
            }
        }
        if self.answer.is_none()
            && let Some(idle) = self.patience.keepalive
            && pair.progress() != self.answered
        {
            self.answer = Some(Box::pin(vigil::unanswered(pair, self.client, self.upstream, idle)));
        }
        let [client, upstream] = &mut self.ends;
        for watch in [client, upstream, &mut self.silence, &mut self.answer] {
            let Some(future) = watch else { continue };
            match future.as_mut().poll(cx) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                Poll::Ready(None) => {
                    *watch = None;
                    self.answered = pair.progress();
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}
