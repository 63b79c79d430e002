//! A check over UDP. Each step that sends is one datagram, and an answer is one datagram too.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use super::finding::{CheckError, Opening};
use crate::model::{HeaderOn, HealthCheck};
use crate::net::datagram;
use crate::net::deadline::within;
use crate::net::error::{is_local, plain};
use crate::state::talk::{Due, Silence, Talk};

/// The largest datagram.
const LARGEST: usize = 65_535;

/// Passes once every step is done. Steps without an answer pass if nothing refuses the datagrams until the time is over:
/// over UDP silence is all that a service may have to say.
pub(super) async fn check(
    upstream: SocketAddr,
    how: &HealthCheck,
    opening: Opening<'_>,
) -> Result<(), CheckError> {
    let failed = |error: io::Error| match is_local(&error) {
        true => CheckError::Denied(error),
        false => CheckError::Failed(format!("{upstream}: {}", plain(&error))),
    };
    let socket = datagram::connect_to_check(upstream, opening.reach.source).map_err(failed)?;
    let mut asked = Asked { socket, opening, headers: 0 };
    let mut talk = Talk::new(&how.steps);
    let ended =
        within(how.timeout, asked.run(&mut talk, how.expects())).await.unwrap_or(Err(Failure::Silence));
    match ended {
        Ok(()) => Ok(()),
        Err(Failure::Silence) if !how.expects() => Ok(()),
        Err(Failure::Silence) => Err(CheckError::Failed(talk.fault(Silence::Late))),
        Err(Failure::Io(error)) if is_local(&error) => Err(CheckError::Denied(error)),
        Err(Failure::Io(error)) => Err(CheckError::Failed(talk.fault(Silence::Error(plain(&error))))),
    }
}

enum Failure {
    Silence,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// The socket of a check.
struct Asked<'a> {
    socket: UdpSocket,
    opening: Opening<'a>,
    /// How many datagrams have begun with a header.
    headers: usize,
}

impl Asked<'_> {
    async fn run(&mut self, talk: &mut Talk<'_>, expects: bool) -> Result<(), Failure> {
        let mut due = talk.due();
        if !matches!(due, Due::Send(_)) {
            // Somebody has to speak first, and over UDP that is the client.
            self.send(b"").await?;
        }
        let mut buffer = vec![0; LARGEST];
        loop {
            match due {
                Due::Send(bytes) => self.send(bytes).await?,
                Due::Answer => {
                    let length = self.socket.recv(&mut buffer).await?;
                    talk.hears_anew();
                    talk.hears(buffer.get(..length).unwrap_or_default());
                }
                Due::Nothing if expects => return Ok(()),
                // Whatever comes shows that it lives.
                Due::Nothing => return Ok(self.socket.recv(&mut buffer).await.map(drop)?),
            }
            due = talk.due();
        }
    }

    /// Sends one datagram, with its header if it carries one.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let carries = self.headers == 0 || self.opening.on == HeaderOn::Each;
        let header = if carries { self.opening.header } else { &[] };
        self.headers += 1;
        self.socket.send(&[header, bytes].concat()).await.map(drop)
    }
}
