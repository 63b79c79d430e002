//! One active check of an upstream: it connects, and answers as it should.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::{DialError, Socket, dial, dial::DialOptions};
use crate::model::{Expect, HealthCheck, UpstreamAddr};

/// The most of an answer that is looked at.
const ANSWER: usize = 16 * 1024;

/// Why a check did not pass.
#[derive(Debug)]
pub enum CheckError {
    /// This is the upstream's fault: what it did.
    Failed(String),
    /// This system denied the attempt, which says nothing about the upstream.
    Denied(io::Error),
}

/// Checks once, within the check's timeout.
pub async fn check(upstream: &UpstreamAddr, check: &HealthCheck) -> Result<(), CheckError> {
    let failed = |why: String| Err(CheckError::Failed(why));
    let ends = Instant::now() + check.timeout;
    let options = DialOptions { timeout: check.timeout, keepalive: None };
    let socket = match dial(&at_port(upstream, check.port), options).await {
        Ok((socket, _)) => socket,
        Err(DialError::Connect(_, error)) if super::is_local(&error) => {
            return Err(CheckError::Denied(error));
        }
        Err(error) => return failed(error.to_string()),
    };
    let Some(expect) = &check.expect else { return Ok(()) };
    let send = check.send.as_ref().map_or(&[][..], |send| send.bytes());
    let mut answer = Vec::new();
    match timeout_at(ends, ask(&socket, send, expect, &mut answer)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) if answer.is_empty() => failed("it closed without an answer".to_owned()),
        Ok(Ok(false)) => failed(format!("it answered {}", shown(&answer))),
        Ok(Err(error)) => failed(super::plain(&error)),
        Err(_) if answer.is_empty() => failed("no answer in time".to_owned()),
        Err(_) => failed(format!("it answered {} and no more in time", shown(&answer))),
    }
}

/// Whether the answer has what is expected in it. Reads on until it has, or there is no more.
async fn ask(mut socket: &Socket, send: &[u8], expect: &Expect, answer: &mut Vec<u8>) -> io::Result<bool> {
    socket.write_all(send).await?;
    let mut part = [0; 1024];
    loop {
        let got = socket.read(&mut part).await?;
        answer.extend_from_slice(part.get(..got).unwrap_or_default());
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

/// The beginning of an answer, for a person.
fn shown(answer: &[u8]) -> String {
    const SHOWN: usize = 60;
    let more = if answer.len() > SHOWN { "..." } else { "" };
    let text = String::from_utf8_lossy(answer.get(..SHOWN).unwrap_or(answer)).into_owned();
    format!("{text:?}{more}")
}
