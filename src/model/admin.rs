//! The admin endpoint: where it listens, and who may do what there.

use std::fmt;
use std::path::PathBuf;

use super::{ListenAddr, SocketAccess};

/// The `[admin]` part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address that the endpoint listens on.
    pub listen: ListenAddr,
    /// Who may connect to it, if it is a Unix socket.
    pub access: SocketAccess,
    /// Lets a client that presents it read and change. `None`: there is no such token.
    pub token: Option<Token>,
    /// Lets a client that presents it read. `None`: there is no such token.
    pub read_token: Option<Token>,
}

/// A token as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The text itself.
    Here(Secret),
    /// It stands elsewhere.
    Elsewhere(TokenSource),
}

/// Where a token stands that is not in the routes' file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenSource {
    /// In a file of its own, which is watched. A relative path starts at the folder of the routes' file.
    File(PathBuf),
    /// In a variable of the process's environment.
    Env(String),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::File(path) => write!(f, "that of {}", path.display()),
            TokenSource::Env(name) => write!(f, "that of ${name}"),
        }
    }
}

impl AdminSettings {
    /// Each key with its value. Of a secret, only whether it is set, or where it stands.
    pub fn entries(&self) -> [(&'static str, String); 5] {
        let set = |token: &Option<Token>| match token {
            None => "none".to_owned(),
            Some(Token::Here(_)) => "set".to_owned(),
            Some(Token::Elsewhere(source)) => source.to_string(),
        };
        let [mode, group] = self.access.entries();
        [
            ("listen", self.listen.to_string()),
            ("token", set(&self.token)),
            ("read_token", set(&self.read_token)),
            mode,
            group,
        ]
    }

    /// Where the tokens stand that are not in the routes' file.
    pub fn token_sources(&self) -> impl Iterator<Item = &TokenSource> {
        self.token.iter().chain(&self.read_token).filter_map(|token| match token {
            Token::Here(_) => None,
            Token::Elsewhere(source) => Some(source),
        })
    }

    /// Whether only programs of this machine, or of this container, can reach it.
    pub fn is_local(&self) -> bool {
        match &self.listen {
            ListenAddr::Unix(_) => true,
            ListenAddr::Ip(addr) => addr.ip().is_loopback(),
            ListenAddr::Any(_) => false,
        }
    }
}

/// A text that no output shows, `Debug` included.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text, so that no output shows it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Whether `offered` is the secret. The time that this takes does not reveal how much of it was right.
    pub fn is(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let differ = own.iter().enumerate().fold(own.len() ^ offered.len(), |differ, (i, byte)| {
            // Repeat the first byte of a shorter offer, so that every offer takes as many steps.
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
        // Two letters that differ in the same bit: one fault does not make up for the other.
        assert!(!secret.is("bnrrect-horse-battery") && !secret.is("correct-horse-bauuery"));
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    fn settings(listen: &str, tokens: [Option<Token>; 2]) -> AdminSettings {
        let listen: super::super::ListenSpec = listen.parse().unwrap();
        let [token, read_token] = tokens;
        AdminSettings { listen: listen.at(0), access: SocketAccess::OWNER, token, read_token }
    }

    #[test]
    fn a_token_is_shown_by_where_it_stands() {
        let here = Token::Here(Secret::new("correct-horse-battery"));
        let file = TokenSource::File("/run/token".into());
        let env = TokenSource::Env("TOKEN".into());
        let shown = |token, read_token| {
            let [_, (_, token), (_, read_token), ..] =
                settings("127.0.0.1:9901", [token, read_token]).entries();
            (token, read_token)
        };
        assert_eq!(shown(None, Some(here.clone())), ("none".into(), "set".into()));
        let (by_file, by_env) = (Token::Elsewhere(file.clone()), Token::Elsewhere(env.clone()));
        let sources = ("that of /run/token".into(), "that of $TOKEN".into());
        assert_eq!(shown(Some(by_file.clone()), Some(by_env.clone())), sources);
        let of = |tokens| settings("unix:/a", tokens).token_sources().cloned().collect::<Vec<_>>();
        assert_eq!(of([Some(by_file), Some(by_env.clone())]), [file, env.clone()]);
        assert_eq!((of([Some(here), None]), of([None, Some(by_env)])), (vec![], vec![env]));
        let [listen, .., mode, group] = settings("unix:/a", [None, None]).entries();
        assert_eq!(
            (listen, mode, group),
            (("listen", "unix:/a".into()), ("mode", "0600".into()), ("group", "none".into()))
        );
    }

    #[test]
    fn it_is_local_where_only_this_host_reaches_it() {
        for (listen, local) in [
            ("unix:/a", true),
            ("127.0.0.1:9901", true),
            ("127.9.9.9:9901", true),
            ("[::1]:9901", true),
            ("9901", false),
            ("0.0.0.0:9901", false),
            ("192.0.2.7:9901", false),
            ("[2001:db8::1]:9901", false),
        ] {
            assert_eq!(settings(listen, [None, None]).is_local(), local, "{listen}");
        }
        assert_eq!(Secret::new("a").reveal(), "a");
    }
}
