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
    /// Begins with a full bucket, or with as many tokens as were left elsewhere.
    pub fn new(rate: Option<ByteRate>, tokens: Option<u64>) -> Self {
        let now = Instant::now();
        Bound(rate.map(|rate| {
            let full = Bucket::new(rate, now.into_std());
            let bucket = match tokens {
                Some(tokens) => full.with(tokens),
                None => full,
            };
            (bucket, Box::pin(sleep_until(now)))
        }))
    }

    /// How many tokens are left. `None`: unlimited.
    pub fn tokens(&self) -> Option<u64> {
        self.0.as_ref().map(|(bucket, _)| bucket.left())
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
