//! Who may connect to a Unix socket: the mode and the group of its file.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;

/// The mode and the group of a Unix socket's file. Connecting needs the right to write (unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// The permission bits.
    pub mode: Mode,
    /// The group of the file. `None`: the one that the kernel gives it.
    pub group: Option<Group>,
}

/// Permission bits: 0 to 0777.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

/// A group of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// By its name in `/etc/group`.
    Name(String),
    /// By its number.
    Number(u32),
}

impl SocketAccess {
    /// Everybody who can reach the folder of the file: a route's socket by default.
    pub const EVERYBODY: SocketAccess = SocketAccess { mode: Mode(0o666), group: None };
    /// The user that Portway runs as: the admin socket by default.
    pub const OWNER: SocketAccess = SocketAccess { mode: Mode(0o600), group: None };

    /// What a file says: its keys, or `default`. With a group and no mode, the group may connect and others may not.
    pub fn said(mode: Option<Mode>, group: Option<Group>, default: &SocketAccess) -> SocketAccess {
        let of_group = if group.is_some() { Mode(0o660) } else { default.mode };
        SocketAccess { mode: mode.unwrap_or(of_group), group }
    }

    /// Each key with its value.
    pub fn entries(&self) -> [(&'static str, String); 2] {
        let group = self.group.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        [("mode", self.mode.to_string()), ("group", group)]
    }
}

impl Mode {
    /// The bits, as chmod(2) takes them.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mode {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let octal = u16::from_str_radix(text, 8).ok().filter(|_| !text.starts_with(['+', '-']));
        match (octal, text.len()) {
            (Some(bits), 3 | 4) if bits <= 0o777 => Ok(Mode(bits)),
            _ => Err(Fault::new(
                format!("`{text}` is not a mode"),
                "write it in octal digits, as chmod takes it: \"0660\" for the owner and the group, \"0666\" for everybody",
            )),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Name(name) => f.write_str(name),
            Group::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for Group {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            // The highest number means "unchanged" to chown(2).
            Ok(number) if digits && number < u32::MAX => Ok(Group::Number(number)),
            Err(_) if !digits && is_name(text) => Ok(Group::Name(text.to_owned())),
            _ => Err(Fault::new(
                format!("`{text}` is not a group"),
                "write its name or its number, as `getent group` shows them: \"www-data\"",
            )),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == ':' || c == ',' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_three_or_four_octal_digits_without_special_bits() {
        for (text, shown) in [("0660", "0660"), ("660", "0660"), ("0000", "0000"), ("777", "0777")] {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), shown);
        }
        for wrong in ["", "66", "0o660", "1777", "4755", "00660", "0680", "+660", "-660", "rw-rw----", " 660"]
        {
            assert!(wrong.parse::<Mode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        assert_eq!("33".parse(), Ok(Group::Number(33)));
        assert_eq!("www-data".parse(), Ok(Group::Name("www-data".to_owned())));
        assert_eq!("4294967294".parse(), Ok(Group::Number(4_294_967_294)));
        for wrong in ["", "4294967295", "99999999999", "+33", "a b", "a:b", "a,b", "a\n", "a\u{7}"] {
            assert!(wrong.parse::<Group>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_group_without_a_mode_may_connect_and_others_may_not() {
        let group = Some(Group::Number(7));
        let said = |mode, group, default: &_| SocketAccess::said(mode, group, default).mode.to_string();
        assert_eq!(said(None, None, &SocketAccess::EVERYBODY), "0666");
        assert_eq!(said(None, None, &SocketAccess::OWNER), "0600");
        assert_eq!(said(None, group.clone(), &SocketAccess::EVERYBODY), "0660");
        assert_eq!(said(None, group.clone(), &SocketAccess::OWNER), "0660");
        assert_eq!(said(Some(Mode(0o640)), group, &SocketAccess::OWNER), "0640");
    }

    #[test]
    fn modes_and_groups_are_shown_and_have_their_bits() {
        let mode: Mode = "0640".parse().unwrap();
        assert_eq!((mode.bits(), format!("{mode} {mode:?}").as_str()), (0o640, "0640 0640"));
        let groups = ["www-data", "33"].map(|group| group.parse::<Group>().unwrap().to_string());
        assert_eq!(groups, ["www-data", "33"]);
        let entries = SocketAccess { mode, group: "33".parse().ok() }.entries();
        assert_eq!(entries, [("mode", "0640".to_owned()), ("group", "33".to_owned())]);
        assert_eq!(
            SocketAccess::EVERYBODY.entries(),
            [("mode", "0666".to_owned()), ("group", "none".to_owned())]
        );
    }
}
