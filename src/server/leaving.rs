//! Sockets that an edit is about to close share their ports while the new ones are opened.

/// Shares the ports of some sockets as long as it lives: an edit from "8080" to "127.0.0.1:8080" opens the new socket
/// while the old one still serves.
pub(super) struct Leaving<S: Fn(bool)> {
    share: S,
}

impl<S: Fn(bool)> Leaving<S> {
    /// `share` sets the option on each of the sockets. If that fails on a live socket, there is nothing that a user
    /// could fix; bind(2) then says what is missing.
    pub fn sharing(share: S) -> Self {
        share(true);
        Leaving { share }
    }
}

impl<S: Fn(bool)> Drop for Leaving<S> {
    fn drop(&mut self) {
        (self.share)(false);
    }
}
