//! Look-ups in the system's resolver, each on a thread that nobody can call off, and so few at a time.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use crate::net::look_up;
use crate::tasks::Scope;

/// Look-ups at the same time.
const AT_ONCE: usize = 16;
/// After so long a look-up gives its place to others, as long as there are fewer than [`WEDGED`] of its kind.
const PROMPT: Duration = Duration::from_millis(500);
/// Look-ups that take longer. With [`AT_ONCE`] fewer than the runtime's threads for such work, so that edits are read
/// all the same.
const WEDGED: usize = 240;

/// Bounds the look-ups under way. A thread whose resolver does not answer holds no prompt one up.
#[derive(Debug)]
pub(super) struct Resolver {
    prompt: Arc<Semaphore>,
    wedged: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver { prompt: Arc::new(Semaphore::new(AT_ONCE)), wedged: Arc::new(Semaphore::new(WEDGED)) }
    }
}

impl Resolver {
    /// Looks a name up when it is its turn. What was begun goes on when the future is dropped, and counts until then.
    pub async fn look_up(&self, host: &str, scope: &Scope) -> io::Result<Vec<IpAddr>> {
        let closed = |_| io::Error::other("it is stopping");
        let place = self.prompt.clone().acquire_owned().await.map_err(closed)?;
        let (answer, found) = oneshot::channel();
        let (host, wedged) = (host.to_owned(), self.wedged.clone());
        scope.spawn(async move {
            let mut found = pin!(look_up(&host));
            let ended = tokio::select! {
                ended = &mut found => ended,
                () = sleep(PROMPT) => match wedged.try_acquire_owned() {
                    Ok(_elsewhere) => {
                        drop(place);
                        found.await
                    }
                    Err(_) => found.await,
                },
            };
            // Nobody waits where the name was dropped.
            drop(answer.send(ended));
        });
        found.await.map_err(|_| io::Error::other("it is stopping"))?
    }
}
