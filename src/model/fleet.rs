//! The nodes that serve the same routes side by side.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;
use super::spec::host_name;

/// The most nodes of a fleet.
pub const MOST_REPLICAS: u32 = 1000;

/// The `[fleet]` part of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetSettings {
    /// How many nodes there are, this one counted.
    pub replicas: Replicas,
}

impl FleetSettings {
    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 1] {
        [("replicas", self.replicas.to_string())]
    }
}

/// How many nodes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// So many: 1 to [`MOST_REPLICAS`].
    Count(u32),
    /// As many as this name has addresses.
    Name(String),
}

impl Default for Replicas {
    fn default() -> Self {
        Replicas::Count(1)
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Replicas::Count(count) => count.fmt(f),
            Replicas::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Replicas {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        const CURE: &str = "write how many nodes there are, this one counted, 1 to 1000: 30; or a name that has the address of each";
        if text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit()) {
            return match text.parse() {
                Ok(count @ 1..=MOST_REPLICAS) => Ok(Replicas::Count(count)),
                _ => Err(Fault::new(format!("`{text}` is not a number of nodes"), CURE)),
            };
        }
        host_name(text).map(Replicas::Name).map_err(|fault| Fault::new(fault.message, CURE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_a_number_or_a_name() {
        assert_eq!("30".parse(), Ok(Replicas::Count(30)));
        assert_eq!("portway.default.svc".parse(), Ok(Replicas::Name("portway.default.svc".to_owned())));
        for wrong in ["0", "1001", "-1", "1.5", "3 nodes", "99999999999", "", "portway:80", "a b"] {
            let fault = wrong.parse::<Replicas>().unwrap_err();
            assert!(fault.help.starts_with("write how many nodes there are"), "{wrong}: {fault:?}");
        }
    }

    #[test]
    fn replicas_are_shown_as_they_are_written() {
        assert_eq!(FleetSettings::default().entries(), [("replicas", "1".to_owned())]);
        for text in ["1", "1000", "portway.default.svc"] {
            let settings = FleetSettings { replicas: text.parse().unwrap() };
            assert_eq!(settings.entries(), [("replicas", text.to_owned())]);
        }
    }
}
