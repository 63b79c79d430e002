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
    /// `SIGUSR2`.
    Upgrade,
}

/// The signals that Portway handles.
#[derive(Debug)]
pub(super) struct Signals {
    orders: Orders,
    orphans: Orphans,
}

/// The signals that somebody sends.
#[derive(Debug)]
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    /// Only if there is a file to read again. Otherwise `SIGHUP` ends the process, as it does any other.
    hang_up: Option<Signal>,
    user1: Signal,
    /// Likewise: only if there is a file that another process could read.
    user2: Option<Signal>,
}

impl Signals {
    /// Handles the signals from now on, `SIGHUP` and `SIGUSR2` only if it `has_file`: they no longer end the process. Needs a
    /// runtime.
    pub fn listen(has_file: bool) -> io::Result<Signals> {
        let with_file = |kind| has_file.then(|| signal(kind)).transpose();
        let orders = Orders {
            hang_up: with_file(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: with_file(SignalKind::user_defined2())?,
        };
        Ok(Signals { orders, orphans: Orphans::listen()? })
    }

    /// The next signal that means something; orphans are taken away meanwhile. Dropping the future loses none.
    pub async fn next(&mut self) -> SignalMeaning {
        tokio::select! {
            biased;
            told = self.orders.next() => told,
            never = self.orphans.reap() => match never {},
        }
    }

    /// The same while somebody waits for a child of this process: how it ends is for him.
    pub async fn next_beside_a_child(&mut self) -> SignalMeaning {
        self.orders.next().await
    }
}

impl Orders {
    async fn next(&mut self) -> SignalMeaning {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalMeaning::Stop,
            _ = self.interrupt.recv() => SignalMeaning::Stop,
            () = next_of(&mut self.hang_up) => SignalMeaning::Reload,
            _ = self.user1.recv() => SignalMeaning::ReopenLogs,
            () = next_of(&mut self.user2) => SignalMeaning::Upgrade,
        }
    }
}

async fn next_of(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
