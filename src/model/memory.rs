//! How much memory the process may use.

use std::fmt;
use std::str::FromStr;

use super::fault::Fault;
use super::rate::{bytes, show_bytes};

/// Where the bound of the memory comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// From the control group, if it has one.
    #[default]
    Cgroup,
    /// There is none.
    Off,
    /// So many bytes of the process itself, at least [`MemoryLimit::LEAST`].
    Bytes(u64),
}

impl MemoryLimit {
    /// What the program needs with few connections, in bytes: 16 MiB.
    pub const LEAST: u64 = 16 << 20;
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryLimit::Cgroup => f.write_str("cgroup"),
            MemoryLimit::Off => f.write_str("off"),
            MemoryLimit::Bytes(bytes) => f.write_str(&show_bytes(*bytes)),
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = Fault;

    /// Reads `"cgroup"`, `"off"`, `"512 MiB"`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        match text {
            "cgroup" => return Ok(MemoryLimit::Cgroup),
            "off" => return Ok(MemoryLimit::Off),
            _ => {}
        }
        match bytes(text).filter(|_| !text.ends_with("bit")) {
            Some(bytes) if bytes >= Self::LEAST => Ok(MemoryLimit::Bytes(bytes)),
            Some(_) => Err(Fault::new(format!("`{text}` is too little"), "the least is \"16 MiB\"")),
            None => Err(Fault::new(
                format!("`{text}` is not an amount of memory"),
                "write a number and its unit (\"512 MiB\", \"2 GiB\"), \"cgroup\" or \"off\"",
            )),
        }
    }
}

/// The memory of connections that are read before they have an upstream, in bytes: at least 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrereadMemory(u64);

impl PrereadMemory {
    const LEAST: u64 = 1 << 20;

    /// The amount in bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Default for PrereadMemory {
    fn default() -> Self {
        PrereadMemory(64 << 20)
    }
}

impl fmt::Display for PrereadMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_bytes(self.0))
    }
}

impl FromStr for PrereadMemory {
    type Err = Fault;

    /// Reads `"64 MiB"`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        match bytes(text).filter(|_| !text.ends_with("bit")) {
            Some(bytes) if bytes >= Self::LEAST => Ok(PrereadMemory(bytes)),
            Some(_) => Err(Fault::new(format!("`{text}` is too little"), "the least is \"1 MiB\"")),
            None => Err(Fault::new(
                format!("`{text}` is not an amount of memory"),
                "write a number and its unit: \"64 MiB\", \"1 GiB\"",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_what_is_read_has_a_unit_and_a_least() {
        for text in ["64 MiB", "1 MiB", "2 GiB"] {
            assert_eq!(text.parse::<PrereadMemory>().unwrap().to_string(), text);
        }
        for wrong in ["", "64", "1023 KiB", "off", "8 Mbit"] {
            assert!(wrong.parse::<PrereadMemory>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_has_a_unit_and_is_shown_as_it_is_written() {
        for text in ["cgroup", "off", "512 MiB", "2 GiB", "16 MiB"] {
            assert_eq!(text.parse::<MemoryLimit>().unwrap().to_string(), text);
        }
        assert_eq!("1GB".parse(), Ok(MemoryLimit::Bytes(1_000_000_000)));
        for wrong in ["", "512", "512 M", "-1 GiB", "1 Gbit", "15 MiB", "1.5 GiB", "max"] {
            assert!(wrong.parse::<MemoryLimit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_amount_is_a_number_of_bytes() {
        let bytes = |text: &str| text.parse::<PrereadMemory>().unwrap().bytes();
        assert_eq!(
            (bytes("1 MiB"), bytes("3 MB"), PrereadMemory::default().bytes()),
            (1 << 20, 3_000_000, 64 << 20)
        );
    }
}
