//! Look-ups with the system's resolver. Each blocks a thread that nobody can cancel, so few run at a time.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use crate::net::look_up;
use crate::tasks::Scope;

/// How many prompt look-ups run at once.
const AT_ONCE: usize = 16;
/// After this long a look-up gives its permit to another, unless [`WEDGED`] look-ups have done so already.
const PROMPT: Duration = Duration::from_millis(500);
/// How many look-ups that take longer run beside the prompt ones. Together with [`AT_ONCE`] fewer than the runtime's
/// threads for such work, so that edits are still read.
const WEDGED: usize = 240;

/// Bounds the look-ups in progress. One that the resolver does not answer holds up no prompt one.
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
    /// Waits for a permit and looks a name up. If the future is dropped, a look-up that has begun goes on, and counts
    /// until it ends.
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
            // Nobody waits if the name was dropped.
            drop(answer.send(ended));
        });
        found.await.map_err(|_| io::Error::other("it is stopping"))?
    }
}
