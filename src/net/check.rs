//! One active health check of an upstream: it must accept a connection, and give the expected answer.

use std::io;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::dial::{DialOptions, DialTls};
use super::error::{is_local, plain};
use super::{DialError, StreamRef, dial};
use crate::model::{Expect, HealthCheck, UpstreamAddr};

/// Most bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;

/// Why a check did not pass.
#[derive(Debug)]
pub enum CheckError {
    /// The upstream failed the check: the reason, for a person.
    Failed(String),
    /// This system refused the attempt, which says nothing about the upstream.
    Denied(io::Error),
}

/// Checks once, within the check's timeout.
///
/// `tls` applies to the upstream's own port only: a separate port for checks is checked without TLS.
pub async fn check(
    upstream: &UpstreamAddr,
    check: &HealthCheck,
    tls: Option<DialTls<'_>>,
    before_tls: &[u8],
) -> Result<(), CheckError> {
    let failed = |why: String| Err(CheckError::Failed(why));
    let ends = Instant::now() + check.timeout;
    let options = DialOptions { timeout: check.timeout, before_tls };
    let tls = tls.filter(|_| check.port.is_none());
    let mut stream = match dial(&at_port(upstream, check.port), options, tls).await {
        Ok((stream, _)) => stream,
        Err(DialError::Connect(_, error)) if is_local(&error) => {
            return Err(CheckError::Denied(error));
        }
        Err(error) => return failed(error.to_string()),
    };
    let Some(expect) = &check.expect else {
        if stream.session.is_some() {
            // An error here means that the connection has ended already.
            drop(timeout_at(ends, stream.as_ref().end()).await);
        }
        return Ok(());
    };
    let send = check.send.as_ref().map_or(&[][..], |send| send.bytes());
    let mut answer = Vec::new();
    match timeout_at(ends, ask(stream.as_ref(), send, expect, &mut answer)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) if answer.is_empty() => failed("it closed without an answer".to_owned()),
        Ok(Ok(false)) => failed(format!("it answered {}", shown(&answer))),
        Ok(Err(error)) => failed(plain(&error)),
        Err(_) if answer.is_empty() => failed("no answer in time".to_owned()),
        Err(_) => failed(format!("it answered {} and no more in time", shown(&answer))),
    }
}

/// Whether the answer contains what is expected. Reads until it does, the peer ends, or [`ANSWER`] bytes are read.
async fn ask(mut leg: StreamRef<'_>, send: &[u8], expect: &Expect, answer: &mut Vec<u8>) -> io::Result<bool> {
    leg.send_all(send).await?;
    loop {
        let got = leg.recv_into(answer).await?;
        if expect.is_in(answer) {
            return Ok(true);
        }
        if got == 0 || answer.len() >= ANSWER {
            return Ok(false);
        }
    }
}

fn at_port(upstream: &UpstreamAddr, port: Option<u16>) -> UpstreamAddr {
    match (upstream, port) {
        (UpstreamAddr::Ip(addr), Some(port)) => UpstreamAddr::Ip(SocketAddr::new(addr.ip(), port)),
        _ => upstream.clone(),
    }
}

/// Quotes the beginning of an answer, for a person.
fn shown(answer: &[u8]) -> String {
    const SHOWN: usize = 60;
    let more = if answer.len() > SHOWN { "..." } else { "" };
    let text = String::from_utf8_lossy(answer.get(..SHOWN).unwrap_or(answer)).into_owned();
    format!("{text:?}{more}")
}
