//! What may block for long, as on a file system that has gone away.

use tokio::sync::Semaphore;

/// How many calls run at once. Each has a thread, and a thousand files may change at the same moment; yet some that hang must
/// not be in the way of the others.
const AT_ONCE: usize = 128;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Runs on a blocking thread what may block for long. `None`: it panicked.
pub async fn blocking<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    // Nobody closes it.
    let turn = TURNS.acquire().await.ok()?;
    // Who gives up waiting does not end the call: it keeps its turn.
    let called = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        call()
    });
    called.await.ok()
}
