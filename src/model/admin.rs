//! The admin endpoint: where it listens, and who may do what there.

use std::fmt;

use super::ListenAddr;

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: ListenAddr,
    /// Who shows it may read and change.
    pub token: Option<Secret>,
    /// Who shows it may read.
    pub read_token: Option<Secret>,
}

impl AdminSettings {
    /// Each key with its value; of a secret only whether there is one.
    pub fn entries(&self) -> [(&'static str, String); 3] {
        let set = |secret: &Option<Secret>| if secret.is_some() { "set" } else { "none" };
        [
            ("listen", self.listen.to_string()),
            ("token", set(&self.token).to_owned()),
            ("read_token", set(&self.read_token).to_owned()),
        ]
    }

    /// Whether only programs of this machine, or of this container, can reach it.
    pub fn is_local(&self) -> bool {
        match &self.listen {
            ListenAddr::Unix(_) => true,
            ListenAddr::Ip(addr) => addr.ip().to_canonical().is_loopback(),
            ListenAddr::Any(_) => false,
        }
    }
}

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Whether somebody knows it. The time that this takes tells nothing of how much of it was right.
    pub fn is(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let differ = own.iter().enumerate().fold(own.len() ^ offered.len(), |differ, (i, byte)| {
            // Of a shorter offer its first byte again and again: as many steps for every offer.
            let other = offered.get(i).or(offered.first()).copied().unwrap_or_default();
            differ | usize::from(byte ^ other)
        });
        std::hint::black_box(differ) == 0
    }

    /// The text, for whoever must show it to another process.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_or_not_and_never_shown() {
        let secret = Secret::new("correct-horse-battery");
        assert!(secret.is("correct-horse-battery"));
        for offered in ["", "c", "correct-horse-batterx", "correct-horse-battery ", "xorrect-horse-battery"] {
            assert!(!secret.is(offered), "{offered}");
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
