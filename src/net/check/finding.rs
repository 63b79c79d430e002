//! What a check begins with, and what it finds.

use std::io;

use crate::model::HeaderOn;
use crate::net::Stream;
use crate::net::dial::Reach;

/// Why a check did not pass.
#[derive(Debug)]
pub enum CheckError {
    /// The upstream failed the check: the reason, for a person.
    Failed(String),
    /// This system refused the attempt, which says nothing about the upstream.
    Denied(io::Error),
}

/// How a check reaches its upstream.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The PROXY header of a connection that serves no client. Empty: none.
    pub header: &'a [u8],
    /// UDP: which datagrams begin with the header.
    pub on: HeaderOn,
    /// From where, and how TLS is spoken.
    pub reach: Reach<'a>,
}

/// The result of a check, and the connection that it leaves.
#[derive(Debug)]
pub struct Finding {
    /// Whether the upstream has passed.
    pub result: Result<(), CheckError>,
    /// To part from. `None`: it was not made.
    pub connection: Option<Stream>,
}

impl Finding {
    pub(super) fn failed(why: String) -> Self {
        Finding { result: Err(CheckError::Failed(why)), connection: None }
    }
}
