//! One end of a connection: sends what its plan says, and compares each byte that it gets with the one due at this offset.

use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// The pattern repeats after this many bytes: a prime, so that a block that is lost, doubled or moved shows.
const PERIOD: u64 = 65_521;
/// Bytes of one read or write: at most a period.
const PIECE: u64 = 60 << 10;
/// Bytes that one end moves before the others have their turn.
const TURN: u64 = 256 << 10;
/// The first bytes of a connection, which are not counted: what the backend does with it, and the number of the pair.
pub const HEAD: usize = 16;
/// Bytes of a question, and of its answer.
pub const QUESTION: u64 = 64;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let once: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    // Twice, so that any run of up to a period is one slice.
    [once.as_slice(), once.as_slice()].concat()
});

/// The bytes from here on of one direction of a pair.
fn pattern(pair: u64, up: bool, at: u64, most: u64) -> &'static [u8] {
    let shift = pair.wrapping_mul(7_919).wrapping_add(if up { 0 } else { 31_337 });
    let start = (shift % PERIOD + at % PERIOD) % PERIOD;
    &PATTERN[start as usize..(start + most.min(PERIOD)) as usize]
}

/// What an end does from now on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Sends until it has sent so many bytes in all.
    pub send_to: u64,
    /// Reads until it has read so many.
    pub read_to: u64,
    /// Sends FIN once all is sent and so many bytes have come.
    pub fin_after: Option<u64>,
    /// Sends back as many bytes as come, and FIN after FIN.
    pub mirrors: bool,
    /// Asks, waits for the answer, and asks again after this time.
    pub asks: Option<Duration>,
    /// Sends no more than it has sent.
    pub stops: bool,
}

/// How an end is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// FIN both ways.
    Fin,
    /// A reset.
    Reset,
    /// Nobody has accepted it.
    Refused,
    /// A byte that was not due.
    Wrong,
    /// Another error.
    Failed,
}

/// What others see of an end while it lives.
#[derive(Debug, Default)]
pub struct Seen {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// A round trip: when it was asked, and how long the answer took.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    pub asked: Instant,
    pub took: Duration,
}

/// One end.
pub struct End {
    pub socket: TcpStream,
    pub pair: u64,
    is_client: bool,
    /// What a client has not yet said before all else.
    head: Option<[u8; HEAD]>,
    pub plan: Plan,
    pub sent: u64,
    pub received: u64,
    fin_sent: bool,
    fin_came: bool,
    asked: Option<Instant>,
    /// When it asks again.
    due: Option<Instant>,
}

impl End {
    /// `head`: what a client says before all else. `None`: it is the backend's.
    pub fn new(socket: TcpStream, pair: u64, head: Option<[u8; HEAD]>, plan: Plan) -> End {
        End {
            socket,
            pair,
            is_client: head.is_some(),
            head,
            plan,
            sent: 0,
            received: 0,
            fin_sent: false,
            fin_came: false,
            asked: None,
            due: None,
        }
    }

    /// When it wants to go on without an event.
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.plan.asks.is_some() && self.asked.is_none())
    }

    /// Moves what can be moved: `Ok(true)`, if it has more to do and lets others go first. Errors: it is over.
    pub fn go(&mut self, buffer: &mut [u8], trips: &mut Vec<Trip>) -> Result<bool, How> {
        let mut moved = 0;
        loop {
            self.ask();
            let now = self.write()? + self.read(buffer)?;
            self.answered(trips);
            self.end()?;
            if self.fin_came && self.fin_sent {
                return Err(How::Fin);
            }
            if now == 0 && self.due().is_none_or(|due| due > Instant::now()) {
                return Ok(false);
            }
            moved += now;
            if moved >= TURN {
                return Ok(true);
            }
        }
    }

    fn ask(&mut self) {
        let now = Instant::now();
        if self.plan.asks.is_some() && self.asked.is_none() && self.due.is_none_or(|due| due <= now) {
            self.asked = Some(now);
            self.plan.send_to = self.sent + QUESTION;
        }
    }

    fn answered(&mut self, trips: &mut Vec<Trip>) {
        if let Some(asked) = self.asked
            && self.received >= self.sent
            && self.sent >= self.plan.send_to
        {
            let now = Instant::now();
            trips.push(Trip { asked, took: now - asked });
            self.asked = None;
            self.due = self.plan.asks.map(|every| now + every);
        }
    }

    fn write(&mut self) -> Result<u64, How> {
        if let Some(head) = &self.head {
            // Not connected yet, or whole: nothing is in the queue before it.
            match rustix::net::send(&self.socket, head, SendFlags::NOSIGNAL) {
                Ok(_) => self.head = None,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
                Err(error) => return Err(how(error)),
            }
        }
        if self.plan.stops {
            self.plan.send_to = self.plan.send_to.min(self.sent);
        }
        let target = if self.plan.mirrors { self.received } else { self.plan.send_to };
        let left = target.saturating_sub(self.sent);
        if left == 0 || self.fin_sent {
            return Ok(0);
        }
        let bytes = pattern(self.pair, self.is_client, self.sent, left.min(PIECE));
        match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => {
                self.sent += n as u64;
                Ok(n as u64)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            // A read tells why.
            Err(Errno::PIPE) => Ok(0),
            Err(error) => Err(how(error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<u64, How> {
        let left = self.plan.read_to.saturating_sub(self.received).min(PIECE);
        if left == 0 || self.fin_came {
            return Ok(0);
        }
        let got = match rustix::net::recv(&self.socket, &mut buffer[..left as usize], RecvFlags::empty()) {
            Ok((0, _)) => {
                self.fin_came = true;
                return Ok(1);
            }
            Ok((n, _)) => n as u64,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(how(error)),
        };
        if buffer[..got as usize] != *pattern(self.pair, !self.is_client, self.received, got) {
            return Err(How::Wrong);
        }
        self.received += got;
        Ok(got)
    }

    fn end(&mut self) -> Result<(), How> {
        let all_sent = self.head.is_none() && self.sent >= self.plan.send_to && self.asked.is_none();
        let is_due = match self.plan.fin_after {
            _ if self.plan.mirrors => self.fin_came && self.sent == self.received,
            Some(received) => all_sent && self.received >= received,
            None => false,
        };
        if is_due && !self.fin_sent {
            self.fin_sent = true;
            // Not connected any more: the next read says why.
            if self.socket.shutdown(Shutdown::Write).is_err() {
                return Err(How::Reset);
            }
        }
        Ok(())
    }
}

fn how(error: Errno) -> How {
    match error {
        Errno::CONNRESET | Errno::PIPE => How::Reset,
        Errno::CONNREFUSED => How::Refused,
        _ => How::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_of_each_pair_has_bytes_of_its_own() {
        assert_ne!(pattern(1, true, 0, 100), pattern(1, false, 0, 100));
        assert_ne!(pattern(1, true, 0, 100), pattern(2, true, 0, 100));
        assert_ne!(pattern(1, true, 0, 100), pattern(1, true, 1, 100));
        assert_eq!(pattern(1, true, 10, 90), &pattern(1, true, 0, 100)[10..]);
        assert_eq!(pattern(3, true, PERIOD, 10), pattern(3, true, 0, 10));
    }
}
