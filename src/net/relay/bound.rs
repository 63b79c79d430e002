//! The bandwidth limit of one direction: reads wait for tokens. Unread bytes stay in the kernel's queue, which slows
//! the sender down.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::model::ByteRate;
use crate::state::Bucket;

/// The bandwidth limit on reads from one side. `None`: unlimited.
pub(super) struct Bound(Option<(Bucket, Pin<Box<Sleep>>)>);

impl Bound {
    pub fn new(rate: Option<ByteRate>) -> Self {
        let now = Instant::now();
        Bound(rate.map(|rate| (Bucket::new(rate, now.into_std()), Box::pin(sleep_until(now)))))
    }

    /// How many of `wanted` bytes may be read now: at least 1. Pending until there are tokens.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let Some((bucket, due)) = &mut self.0 else { return Poll::Ready(wanted) };
        loop {
            match bucket.ready(Instant::now().into_std()) {
                Ok(ready) => return Poll::Ready(usize::try_from(ready).unwrap_or(usize::MAX).min(wanted)),
                Err(at) => {
                    due.as_mut().reset(at.into());
                    ready!(due.as_mut().poll(cx));
                }
            }
        }
    }

    /// Spends tokens for `n` bytes that were read.
    pub fn take(&mut self, n: usize) {
        if let Some((bucket, _)) = &mut self.0 {
            bucket.take(n as u64);
        }
    }
}
