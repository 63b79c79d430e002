//! The signals that the process handles.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::orphans::Orphans;

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalMeaning {
    /// `SIGTERM`, `SIGINT`.
    Stop,
    /// `SIGHUP`.
    Reload,
    /// `SIGUSR1`.
    ReopenLogs,
}

/// The signals that Portway handles.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Only if there is a file to read again. Otherwise `SIGHUP` ends the process, as it does any other.
    hang_up: Option<Signal>,
    user1: Signal,
    orphans: Orphans,
}

impl Signals {
    /// Handles the signals from now on, `SIGHUP` only if it `can_reload`: they no longer end the process. Needs a
    /// runtime.
    pub fn listen(can_reload: bool) -> io::Result<Signals> {
        let hang_up = can_reload.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Signals {
            hang_up,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            orphans: Orphans::listen()?,
        })
    }

    /// The next signal that means something; orphans are taken away meanwhile. Dropping the future loses none.
    pub async fn next(&mut self) -> SignalMeaning {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalMeaning::Stop,
            _ = self.interrupt.recv() => SignalMeaning::Stop,
            _ = hang_up => SignalMeaning::Reload,
            _ = self.user1.recv() => SignalMeaning::ReopenLogs,
            never = self.orphans.reap() => match never {},
        }
    }
}
