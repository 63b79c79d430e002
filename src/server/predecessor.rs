//! The process that this one takes over from.

use std::fs::File;
use std::io::{self, stdin};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::sockopt::socket_type;
use rustix::stdio::dup2_stdin;
use tokio::time::{MissedTickBehavior, interval};

use super::handed_state::{Counts, EarlyState, LastState};
use super::handover::{Answered, CONNECTIONS, HandedSocket, Hello, SESSIONS, Told, say, word};
use crate::net::Inherited;
use crate::net::carrier::{Carrier, CarrierError, Message};
use crate::net::inherit::Giver;
use crate::net::within;

/// How often this process says that it lives while it prepares.
const PULSE: Duration = Duration::from_secs(1);

/// How long the old process may say nothing while connections move.
const LATEST: Duration = Duration::from_secs(60);

/// What the old process wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To know whether this build could serve the file.
    Check,
    /// To be relieved.
    Relief(EarlyState),
}

/// The process that this one takes over from.
#[derive(Debug)]
pub(super) struct Predecessor {
    pub carrier: Carrier,
    /// Who it says it is.
    pub hello: Hello,
    /// What it wants.
    pub wish: Wish,
}

/// This process's end of the pair: its standard input, which becomes /dev/null. Before the first thread.
pub(super) fn end_of_pair() -> io::Result<OwnedFd> {
    let strange = |_| io::Error::other("`--take-over` is for `portway upgrade` alone: leave it out");
    socket_type(stdin()).map_err(strange)?;
    let socket = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

impl Predecessor {
    /// Greets it, and takes its sockets. Fails if it ends, or if the two have no format in common.
    pub async fn meet(socket: OwnedFd, inherited: &mut Inherited) -> Result<Predecessor, CarrierError> {
        let carrier = Carrier::over(socket)?;
        let Told::Hello(hello) = word(&carrier.receive().await?)? else {
            return Err(CarrierError::Strange("it does not greet"));
        };
        let ours = Hello::ours();
        let format = ours.format_with(&hello);
        say(&carrier, &Answered::Hello(ours), &[]).await?;
        if format.is_none() {
            return Err(CarrierError::Strange("its formats are unknown here"));
        }
        loop {
            let message = carrier.receive().await?;
            let wish = match word(&message)? {
                Told::Sockets(said) => {
                    take(inherited, message, said)?;
                    say(&carrier, &Answered::Taken, &[]).await?;
                    continue;
                }
                Told::Check => Wish::Check,
                Told::Prepare(early) => Wish::Relief(early),
                Told::Hello(_)
                | Told::Serve(_)
                | Told::Farewell(_)
                | Told::Counted(_)
                | Told::TakeBack
                | Told::End => {
                    return Err(CarrierError::Strange("that is not due"));
                }
            };
            return Ok(Predecessor { carrier, hello, wish });
        }
    }

    /// Whether nobody could go on instead of this process: it has become the new program itself.
    pub fn has_no_way_back(&self) -> bool {
        matches!(&self.wish, Wish::Relief(early) if early.no_way_back)
    }

    /// Takes a step that may take long, and says meanwhile that this process lives.
    pub async fn beside<T>(&self, step: impl Future<Output = T>) -> T {
        let mut step = std::pin::pin!(step);
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut step => return done,
                // If it has gone, that is noticed by whoever speaks next.
                _ = pulse.tick() => drop(self.carrier.live().await),
            }
        }
    }

    /// Says why this process cannot serve.
    pub async fn refuse(&self, report: String) -> Result<(), CarrierError> {
        say(&self.carrier, &Answered::Refused(report), &[]).await
    }

    /// Says that this process could serve.
    pub async fn could(&self) -> Result<(), CarrierError> {
        say(&self.carrier, &Answered::Ready, &[]).await
    }

    /// Says that this process could serve, and waits until the other accepts no more: from which state on this one serves. Fails
    /// if the other goes on.
    pub async fn stopped(&self) -> Result<Box<LastState>, CarrierError> {
        self.could().await?;
        match word(&self.carrier.receive().await?)? {
            Told::Serve(last) => Ok(last),
            _ => Err(CarrierError::Strange("that is not due")),
        }
    }

    /// Says that this process serves, and hands the connections that come to `take`, until the service manager knows. Returns
    /// what the old one has counted. If it has gone, there is nobody else, and nobody knows. Fails if what it says does not come
    /// through: it lives, and has all that it has not been answered for.
    pub async fn part(&self, mut take: impl FnMut(Message) -> Vec<bool>) -> Result<Counts, CarrierError> {
        let parted = async {
            say(&self.carrier, &Answered::Serving, &[]).await?;
            loop {
                // It may wait long for a connection that pauses late.
                let late = within(LATEST, self.carrier.receive_late()).await;
                let message = late.unwrap_or(Err(CarrierError::Silent))?;
                if !matches!(message.kind, CONNECTIONS | SESSIONS) {
                    return word(&message);
                }
                say(&self.carrier, &Answered::Took(take(message)), &[]).await?;
            }
        };
        match parted.await {
            Ok(Told::Farewell(counts)) => Ok(counts),
            Ok(_) => Err(CarrierError::Strange("that is not due")),
            Err(CarrierError::Gone) => Ok(Counts::default()),
            Err(error) => Err(error),
        }
    }

    /// What it has counted since it said so last. `None`: it takes over from this process now, through [`Predecessor::carrier`].
    /// Fails once it has ended. Dropping the future loses nothing but a part of what was under way.
    pub async fn counted(&self) -> Result<Option<Counts>, CarrierError> {
        match word(&self.carrier.receive_late().await?)? {
            Told::Counted(counts) => Ok(Some(counts)),
            Told::TakeBack => Ok(None),
            _ => Err(CarrierError::Strange("that is not due")),
        }
    }
}

fn take(inherited: &mut Inherited, message: Message, said: Vec<HandedSocket>) -> Result<(), CarrierError> {
    if said.len() != message.fds.len() {
        return Err(CarrierError::Strange("as many sockets as descriptors are due"));
    }
    for (fd, HandedSocket { name, of_systemd }) in message.fds.into_iter().zip(said) {
        let giver = if of_systemd { Giver::ServiceManager } else { Giver::Predecessor };
        inherited.adopt(fd, name, giver)?;
    }
    Ok(())
}
