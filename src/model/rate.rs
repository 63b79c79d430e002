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
            // A sign would be read, too.
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            match digits.parse::<u32>().map(NonZeroU32::new) {
                Ok(Some(number)) if number.get() <= 1_000_000 => Ok(number),
                Ok(None) => Err(Fault::new(
                    format!("with `{text}` no client could connect"),
                    "write a number from 1; to keep all out, remove the route",
                )),
                _ => Err(Fault::new(format!("`{digits}` is too many"), "the most is 1000000")),
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

/// A number and its unit, in bytes. `None`: it is none.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let bits = UNITS.iter().find(|(known, _)| *known == unit)?.1;
    let digits = Some(number.trim_end()).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(digits.parse::<u64>().ok()?.saturating_mul(bits) / 8)
}

/// Bytes in the largest unit of which they are a whole number.
pub(super) fn show_bytes(bytes: u64) -> String {
    let units = UNITS.iter().take_while(|(unit, _)| *unit != "Gbit");
    let whole = units.copied().find(|(_, bits)| bytes.is_multiple_of(bits / 8));
    let (unit, bits) = whole.unwrap_or(("B", 8));
    format!("{} {unit}", bytes / (bits / 8))
}

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
        write!(f, "{}/s", show_bytes(self.bytes()))
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
        let amount = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
        let bytes = bytes(amount).ok_or_else(wrong)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_time_for_each_and_a_burst() {
        for (text, micros, burst, shown) in [
            ("20/s", 50_000, 20, "20/s"),
            ("100/m", 600_000, 100, "100/m"),
            ("7200/h", 500_000, 7200, "7200/h"),
            ("1/hour", 3_600_000_000, 1, "1/h"),
            ("4/sec burst 5", 250_000, 5, "4/s burst 5"),
            ("4/min,  burst  4", 15_000_000, 4, "4/m"),
            ("1000000/second", 1, 1_000_000, "1000000/s"),
            ("1/minute burst 1000000", 60_000_000, 1_000_000, "1/m burst 1000000"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.interval(), Duration::from_micros(micros), "{text}");
            assert_eq!((rate.burst(), rate.to_string().as_str()), (burst, shown), "{text}");
        }
        for (text, said) in [
            ("1000001/s", "is too many"),
            ("1/s burst 1000001", "is too many"),
            ("99999999999/s", "is too many"),
            ("0/s", "no client could connect"),
            ("1/s burst 0", "no client could connect"),
            ("+1/s", "is not a rate"),
            ("/s", "is not a rate"),
            ("-1/s", "is not a rate"),
            ("1", "is not a rate"),
            ("1/d", "is not a rate"),
            ("1/s burst", "is not a rate"),
            ("1/s peak 2", "is not a rate"),
            ("", "is not a rate"),
        ] {
            let fault = text.parse::<Rate>().unwrap_err();
            assert!(fault.message.contains(said), "{text}: {fault:?}");
        }
    }

    #[test]
    fn bytes_have_a_unit_and_are_shown_in_the_largest_that_fits() {
        for (text, count, shown) in [
            ("1 GiB", 1_073_741_824, "1 GiB"),
            ("3 GB", 3_000_000_000, "3 GB"),
            ("1024 MiB", 1_073_741_824, "1 GiB"),
            ("5 MiB", 5_242_880, "5 MiB"),
            ("5 MB", 5_000_000, "5 MB"),
            ("7KiB", 7168, "7 KiB"),
            ("7 kB", 7000, "7 kB"),
            ("7 KB", 7000, "7 kB"),
            ("1001 B", 1001, "1001 B"),
            ("1 Gbit", 125_000_000, "125 MB"),
            ("8 Mbit", 1_000_000, "1 MB"),
            (" 8 kbit ", 1000, "1 kB"),
            ("9 kbit", 1125, "1125 B"),
        ] {
            assert_eq!(bytes(text), Some(count), "{text}");
            assert_eq!(show_bytes(count), shown, "{text}");
        }
        for wrong in ["", "1", "MiB 1", "1 Mib", "1.5 MiB", "-1 MiB", "1_0 B"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert_eq!(bytes("18446744073709551615 GiB"), Some(u64::MAX / 8), "no overflow");
        assert_eq!(bytes("18446744073709551616 B"), None);
    }

    #[test]
    fn a_bandwidth_is_within_its_bounds() {
        for (text, bytes) in [
            ("100 B/s", 100),
            ("101 B/s", 101),
            ("1024 GiB/s", 1 << 40),
            (" 10 MiB/s ", 10_485_760),
            ("100 Mbit/s", 12_500_000),
        ] {
            assert_eq!(text.parse::<ByteRate>().unwrap().bytes(), bytes, "{text}");
        }
        for (text, said) in [
            ("99 B/s", "is too little"),
            ("0 B/s", "is too little"),
            ("1099511627777 B/s", "is too much"),
            ("100 B", "is not a bandwidth"),
            ("100/s", "is not a bandwidth"),
        ] {
            let fault = text.parse::<ByteRate>().unwrap_err();
            assert!(fault.message.contains(said), "{text}: {fault:?}");
        }
    }

    #[test]
    fn a_bandwidth_of_each_direction_is_shown() {
        let rate = |text: &str| text.parse::<ByteRate>().ok();
        for (up, down, shown) in [
            ("", "", "off"),
            ("1 MB/s", "1 MB/s", "1 MB/s"),
            ("1 MB/s", "2 MB/s", "1 MB/s up and 2 MB/s down"),
            ("1 MB/s", "", "1 MB/s up"),
            ("", "2 MB/s", "2 MB/s down"),
        ] {
            let bandwidth = Bandwidth { up: rate(up), down: rate(down) };
            assert_eq!((bandwidth.to_string().as_str(), bandwidth.is_free()), (shown, shown == "off"));
        }
    }
}
