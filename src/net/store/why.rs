//! Why there is no answer, in words for an operator.

use std::io;

use ureq::{Error, Timeout};

use crate::net::plain;
use crate::net::tls::TlsError;

/// What came instead of an answer.
pub(super) enum Trouble {
    /// Nobody answers.
    Failed(String),
    /// Somebody does, and not with what was asked for.
    Unfit(String),
    /// The time is over.
    Late(String),
}

pub(super) fn trouble(error: Error, largest: u64) -> Trouble {
    match error {
        Error::Timeout(Timeout::Resolve) => {
            Trouble::Late("the name of the store is not resolved in time".to_owned())
        }
        Error::Timeout(Timeout::Connect) => Trouble::Late("no connection to the store in time".to_owned()),
        Error::Timeout(_) => Trouble::Late("the store does not answer in time".to_owned()),
        Error::BodyExceedsLimit(_) => Trouble::Unfit(too_large(largest)),
        Error::TooManyRedirects => Trouble::Unfit("the store redirects again and again".to_owned()),
        Error::RequireHttpsOnly(to) => {
            Trouble::Unfit(format!("the store redirects from https to {to}, which is not followed"))
        }
        Error::LargeResponseHeader(..) | Error::Protocol(_) | Error::Http(_) | Error::BadUri(_) => {
            Trouble::Unfit(format!("the answer of the store is no HTTP as it should be ({error})"))
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Trouble::Failed("the store closes the connection in the middle of its answer".to_owned())
        }
        Error::Io(error) => Trouble::Failed(tls(&error).unwrap_or_else(|| plain(&error))),
        Error::HostNotFound => Trouble::Failed("the name of the store is not known".to_owned()),
        Error::Other(error) => Trouble::Unfit(error.to_string()),
        error => Trouble::Failed(error.to_string()),
    }
}

/// Why TLS failed, if it did.
fn tls(error: &io::Error) -> Option<String> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(format!("TLS of the store: {}", TlsError::from(cause.clone())))
}

pub(super) fn too_large(largest: u64) -> String {
    format!("the answer of the store is larger than {} KiB", largest / 1024)
}
