//! The relay: joins two sockets into one connection, until it has ended in both directions.
//!
//! Rules that every path must keep (each with a test in `tests/relay`):
//! 1. A FIN is passed on per direction (half-close), after all data before it; the other direction goes on.
//! 2. A reset is passed on as a reset, after the data that was read before it.
//! 3. A reset is noticed while the relay is blocked writing to the other side.
//! 4. Memory is bounded; a slow reader makes nothing grow.
//! 5. A half-closed peer that lives is never cut; keepalive finds one that is dead.
//! 6. Bulk traffic yields to the other connections of its thread.

mod bound;
mod buffered;
mod copy;
mod ending;
mod halfway;
mod liveness;
mod pipe;
mod plain;
mod rules;
mod side;
mod state;
mod supervise;
mod traffic;
mod watches;

use std::pin::Pin;

use tokio_util::either::Either;

use crate::model::RelayMode;
pub use ending::Ending;
pub use halfway::Halfway;
pub use pipe::{MOST_PIPES, adopt_pipes, limit_pipes, pipes};
pub use rules::RelayRules;
pub use side::{Side, Streams};
pub use traffic::Traffic;

/// Moves bytes both ways until the connection has ended, and passes a FIN on as a FIN. Unless both sides have sent FIN,
/// the caller resets what it closes. Dropping the future leaves both sockets open and the remaining bytes unsent.
///
/// Fails with what it needs to go on, `from` there, if it was made to pause ([`Traffic::pause`]), which nobody does to one
/// with TLS.
///
/// No `async fn`, which would keep each argument twice in the task of every connection.
pub fn relay<'a>(
    streams: Streams<'a>,
    rules: &'a RelayRules<'a>,
    traffic: &'a Traffic,
    from: Option<Box<Halfway>>,
) -> impl Future<Output = Result<Ending, Box<Halfway>>> + Send + 'a {
    let (sockets, timeouts) = (streams.sockets(), rules.timeouts);
    // All branches but the usual one are boxed: a task is as large as its largest branch.
    let boxed: Pin<Box<dyn Future<Output = _> + Send>> = match rules.mode {
        _ if streams.has_tls() || !rules.bandwidth.is_free() => {
            Box::pin(buffered::run(streams, rules, traffic, from))
        }
        // An edit may have changed its path meanwhile: a copy begins with nothing.
        RelayMode::Copy if from.as_ref().is_none_or(|half| half.holds_nothing()) => {
            Box::pin(copy::run(sockets, timeouts, traffic, from))
        }
        RelayMode::Auto | RelayMode::Splice | RelayMode::Copy => {
            let splice_first = rules.mode == RelayMode::Splice;
            return Either::Right(plain::run(sockets, timeouts, traffic, splice_first, from));
        }
    };
    Either::Left(boxed)
}
