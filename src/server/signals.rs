//! What the process is told from outside, by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// `SIGTERM`, `SIGINT`.
    Stop,
    /// `SIGHUP`.
    Reload,
    /// `SIGUSR1`.
    ReopenLogs,
}

/// The signals that Portway takes.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Only where a file can be read again. Else a hang-up ends the program, as it does any other.
    hang_up: Option<Signal>,
    user1: Signal,
}

impl Signals {
    /// From now on they do not end the process; `SIGHUP` only if it `can_reload`. Needs the runtime.
    pub fn listen(can_reload: bool) -> io::Result<Signals> {
        let hang_up = can_reload.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Signals {
            hang_up,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one. Dropping the future loses none.
    pub async fn next(&mut self) -> Told {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = hang_up => Told::Reload,
            _ = self.user1.recv() => Told::ReopenLogs,
        }
    }
}
