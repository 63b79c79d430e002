//! Reads certificates and keys from PEM files. The content of a file never appears in a message.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::model::Fault;

/// The certificates of a file, at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| damaged(&error))?;
    if certificates.is_empty() {
        return Err(match has(text, "PRIVATE KEY") {
            true => Fault::new(
                "there is a key in it, and no certificate",
                "give the certificate here, and the key as `key`: are the two swapped?",
            ),
            false => Fault::new(
                "there is no certificate in it",
                "a certificate stands in PEM, between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
            ),
        });
    }
    Ok(certificates)
}

/// The first private key of a file, which must not be encrypted.
pub(super) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    if has(text, "ENCRYPTED") {
        return Err(Fault::new(
            "the key is encrypted, and nobody is there to type its password",
            "take the password away: openssl pkey -in KEY -out PLAIN, and let nobody else read PLAIN (chmod 600)",
        ));
    }
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) if has(text, "CERTIFICATE") => Err(Fault::new(
            "there is a certificate in it, and no key",
            "give the private key here, and the certificate as `cert`: are the two swapped?",
        )),
        Err(Error::NoItemsFound) => Err(Fault::new(
            "there is no private key in it",
            "a key stands in PEM, between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----",
        )),
        Err(error) => Err(damaged(&error)),
    }
}

fn has(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Names only the kind of damage: the error itself may quote a line.
fn damaged(error: &Error) -> Fault {
    let what = match error {
        Error::MissingSectionEnd { .. } => "its PEM has a beginning, and no end",
        Error::IllegalSectionStart { .. } => "its PEM has a beginning that is none",
        Error::Base64Decode(_) => "its PEM has letters in it that cannot stand there",
        _ => "its PEM is damaged",
    };
    Fault::new(what, "copy the file again; was it written only in part?")
}
