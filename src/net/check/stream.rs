//! A check over a connection.

use std::io;
use std::pin::pin;

use super::finding::{CheckError, Finding, Opening};
use crate::model::{HealthCheck, UpstreamAddr};
use crate::net::deadline::Deadline;
use crate::net::dial::{DialOptions, dial_by};
use crate::net::error::{is_local, plain};
use crate::net::{DialError, StreamRef};
use crate::state::talk::{Due, Silence, Talk};

pub(super) async fn check(upstream: &UpstreamAddr, how: &HealthCheck, opening: Opening<'_>) -> Finding {
    let mut limit = pin!(Deadline::after(how.timeout));
    let options = DialOptions::for_no_client(how.timeout, opening.header);
    let mut stream = match dial_by(limit.as_mut(), upstream, &options, opening.reach).await {
        Ok((stream, _)) => stream,
        Err(DialError::Connect(_, error)) if is_local(&error) => {
            return Finding { result: Err(CheckError::Denied(error)), connection: None };
        }
        Err(error) => return Finding::failed(error.to_string()),
    };
    let mut talk = Talk::new(&how.steps);
    let ended = limit.bound(run(stream.as_ref(), &mut talk)).await.unwrap_or(Err(Silence::Late));
    let result = ended.map_err(|why| CheckError::Failed(talk.fault(why)));
    Finding { result, connection: Some(stream) }
}

/// Takes every step.
async fn run(mut peer: StreamRef<'_>, talk: &mut Talk<'_>) -> Result<(), Silence> {
    let broken = |error: io::Error| Silence::Error(plain(&error));
    let mut bytes = Vec::new();
    loop {
        match talk.due() {
            Due::Nothing => return Ok(()),
            Due::Send(bytes) => peer.send_all(bytes).await.map_err(broken)?,
            Due::Answer if talk.is_full() => return Err(Silence::End),
            Due::Answer => {
                bytes.clear();
                if peer.recv_into(&mut bytes).await.map_err(broken)? == 0 {
                    return Err(Silence::End);
                }
                talk.hears(&bytes);
            }
        }
    }
}
