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
mod liveness;
mod pipe;
mod plain;
mod rules;
mod side;
mod state;
mod supervise;
mod traffic;
mod watches;

use crate::model::RelayMode;
pub use ending::Ending;
pub use pipe::{MOST_PIPES, limit_pipes, pipes};
pub use rules::RelayRules;
pub use side::{Side, Streams};
pub use traffic::Traffic;

/// Moves bytes both ways until the connection has ended, and passes a FIN on as a FIN. Unless both sides have sent FIN,
/// the caller resets what it closes. Dropping the future leaves both sockets open and the remaining bytes unsent.
pub async fn relay(streams: Streams<'_>, rules: &RelayRules<'_>, traffic: &Traffic) -> Ending {
    let (sockets, timeouts) = (streams.sockets(), rules.timeouts);
    // All branches but the usual one are boxed: a task is as large as its largest branch.
    match rules.mode {
        _ if streams.has_tls() || !rules.bandwidth.is_free() => {
            Box::pin(buffered::run(streams, rules, traffic)).await
        }
        RelayMode::Copy => Box::pin(copy::run(sockets, timeouts, traffic)).await,
        RelayMode::Auto | RelayMode::Splice => {
            plain::run(sockets, timeouts, traffic, rules.mode == RelayMode::Splice).await
        }
    }
}
