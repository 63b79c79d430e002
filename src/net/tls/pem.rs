//! Certificates, keys and revocation lists of files, in PEM. The content of a file never appears in a message.

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};

use crate::model::Fault;
use crate::wire::pem::{Block, PemError, PemErrorKind, is_der, read};

/// What is wrong with a text, and in which line. `None`: it is the text as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub line: Option<usize>,
    pub fault: Fault,
}

/// One item of a text, with the line of its beginning.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub value: T,
    pub line: usize,
}

impl Flaw {
    pub fn at(line: usize, message: impl Into<String>, help: impl Into<String>) -> Flaw {
        Flaw { line: Some(line), fault: Fault::new(message, help) }
    }

    fn whole(message: &str, help: &str) -> Flaw {
        Flaw { line: None, fault: Fault::new(message, help) }
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<Item<CertificateDer<'static>>>, Flaw> {
    let blocks = blocks(text, "openssl x509 -inform DER -in FILE -out PEM")?;
    let has_key = blocks.iter().any(|block| kind(block) == Kind::Key);
    let found = of_kind(blocks, Kind::Certificate)?;
    if found.is_empty() {
        return Err(match has_key {
            true => Flaw::whole(
                "there is a key in it, and no certificate",
                "give the certificate here, and the key as `key`: are the two swapped?",
            ),
            false => Flaw::whole(
                "there is no certificate in it",
                "a certificate stands in PEM, between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
            ),
        });
    }
    Ok(found.into_iter().map(|Block { bytes, line, .. }| Item { value: bytes.into(), line }).collect())
}

/// The private key of a file, which must not be encrypted.
pub(super) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    let blocks = blocks(text, "openssl pkey -inform DER -in FILE -out PEM")?;
    let has_certificate = blocks.iter().any(|block| kind(block) == Kind::Certificate);
    if let Some(block) = blocks.iter().find(|block| block.is_encrypted || kind(block) == Kind::EncryptedKey) {
        return Err(Flaw::at(
            block.line,
            "the key is encrypted, and nobody is there to type its password",
            "take the password away: openssl pkey -in KEY -out PLAIN, and let nobody else read PLAIN (chmod 600)",
        ));
    }
    if let Some(block) = blocks.iter().find(|block| kind(block) == Kind::OtherKey) {
        return Err(Flaw { line: Some(block.line), fault: unknown_key() });
    }
    let mut keys = of_kind(blocks, Kind::Key)?.into_iter();
    match (keys.next(), keys.next()) {
        (Some(_), Some(second)) => Err(Flaw::at(
            second.line,
            "this is the second private key in it",
            "leave only the one that belongs to the certificate",
        )),
        (Some(Block { label, bytes, .. }), None) => Ok(match label {
            b"RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(bytes).into(),
            b"EC PRIVATE KEY" => PrivateSec1KeyDer::from(bytes).into(),
            _ => PrivatePkcs8KeyDer::from(bytes).into(),
        }),
        (None, _) if has_certificate => Err(Flaw::whole(
            "there is a certificate in it, and no key",
            "give the private key here, and the certificate as `cert`: are the two swapped?",
        )),
        (None, _) => Err(Flaw::whole(
            "there is no private key in it",
            "a key stands in PEM, between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----",
        )),
    }
}

pub(super) fn unknown_key() -> Fault {
    Fault::new(
        "the key is of a kind that is not known here",
        "use RSA of 2048 bits and more, ECDSA (P-256, P-384, P-521) or Ed25519",
    )
}

/// The revocation lists of a file, at least one. Authorities publish them in DER (RFC 5280, section 4.2.1.13): a file may
/// be one such list.
pub(super) fn revocations(text: &[u8]) -> Result<Vec<Item<CertificateRevocationListDer<'static>>>, Flaw> {
    if is_binary(text) && is_der(text) {
        return Ok(vec![Item { value: text.to_vec().into(), line: 1 }]);
    }
    let found = of_kind(blocks(text, "openssl crl -inform DER -in FILE -out PEM")?, Kind::Revocations)?;
    if found.is_empty() {
        return Err(Flaw::whole(
            "there is no revocation list in it",
            "a list stands in PEM, between -----BEGIN X509 CRL----- and -----END X509 CRL-----",
        ));
    }
    Ok(found.into_iter().map(|Block { bytes, line, .. }| Item { value: bytes.into(), line }).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Certificate,
    Key,
    EncryptedKey,
    /// A private key of a kind that rustls does not know.
    OtherKey,
    Revocations,
    /// What stands beside others and has no use of its own here.
    Beside,
    Other,
}

fn kind(block: &Block<'_>) -> Kind {
    match block.label {
        // The second is OpenSSL's old name of the first.
        b"CERTIFICATE" | b"X509 CERTIFICATE" => Kind::Certificate,
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => Kind::Key,
        b"ENCRYPTED PRIVATE KEY" => Kind::EncryptedKey,
        b"X509 CRL" => Kind::Revocations,
        label if label.ends_with(b"PRIVATE KEY") => Kind::OtherKey,
        label if label.ends_with(b"PARAMETERS") || label.ends_with(b"PUBLIC KEY") => Kind::Beside,
        _ => Kind::Other,
    }
}

/// Every block of a text. `to_pem`: the command that turns the binary form into PEM.
fn blocks<'t>(text: &'t [u8], to_pem: &str) -> Result<Vec<Block<'t>>, Flaw> {
    if is_binary(text) {
        let help =
            format!("turn it into PEM: {to_pem} (a .p12 or .pfx: openssl pkcs12 -in FILE -nodes -out PEM)");
        return Err(Flaw::whole("it is binary (DER), and not PEM", &help));
    }
    read(text).map_err(damaged)
}

/// A DER value of more than 127 bytes. (A text may begin with `0`, which is the first of these bytes.)
fn is_binary(text: &[u8]) -> bool {
    matches!(text, [0x30, length, ..] if *length >= 0x80)
}

/// The blocks of one kind. A file may have keys, certificates and parameters beside them, as HAProxy's do; what may have been
/// meant to take part is a flaw.
fn of_kind(blocks: Vec<Block<'_>>, wanted: Kind) -> Result<Vec<Block<'_>>, Flaw> {
    for block in &blocks {
        let kind = kind(block);
        if kind == wanted && !block.is_whole() {
            return Err(Flaw::at(block.line, "its PEM is damaged: something in it is missing", COPY));
        }
        if kind == Kind::Other || (kind == Kind::Revocations && kind != wanted) {
            return Err(useless(block));
        }
    }
    Ok(blocks.into_iter().filter(|block| kind(block) == wanted).collect())
}

const COPY: &str = "copy the file again; was it written only in part?";

/// A block that has no use here.
fn useless(block: &Block<'_>) -> Flaw {
    let (what, help) = match block.label {
        b"X509 CRL" => ("a revocation list", "name its file as `crl`, beside `client_ca`"),
        b"TRUSTED CERTIFICATE" => (
            "a certificate in a form of OpenSSL's own, which has rules for its use with it",
            "take them away: openssl x509 -in FILE -out PLAIN",
        ),
        b"PKCS7" | b"CMS" => {
            ("a PKCS #7 archive", "take the certificates out: openssl pkcs7 -print_certs -in FILE -out PLAIN")
        }
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => {
            ("a request for a certificate", "give the certificate that the authority has made from it")
        }
        label => {
            let label = String::from_utf8_lossy(label.get(..40).unwrap_or(label)).into_owned();
            return Flaw::at(block.line, format!("`{label}` is a block that has no use here"), "take it out");
        }
    };
    Flaw::at(block.line, format!("this is {what}, and has no use here"), help)
}

fn damaged(PemError { line, kind }: PemError) -> Flaw {
    let (message, help) = match kind {
        PemErrorKind::Utf16 => {
            ("the file is UTF-16", "save it as UTF-8; in PowerShell: Set-Content -Encoding ascii")
        }
        PemErrorKind::Nul => (
            "there is a NUL byte in it",
            "a full disk or a crash may have left it half written: write the file again",
        ),
        PemErrorKind::Marker => (
            "this looks like the beginning or the end of a block, and is none",
            "write it in capitals with five hyphens on each side, as in -----BEGIN CERTIFICATE-----",
        ),
        PemErrorKind::NoEnd => ("its PEM has a beginning, and no end", COPY),
        PemErrorKind::NoBeginning => ("this belongs to a block whose beginning is missing", COPY),
        PemErrorKind::OtherEnd => ("its PEM ends as another kind than it begins", COPY),
        PemErrorKind::Letter(b'\\') => (
            "its PEM has `\\` in it: was it taken out of JSON or of a variable?",
            "turn each \\n into an end of a line: printf '%b' \"$TEXT\" > FILE",
        ),
        PemErrorKind::Letter(_) => ("its PEM has letters in it that cannot stand there", COPY),
        PemErrorKind::Length => ("its PEM has lost letters", COPY),
    };
    Flaw::at(line, message, help)
}
