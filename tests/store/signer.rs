//! A publisher that signs as minisign does (texts as they are: `minisign -l`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};

/// Who signs.
pub struct Signer {
    pair: KeyPair,
    id: [u8; 8],
}

impl Signer {
    /// A new key, with this number.
    pub fn new(number: u8) -> Signer {
        Signer { pair: KeyPair::generate_for(&PKCS_ED25519).unwrap(), id: [number; 8] }
    }

    /// The public key, as minisign writes it.
    pub fn public(&self) -> String {
        let key = [b"Ed", self.id.as_slice(), self.pair.der_bytes()].concat();
        format!("untrusted comment: minisign public key\n{}\n", BASE64_STANDARD.encode(key))
    }

    /// The signature of a text with a trusted comment.
    pub fn sign(&self, text: &str, comment: &str) -> String {
        let signature = self.pair.sign(text.as_bytes()).unwrap();
        let whole = self.pair.sign(&[signature.as_slice(), comment.as_bytes()].concat()).unwrap();
        let first = [b"Ed", self.id.as_slice(), &signature].concat();
        let [first, second] = [first, whole].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("untrusted comment: made by a test\n{first}\ntrusted comment: {comment}\n{second}\n")
    }
}
