//! Standard input and output, joined with a connected stream.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split, stdin, stdout};
use tokio::time::Instant;

use super::steps::{Since, Steps, bytes};
use crate::net::within;

/// How long input may pause after the peer's FIN before the probe ends. A FIN does not tell a peer that only ended its
/// side from one that is gone, and a pipe may stay open for ever. A person at a terminal is not kept waiting at all.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Buffer of each direction, in bytes.
const BUFFER: usize = 64 * 1024;

/// How the peer's direction ended.
enum Down {
    Fin,
    Rst,
    Lost(io::Error),
    /// Nobody reads our output any more.
    OutputGone,
}

/// How our direction ended.
enum Up {
    /// The end of input, passed on as FIN.
    Fin,
    /// The peer accepts no more bytes.
    Failed(io::Error),
}

#[derive(Default)]
struct Counts {
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// Moves bytes both ways until the peer closes, and says how it ended; `begin` is when the first step began.
pub(super) async fn join<S: AsyncRead + AsyncWrite>(stream: S, begin: Instant, steps: &Steps) {
    let counts = Counts::default();
    let (reader, writer) = split(stream);
    let mut up = pin!(send(writer, &counts, steps));
    let mut down = pin!(receive(reader, &counts, steps));
    let (first, down) = tokio::select! {
        biased;
        down = &mut down => (None, down),
        up = &mut up => (Some(up), down.await),
    };
    let how = match down {
        Down::OutputGone => return,
        Down::Lost(error) => format!("connection lost ({error})"),
        Down::Rst => "closed by the peer (RST)".into(),
        Down::Fin => match finish(first, up, &counts).await {
            None | Some(Up::Fin) => "closed by the peer (FIN)".into(),
            Some(Up::Failed(error)) => match error.kind() {
                // The kernel reports a reset once: the writer got it, and the reader saw a clean end.
                io::ErrorKind::ConnectionReset => "closed by the peer (RST)".into(),
                // The kernel reports a reset after a FIN like this.
                io::ErrorKind::BrokenPipe => {
                    "closed by the peer (FIN, then RST: it did not take all that was sent)".into()
                }
                _ => format!("connection lost ({error})"),
            },
        },
    };
    let (sent, received) = (bytes(counts.sent.get()), bytes(counts.received.get()));
    steps.say(format_args!("{how}, total {}, sent {sent}, received {received}", Since(begin)));
}

/// Sends the rest of the input after the peer's FIN, as long as it does not pause. None: it paused.
async fn finish<F>(ended: Option<Up>, mut up: Pin<&mut F>, counts: &Counts) -> Option<Up>
where
    F: Future<Output = Up>,
{
    if ended.is_some() {
        return ended;
    }
    let pause_max = if io::stdin().is_terminal() { Duration::ZERO } else { PAUSE_MAX };
    loop {
        let before = counts.sent.get();
        match within(pause_max, &mut up).await {
            Ok(ended) => return Some(ended),
            Err(_) if counts.sent.get() == before => return None,
            Err(_) => {}
        }
    }
}

async fn send<W: AsyncWrite + Unpin>(mut writer: W, counts: &Counts, steps: &Steps) -> Up {
    let mut input = stdin();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match input.read(&mut buffer).await {
            Ok(length) => length,
            Err(error) => {
                steps.error(format_args!("could not read standard input: {error}"));
                0
            }
        };
        if length == 0 {
            // Fails if the peer is gone already: the other direction reports that.
            writer.shutdown().await.ok();
            return Up::Fin;
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            match writer.write(rest).await {
                Ok(written) => {
                    counts.sent.set(counts.sent.get() + written as u64);
                    rest = &rest[written..];
                }
                Err(error) => return Up::Failed(error),
            }
        }
    }
}

async fn receive<R: AsyncRead + Unpin>(mut reader: R, counts: &Counts, steps: &Steps) -> Down {
    let connected_at = Instant::now();
    let mut output = stdout();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match reader.read(&mut buffer).await {
            Ok(0) => return Down::Fin,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Down::Rst,
            Err(error) => return Down::Lost(error),
        };
        if counts.received.get() == 0 {
            steps.say(format_args!("first byte after {}", Since(connected_at)));
        }
        counts.received.set(counts.received.get() + length as u64);
        let written = async {
            output.write_all(&buffer[..length]).await?;
            output.flush().await
        };
        if written.await.is_err() {
            return Down::OutputGone;
        }
    }
}
