//! Options of a route's TCP sockets.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::fault::Fault;
use super::rate::{bytes, show_bytes};

/// How much each queue of a TCP socket holds, in bytes: 4 KiB to 64 MiB. The kernel reserves as much again for its own use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers(NonZeroU32);

impl SocketBuffers {
    /// The least that the kernel does not raise by itself.
    const LEAST: u64 = 4 << 10;
    const MOST: u64 = 64 << 20;

    /// The size in bytes.
    pub fn bytes(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SocketBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_bytes(self.0.get().into()))
    }
}

impl FromStr for SocketBuffers {
    type Err = Fault;

    /// Reads `"64 KiB"`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let cure = "write a number and its unit: \"64 KiB\", \"1 MiB\", or \"off\"";
        let size = bytes(text)
            .filter(|_| !text.ends_with("bit"))
            .ok_or_else(|| Fault::new(format!("`{text}` is not a size"), cure))?;
        let is_legal = (Self::LEAST..=Self::MOST).contains(&size);
        match u32::try_from(size).ok().filter(|_| is_legal).and_then(NonZeroU32::new) {
            Some(size) => Ok(SocketBuffers(size)),
            None if size < Self::LEAST => {
                Err(Fault::new(format!("`{text}` is too little"), "the least is \"4 KiB\""))
            }
            None => Err(Fault::new(format!("`{text}` is too much"), "the most is \"64 MiB\"")),
        }
    }
}

/// TCP options that accepted sockets inherit from the listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Idle time before the first probe. `None`: no keepalive.
    pub keepalive: Option<Duration>,
    /// The size of each queue. `None`: the kernel adapts it (tcp(7), `tcp_rmem` and `tcp_wmem`).
    pub buffers: Option<SocketBuffers>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_a_unit_and_bounds() {
        for text in ["4 KiB", "64 KiB", "1 MiB", "64 MiB"] {
            assert_eq!(text.parse::<SocketBuffers>().unwrap().to_string(), text);
        }
        assert_eq!("100kB".parse::<SocketBuffers>().unwrap().bytes(), 100_000);
        for wrong in ["", "64", "off", "4095 B", "65 MiB", "67108865 B", "5 GiB", "1 Mbit"] {
            assert!(wrong.parse::<SocketBuffers>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_has_its_bound() {
        for (text, cure) in [
            ("4095 B", "the least is \"4 KiB\""),
            ("0 B", "the least is \"4 KiB\""),
            ("67108865 B", "the most is \"64 MiB\""),
            ("4294967296 B", "the most is \"64 MiB\""),
        ] {
            assert_eq!(text.parse::<SocketBuffers>().unwrap_err().help, cure, "{text}");
        }
        let bounds = ["4096 B", "67108864 B"].map(|text| text.parse::<SocketBuffers>().unwrap().bytes());
        assert_eq!(bounds, [4096, 67_108_864]);
    }
}
