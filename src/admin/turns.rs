//! Turns of the calls that take long or need memory: plans, and bodies of more than 64 KiB. One at a time.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::rights::Shown;

/// How many such calls there may be, with those that wait: half of the endpoint's places are left for quick ones.
static CALLS: Semaphore = Semaphore::const_new(8);
/// How many of them may be of clients that have shown no right.
static UNPROVEN: Semaphore = Semaphore::const_new(2);
/// The one whose turn it is.
static TURN: Semaphore = Semaphore::const_new(1);

/// A call's turn, until it is dropped.
pub(super) struct Turn {
    _turn: SemaphorePermit<'static>,
    _call: SemaphorePermit<'static>,
    _unproven: Option<SemaphorePermit<'static>>,
}

/// Waits for a turn. `None`: too many wait already.
pub(super) async fn turn(shown: Shown) -> Option<Turn> {
    let _unproven = match shown {
        Shown::Nothing => Some(UNPROVEN.try_acquire().ok()?),
        Shown::Read | Shown::Change | Shown::Owner => None,
    };
    let _call = CALLS.try_acquire().ok()?;
    // The semaphore is never closed.
    let _turn = TURN.acquire().await.ok()?;
    Some(Turn { _turn, _call, _unproven })
}
