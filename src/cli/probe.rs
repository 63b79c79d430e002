//! `portway probe`: a diagnostic client. Resolves, connects, says how long each step took, then joins standard input
//! and output with the peer.
//!
//! Steps and errors go to standard error, the peer's bytes and nothing else to standard output.
//!
//! Exit codes: 0 it connected (UDP: an answer arrived); 1 it could not (UDP: refused, or no answer); 2 the command
//! line is wrong. How the connection ended later does not count: the last line says it.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{UpstreamAddr, UpstreamSpec, units};

mod connect;
mod datagram;
mod explain;
mod join;
mod steps;

use steps::Steps;

/// How long a name or a connection may take.
const TIMEOUT_TCP: Duration = Duration::from_secs(5);

/// How long an answer by UDP may take.
const TIMEOUT_UDP: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  portway probe db.internal:5432 </dev/null     does it resolve and connect?
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | portway probe 127.0.0.1:8080
  portway probe unix:/run/app.sock              by hand; Ctrl-D ends your side
  echo ping | portway probe --udp 127.0.0.1:9000

Steps go to standard error, the peer's bytes to standard output. It ends when the peer closes; input on its way to a \
peer that closed its side is still sent, until it pauses for two seconds.

With --udp each line of input, with its line end, is one datagram. It ends when no answer has come for the timeout \
after the end of input.

Exit code: 0 it connected (with --udp: an answer came); 1 it could not (with --udp: refused, or no answer); 2 the \
command line is wrong.";

/// A diagnostic client: resolve, connect, first byte, each with its time; then stdin <-> peer
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// name:port, 127.0.0.1:PORT, [::1]:PORT or unix:/path
    #[arg(value_name = "ADDR", value_parser = target)]
    addr: UpstreamAddr,

    /// Send datagrams
    #[arg(long)]
    udp: bool,

    /// Time limit for the name, and for each address; with --udp: for an answer [default: 5s, with --udp 1s]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,

    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

fn target(text: &str) -> Result<UpstreamAddr, String> {
    let spec: UpstreamSpec = text.parse().map_err(|error: crate::model::Fault| {
        let help = &error.help;
        format!("{error}: {help}")
    })?;
    match spec.count() {
        _ if spec == UpstreamSpec::Original => {
            Err(format!("`{text}` is another address for each client: give one"))
        }
        1 => Ok(spec.at(0)),
        _ => Err(format!("`{text}` is a port range: give one port")),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    units::duration(text, Duration::from_millis(1)).map_err(|error| format!("{error}: {}", error.help))
}

/// Runs the command. The exit codes are those of the module.
pub fn run(args: Args) -> ExitCode {
    let steps = Steps { quiet: args.quiet };
    if args.udp && matches!(args.addr, UpstreamAddr::Unix(_)) {
        steps.error(format_args!("a Unix socket is a stream: leave out --udp"));
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            steps.error(format_args!("could not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let limit = args.timeout.unwrap_or(if args.udp { TIMEOUT_UDP } else { TIMEOUT_TCP });
    let reached = runtime.block_on(async {
        if args.udp {
            datagram::probe(&args.addr, limit, &steps).await
        } else {
            stream(&args.addr, limit, &steps).await
        }
    });
    // A thread may be reading a terminal, or asking a silent name server: neither can be stopped, or waited for.
    runtime.shutdown_background();
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Probes a stream. Returns whether it connected.
async fn stream(addr: &UpstreamAddr, limit: Duration, steps: &Steps) -> bool {
    let begin = Instant::now();
    match connect::stream(addr, limit, steps).await {
        Some(connect::Connected::Tcp(stream)) => join::join(stream, begin, steps).await,
        Some(connect::Connected::Unix(stream)) => join::join(stream, begin, steps).await,
        None => return false,
    }
    true
}
