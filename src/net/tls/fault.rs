//! Why a TLS session failed, in words that say where to look.

use std::fmt;
use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    AlertDescription, CertRevocationListError, CertificateError, Error, InvalidMessage, PeerIncompatible,
};

use crate::net::error::plain;

/// Why a TLS session with a peer failed. The messages call the peer "it".
#[derive(Debug)]
pub enum TlsError {
    /// The peer ended before it had sent a byte.
    Silent,
    /// The peer ended within the handshake.
    Ended,
    /// The peer ended with FIN and without `close_notify`: something may be missing.
    NoCloseNotify,
    /// The handshake took too long.
    Late,
    /// The socket failed.
    Io(io::Error),
    /// The peer does not speak TLS: the beginning of what it sent.
    NotTls(String),
    /// This name cannot be the name of a server.
    NoName(String),
    /// Any other error of rustls.
    Tls(Error),
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        TlsError::Tls(error)
    }
}

impl TlsError {
    /// Most bytes to show of a peer that does not speak TLS.
    pub(super) const SHOWN: usize = 40;

    /// Makes an error of the handshake. `heard`: the first bytes of the peer.
    pub(super) fn of_handshake(error: Error, heard: &[u8]) -> Self {
        // The record types are 20 to 23 (RFC 8446, section 5.1).
        match (&error, heard.first()) {
            (Error::InvalidMessage(_), Some(kind)) if !(20..=23).contains(kind) => {
                let shown = heard.get(..Self::SHOWN).unwrap_or(heard);
                TlsError::NotTls(String::from_utf8_lossy(shown).into_owned())
            }
            _ => TlsError::Tls(error),
        }
    }

    /// The error of the system call. `None` if no system call failed.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            TlsError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Silent => f.write_str("it ended before TLS began"),
            TlsError::Ended => f.write_str("it ended within the TLS handshake"),
            TlsError::NoCloseNotify => f.write_str("no close_notify"),
            TlsError::Late => f.write_str("the TLS handshake did not end in time"),
            TlsError::Io(error) => f.write_str(&plain(error)),
            TlsError::NotTls(sent) => write!(f, "it does not speak TLS: it sent {sent:?}"),
            TlsError::NoName(name) => {
                write!(f, "`{name}` cannot be the name of a server: give `server_name`")
            }
            TlsError::Tls(error) => told(error, f),
        }
    }
}

impl std::error::Error for TlsError {}

fn told(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::InvalidCertificate(error) => certificate(error, f),
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature) => {
            f.write_str("the revocation list of its authority is signed with another key (tls.crl)")
        }
        Error::AlertReceived(alert) => alerted(*alert, f),
        Error::NoCertificatesPresented => f.write_str("it presents no certificate, and must (tls.client_ca)"),
        Error::NoApplicationProtocol => f.write_str("it offers none of the protocols of `alpn`"),
        Error::InvalidMessage(InvalidMessage::UnexpectedMessage(what)) => {
            write!(f, "it breaks the rules of TLS: {what}")
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            // Every newer version has this extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => f.write_str("it speaks no TLS newer than 1.1"),
        error => write!(f, "{error}"),
    }
}

fn certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        CertificateError::Expired => f.write_str("its certificate has expired"),
        CertificateError::ExpiredContext { time, not_after } => {
            write!(f, "its certificate expired {} ago", between(*not_after, *time))
        }
        CertificateError::NotValidYet => f.write_str("its certificate is not valid yet"),
        CertificateError::NotValidYetContext { time, not_before } => {
            write!(
                f,
                "its certificate is valid only in {} from now: see the clocks",
                between(*time, *not_before)
            )
        }
        CertificateError::UnknownIssuer => {
            f.write_str("its certificate comes from an authority that is not trusted here")
        }
        CertificateError::BadSignature => f.write_str(
            "its certificate is not signed by the authority that it names: one of that name is trusted here, with another key",
        ),
        CertificateError::NotValidForName => f.write_str("its certificate is for another name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name".to_owned() } else { dns(presented) };
            write!(f, "its certificate is for {}, not for {}", names, shown(expected))
        }
        CertificateError::Revoked => f.write_str("its certificate is revoked (tls.crl)"),
        CertificateError::UnknownRevocationStatus => f.write_str(
            "no list of tls.crl says whether its certificate is revoked: each authority on the way to client_ca needs one",
        ),
        CertificateError::ExpiredRevocationListContext { time, next_update } => {
            let ago = between(*next_update, *time);
            write!(f, "the revocation list of its authority was due to be replaced {ago} ago (tls.crl)")
        }
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => f.write_str(
            "its certificate is of X.509 version 1, which says too little to be verified: make one of version 3",
        ),
        // This is webpki's error, which is not part of rustls's own interface.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => f.write_str(
            "its certificate is an authority's own, and none of a server (self-signed, with CA:TRUE): \
             make one without CA:TRUE, or sign one with it",
        ),
        error => write!(f, "its certificate is no good: {error}"),
    }
}

/// The bare names: rustls shows them as `DnsName("db.internal")` and `IpAddress(10.0.0.1)`.
fn dns(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

/// Explains an alert that the peer sent.
fn alerted(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match alert {
        AlertDescription::UnknownCA => f.write_str("it does not trust our certificate (alert unknown_ca)"),
        AlertDescription::CertificateRequired => {
            f.write_str("it wants a certificate of us (alert certificate_required)")
        }
        AlertDescription::CertificateExpired => {
            f.write_str("it finds our certificate expired (alert certificate_expired)")
        }
        AlertDescription::BadCertificate => f.write_str("it refuses our certificate (alert bad_certificate)"),
        AlertDescription::CertificateUnknown => {
            f.write_str("it refuses our certificate (alert certificate_unknown)")
        }
        AlertDescription::UnrecognisedName => {
            f.write_str("it does not serve the name that it is asked for (alert unrecognized_name)")
        }
        AlertDescription::ProtocolVersion => {
            f.write_str("it speaks no version of TLS that we speak (alert protocol_version)")
        }
        AlertDescription::HandshakeFailure => {
            f.write_str("it finds no cipher, or no certificate, that both have (alert handshake_failure)")
        }
        alert => write!(f, "it ended TLS with alert {alert:?}"),
    }
}

fn shown(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
        name => format!("{name:?}"),
    }
}

/// The time between the two, in days, hours, minutes or seconds.
fn between(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
