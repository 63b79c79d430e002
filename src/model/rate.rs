//! Rates as a person writes them: `"20/s"`, `"10 MiB/s"`.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use super::fault::Fault;

/// How many events are allowed in a second, a minute or an hour, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Per,
    burst: NonZeroU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    fn letter(self) -> char {
        match self {
            Per::Second => 's',
            Per::Minute => 'm',
            Per::Hour => 'h',
        }
    }
}

impl Rate {
    /// The time per event: how long a client must wait for the next one, once it has used up its burst.
    pub fn interval(self) -> Duration {
        let seconds = match self.per {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        };
        Duration::from_secs(seconds) / self.count.get()
    }

    /// Most events at once: at least 1.
    pub fn burst(self) -> u32 {
        self.burst.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.letter())?;
        if self.burst == self.count { Ok(()) } else { write!(f, " burst {}", self.burst) }
    }
}

impl FromStr for Rate {
    type Err = Fault;

    /// Reads `"20/s"`, `"100/m"`, `"20/s burst 50"`. Without a burst, the whole count may come at once.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            let cure =
                "write how many in a second, a minute or an hour: \"20/s\", \"100/m\", \"20/s burst 50\"";
            Fault::new(format!("`{text}` is not a rate"), cure)
        };
        let number = |digits: &str| -> Result<NonZeroU32, Fault> {
            let legal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            match digits.parse::<u32>().map(NonZeroU32::new) {
                Ok(Some(number)) if number.get() <= 1_000_000 => Ok(number),
                Ok(None) => Err(Fault::new(
                    format!("with `{text}` no client could connect"),
                    "write a number from 1; to keep all out, remove the route",
                )),
                _ if legal => Err(Fault::new(format!("`{digits}` is too many"), "the most is 1000000")),
                _ => Err(wrong()),
            }
        };
        let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let (rate, burst) = match words[..] {
            [rate] => (rate, None),
            [rate, "burst", burst] => (rate, Some(number(burst)?)),
            _ => return Err(wrong()),
        };
        let (count, per) = rate.split_once('/').ok_or_else(wrong)?;
        let per = match per {
            "s" | "sec" | "second" => Per::Second,
            "m" | "min" | "minute" => Per::Minute,
            "h" | "hour" => Per::Hour,
            _ => return Err(wrong()),
        };
        let count = number(count)?;
        Ok(Rate { count, per, burst: burst.unwrap_or(count) })
    }
}

/// Bytes per second: from [`ByteRate::LEAST`] to 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(NonZeroU64);

/// Each unit, and its size in bits. Of several words for one unit, the first is shown.
const UNITS: &[(&str, u64)] = &[
    ("GiB", 8 << 30),
    ("GB", 8_000_000_000),
    ("MiB", 8 << 20),
    ("MB", 8_000_000),
    ("KiB", 8 << 10),
    ("kB", 8_000),
    ("KB", 8_000),
    ("B", 8),
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1_000),
];

impl ByteRate {
    /// The lowest rate, in bytes per second: below it one segment would take longer than a person waits.
    pub const LEAST: u64 = 100;
    /// The highest rate, in bytes per second: 1 TiB.
    const MOST: u64 = 1 << 40;

    /// The rate in bytes per second.
    pub fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let whole = UNITS
            .iter()
            .take_while(|(unit, _)| *unit != "Gbit")
            .find(|(_, bits)| bytes.is_multiple_of(bits / 8));
        let (unit, bits) = whole.copied().unwrap_or(("B", 8));
        write!(f, "{} {unit}/s", bytes / (bits / 8))
    }
}

impl FromStr for ByteRate {
    type Err = Fault;

    /// Reads `"10 MiB/s"`, `"500 kB/s"`, `"100 Mbit/s"`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(
                format!("`{text}` is not a bandwidth"),
                "write a number and its unit: \"10 MiB/s\", \"500 kB/s\", \"100 Mbit/s\"",
            )
        };
        let amount = text.trim().strip_suffix("/s").ok_or_else(wrong)?.trim_end();
        let unit = amount.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = amount.split_at(unit);
        let bits = UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?.1;
        let number: u64 = match number.trim_end() {
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        };
        let bytes = number.saturating_mul(bits) / 8;
        match NonZeroU64::new(bytes) {
            Some(rate) if (Self::LEAST..=Self::MOST).contains(&bytes) => Ok(ByteRate(rate)),
            Some(_) if bytes > Self::MOST => Err(Fault::new(
                format!("`{text}` is too much"),
                "the most is \"1024 GiB/s\"; for no limit write \"off\"",
            )),
            _ => Err(Fault::new(format!("`{text}` is too little"), "the least is \"100 B/s\"")),
        }
    }
}

/// The bandwidth limit of one connection in each direction. `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// From the client to the upstream.
    pub up: Option<ByteRate>,
    /// From the upstream to the client.
    pub down: Option<ByteRate>,
}

impl Bandwidth {
    /// Whether neither direction is limited.
    pub fn is_free(self) -> bool {
        self == Bandwidth::default()
    }
}

/// For a person: one rate if both directions have the same.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.up, self.down) {
            (None, None) => f.write_str("off"),
            (Some(up), Some(down)) if up == down => write!(f, "{up}"),
            (Some(up), Some(down)) => write!(f, "{up} up and {down} down"),
            (Some(up), None) => write!(f, "{up} up"),
            (None, Some(down)) => write!(f, "{down} down"),
        }
    }
}
