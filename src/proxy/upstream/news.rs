//! News of upstreams for those who wait for one.

use tokio::sync::watch;

/// Tells that an upstream went down or came back, or that a name has other addresses. Rare, and so one channel for all.
#[derive(Clone, Debug, Default)]
pub struct UpstreamNews(watch::Sender<()>);

impl UpstreamNews {
    /// Wakes all who wait.
    pub(super) fn send(&self) {
        self.0.send_replace(());
    }

    /// For those who wait. What happens from now on is not missed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
