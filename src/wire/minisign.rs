//! Signatures of minisign, and what a publisher of route tables says in their trusted comment: `serial=N stage=P%`.

use minisign_verify as minisign;

/// Whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(minisign::PublicKey);

/// A signature, not yet compared with a text.
#[derive(Clone)]
pub struct Signature {
    signature: minisign::Signature,
    /// What its trusted comment says. As long as nothing is verified, only the store says so.
    pub release: Release,
}

/// A text that was given out, and to how many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Grows with each text.
    pub serial: u64,
    /// Which share of the nodes takes it.
    pub stage: Stage,
}

/// A share, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(u32);

/// Why something is no key, no signature, or not that of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No public key of minisign.
    #[error("it is no public key of minisign: that is a line of 56 letters that begins with RW")]
    Key,
    /// No signature of minisign.
    #[error("it is no signature of minisign")]
    Form,
    /// The trusted comment has no serial.
    #[error("its trusted comment has no `serial=N`: sign with minisign -S -t 'serial=N stage=100%'")]
    Serial,
    /// The trusted comment has a stage that is no percentage.
    #[error("its trusted comment has a stage that is none: write `stage=10%`")]
    Stage,
    /// Another key has signed.
    #[error("it was made with another key than the one of --key")]
    OtherKey,
    /// It does not belong to the text.
    #[error("it is not that of this text")]
    OtherText,
}

impl PublicKey {
    /// Reads the file that minisign writes, or its last line alone.
    pub fn read(text: &str) -> Result<PublicKey, SignatureError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let key = lines.next_back().ok_or(SignatureError::Key)?;
        minisign::PublicKey::from_base64(key).map(PublicKey).map_err(|_| SignatureError::Key)
    }

    /// Whether a signature is that of a text. Texts signed as they are (minisign before 0.11) and their hashes both count.
    pub fn verify(&self, text: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        self.0.verify(text, &signature.signature, true).map_err(|error| match error {
            minisign::Error::UnexpectedKeyId => SignatureError::OtherKey,
            _ => SignatureError::OtherText,
        })
    }
}

impl Signature {
    /// Reads a signature and its trusted comment.
    pub fn read(text: &[u8]) -> Result<Signature, SignatureError> {
        let text = std::str::from_utf8(text).map_err(|_| SignatureError::Form)?;
        let signature = minisign::Signature::decode(text).map_err(|_| SignatureError::Form)?;
        let release = Release::read(signature.trusted_comment())?;
        Ok(Signature { signature, release })
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signature").field("release", &self.release).finish_non_exhaustive()
    }
}

impl Release {
    /// Other words of the comment are the publisher's own.
    fn read(comment: &str) -> Result<Release, SignatureError> {
        let (mut serial, mut stage) = (None, None);
        for word in comment.split_whitespace() {
            match word.split_once('=') {
                Some(("serial", _)) if serial.is_some() => return Err(SignatureError::Serial),
                Some(("serial", number)) => {
                    serial = Some(number.parse().map_err(|_| SignatureError::Serial)?)
                }
                Some(("stage", _)) if stage.is_some() => return Err(SignatureError::Stage),
                Some(("stage", share)) => stage = Some(Stage::read(share).ok_or(SignatureError::Stage)?),
                _ => {}
            }
        }
        Ok(Release { serial: serial.ok_or(SignatureError::Serial)?, stage: stage.unwrap_or(Stage::ALL) })
    }
}

impl Stage {
    /// Every node.
    pub const ALL: Stage = Stage(1_000_000);

    /// In millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// A percentage with at most four places behind the point: `10%`, `0.5%`.
    fn read(text: &str) -> Option<Stage> {
        let text = text.strip_suffix('%')?;
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        if part.len() > 4 || part.is_empty() || !(whole.to_owned() + part).bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100)?;
        let part: u32 = format!("{part:0<4}").parse().ok()?;
        Some(Stage(whole * 10_000 + part)).filter(|stage| *stage <= Stage::ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of minisign's own manual.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_trusted_comment_has_a_serial_and_perhaps_a_stage() {
        let read = |comment: &str| Release::read(comment).map(|release| (release.serial, release.stage.0));
        assert_eq!(read("serial=7 stage=10%"), Ok((7, 100_000)));
        assert_eq!(read("timestamp:1 file:x serial=18446744073709551615"), Ok((u64::MAX, 1_000_000)));
        assert_eq!(read("stage=0.25% by=ann serial=1"), Ok((1, 2_500)));
        assert_eq!(read("serial=1 stage=0%"), Ok((1, 0)));
        assert_eq!(read("serial=1 stage=100.0000%"), Ok((1, 1_000_000)));
        for comment in ["", "serial", "serial=", "serial=-1", "serial=x", "serial=1 serial=2", "Serial=1"] {
            assert_eq!(read(comment), Err(SignatureError::Serial), "{comment}");
        }
        for stage in ["10", "101%", "100.1%", "-1%", "1.%", ".5%", "1.00001%", "%", "+1%", "1e1%"] {
            assert_eq!(read(&format!("serial=1 stage={stage}")), Err(SignatureError::Stage), "{stage}");
        }
    }

    #[test]
    fn a_key_is_its_file_or_its_line() {
        let key = PublicKey::read(KEY).unwrap();
        assert_eq!(PublicKey::read(&format!("untrusted comment: mine\n{KEY}\n\n")), Ok(key));
        for text in ["", "\n", "untrusted comment: mine", "RWQ", "-----BEGIN PUBLIC KEY-----", &KEY[1..]] {
            assert_eq!(PublicKey::read(text), Err(SignatureError::Key), "{text}");
        }
    }

    #[test]
    fn what_is_no_signature_is_none() {
        for text in ["", "x\ny\nz\n", "untrusted comment: a\nRU\ntrusted comment: serial=1\nAA"] {
            assert_eq!(Signature::read(text.as_bytes()).unwrap_err(), SignatureError::Form);
        }
        assert_eq!(Signature::read(b"\xff\xfe").unwrap_err(), SignatureError::Form);
    }

    /// Of `minisign -S` with the key of a test: https://jedisct1.github.io/minisign/ has the form.
    #[test]
    fn a_signature_is_of_one_text_and_one_key() {
        use base64::Engine;
        use base64::prelude::BASE64_STANDARD;
        use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
        let signer = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let key = |id: u8| {
            let key = [b"Ed".as_slice(), &[id; 8], signer.der_bytes()].concat();
            PublicKey::read(&BASE64_STANDARD.encode(key)).unwrap()
        };
        let comment = "serial=7 stage=12.5%";
        let signature = signer.sign(b"text").unwrap();
        let whole = signer.sign(&[signature.as_slice(), comment.as_bytes()].concat()).unwrap();
        let first = BASE64_STANDARD.encode([b"Ed".as_slice(), &[7; 8], &signature].concat());
        let second = BASE64_STANDARD.encode(whole);
        let text = format!("untrusted comment: x\n{first}\ntrusted comment: {comment}\n{second}\n");
        let signature = Signature::read(text.as_bytes()).unwrap();
        assert_eq!(key(7).verify(b"text", &signature), Ok(()));
        assert_eq!(key(7).verify(b"texT", &signature), Err(SignatureError::OtherText));
        assert_eq!(key(8).verify(b"text", &signature), Err(SignatureError::OtherKey));
        let Release { serial, stage } = signature.release;
        assert_eq!((serial, stage.millionths(), stage.percent()), (7, 125_000, 12.5));
        assert_eq!((Stage::ALL.millionths(), Stage::ALL.percent()), (1_000_000, 100.0));
        assert!(format!("{signature:?}").contains("serial: 7"), "{signature:?}");
        assert_eq!(Release::read("serial=1 stage=1% stage=1%").unwrap_err(), SignatureError::Stage);
    }
}
