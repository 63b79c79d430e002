//! What the process is to the system: the user that it runs as.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;
use super::socket_access::Group;

/// The `[process]` part of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Whom a start as root becomes. `None`: it stays who it is.
    pub user: Option<User>,
}

impl ProcessSettings {
    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 1] {
        let user = self.user.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        [("user", user)]
    }
}

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By its name in `/etc/passwd`.
    Name(String),
    /// By its number.
    Number(u32),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Name(name) => f.write_str(name),
            User::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for User {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        // One rule for the names and numbers of both.
        match text.parse::<Group>() {
            Ok(Group::Name(name)) => Ok(User::Name(name)),
            Ok(Group::Number(number)) => Ok(User::Number(number)),
            Err(_) => Err(Fault::new(
                format!("`{text}` is not a user"),
                "write its name or its number, as `getent passwd` shows them: \"portway\"",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_a_number() {
        assert_eq!("33".parse(), Ok(User::Number(33)));
        assert_eq!("www-data".parse(), Ok(User::Name("www-data".to_owned())));
        for wrong in ["", "4294967295", "portway:portway", "a b", "a\n"] {
            let fault = wrong.parse::<User>().unwrap_err();
            assert!(fault.message.contains("is not a user"), "{wrong}");
        }
    }

    #[test]
    fn a_user_is_shown_as_it_is_written() {
        for (user, shown) in [("", "none"), ("33", "33"), ("www-data", "www-data")] {
            let settings = ProcessSettings { user: user.parse().ok() };
            assert_eq!(settings.entries(), [("user", shown.to_owned())]);
        }
    }
}
