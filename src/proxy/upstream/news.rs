//! Notifies those who wait for an upstream.

use tokio::sync::watch;

/// Notifies that an upstream went down or came back, or that a name has other addresses. Such news is rare, so one
/// channel serves all.
#[derive(Clone, Debug, Default)]
pub struct UpstreamNews(watch::Sender<()>);

impl UpstreamNews {
    /// Wakes all subscribers.
    pub(in crate::proxy) fn send(&self) {
        self.0.send_replace(());
    }

    /// Subscribes. Nothing after this call is missed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
