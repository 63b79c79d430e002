//! Values of other languages as Portway writes them.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{ByteRate, ListenSpec, UpstreamSpec, units};

/// A text as TOML.
pub(super) fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// One text, or a list.
pub(super) fn quote_all(texts: &[String]) -> String {
    match texts {
        [one] => quote(one),
        _ => format!("[{}]", texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")),
    }
}

/// A duration as TOML; none is "off". `None`: it is longer than Portway takes.
pub(super) fn span(time: Duration) -> Option<String> {
    match time {
        Duration::ZERO => Some(quote("off")),
        time if time <= units::LONGEST => Some(quote(&units::show(time))),
        _ => None,
    }
}

/// Milliseconds of the units that nginx and HAProxy share.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `10m`, `1h30m`, `500ms`, or a number of seconds.
pub(super) fn nginx_time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = rest.get(..letters)?;
        rest = rest.get(letters..)?;
        let unit = match unit {
            "" => 1000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            unit => UNITS.iter().find(|(known, _)| *known == unit)?.1,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// `30s`, `500us`, or a number of milliseconds.
pub(super) fn haproxy_time(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    match text.get(digits..)? {
        "" => Some(Duration::from_millis(number)),
        "us" => Some(Duration::from_micros(number)),
        unit => {
            let unit = UNITS.iter().find(|(known, _)| *known == unit)?.1;
            Some(Duration::from_millis(number.checked_mul(unit)?))
        }
    }
}

/// `100k`, `1m`, or a number of bytes, in a second; none is "off".
pub(super) fn byte_rate(text: &str) -> Option<String> {
    let (digits, unit) =
        text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    if bytes == 0 {
        return Some(quote("off"));
    }
    format!("{bytes} B/s").parse::<ByteRate>().ok().map(|rate| quote(&rate.to_string()))
}

/// A number from 1.
pub(super) fn count(text: &str) -> Option<String> {
    text.parse::<u32>().ok().filter(|number| *number > 0).map(|number| number.to_string())
}

/// An address to listen on, checked; the reason why it is none.
pub(super) fn listen(text: &str) -> Result<String, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    match text.parse::<ListenSpec>() {
        Ok(_) => Ok(text),
        Err(fault) => Err(format!("{}: {}", fault.message, one_line(&fault.help))),
    }
}

/// An address to dial, checked; the reason why it is none.
pub(super) fn upstream(text: &str) -> Result<String, String> {
    match text.parse::<UpstreamSpec>() {
        Ok(_) => Ok(text.to_owned()),
        Err(fault) => Err(format!("{}: {}", fault.message, one_line(&fault.help))),
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// `host:port`, with the brackets that an IPv6 address needs.
pub(super) fn joined(host: &str, port: &str) -> String {
    let bare = host.trim_matches(['[', ']']);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Ok(IpAddr::V4(ip)) => format!("{ip}:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a place (in bytes), from 1.
    pub fn at(&self, place: usize) -> usize {
        self.0.partition_point(|end| *end < place) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_read_as_their_programs_read_them() {
        let shown = |time: Option<Duration>| time.and_then(span).unwrap_or_default();
        for (text, expected) in
            [("10m", "\"10m\""), ("1h30m", "\"1h 30m\""), ("90", "\"1m 30s\""), ("1d", "\"1day\"")]
        {
            assert_eq!(shown(nginx_time(text)), expected);
        }
        let days = |text: &str| nginx_time(text).map(|time| time.as_secs() / 86_400);
        assert_eq!([days("2w"), days("1M"), days("1y")], [Some(14), Some(30), Some(365)]);
        for (text, expected) in [("5000", "\"5s\""), ("1m", "\"1m\""), ("0", "\"off\""), ("50us", "\"50us\"")]
        {
            assert_eq!(shown(haproxy_time(text)), expected);
        }
        for text in ["", "m", "5x", "5 s", "99999999999999999999"] {
            assert_eq!((nginx_time(text), haproxy_time(text)), (None, None), "{text}");
        }
        for (text, expected) in [
            ("100k", Some("\"100 KiB/s\"")),
            ("2M", Some("\"2 MiB/s\"")),
            ("3g", Some("\"3 GiB/s\"")),
            ("0", Some("\"off\"")),
            ("0k", Some("\"off\"")),
            ("100", Some("\"100 B/s\"")),
            ("99", None),
            ("5x", None),
            ("k", None),
            ("99999999999999999999", None),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(byte_rate(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn each_unit_of_time_has_its_length() {
        let nginx = |text: &str| nginx_time(text).map(|time| time.as_millis());
        for (text, millis) in [
            ("7ms", 7),
            ("7s", 7_000),
            ("7m", 420_000),
            ("7h", 25_200_000),
            ("7d", 604_800_000),
            ("1m5", 65_000),
        ] {
            assert_eq!(nginx(text), Some(millis), "{text}");
        }
        let haproxy = |text: &str| haproxy_time(text).map(|time| time.as_micros());
        for (text, micros) in
            [("7us", 7), ("7", 7_000), ("7ms", 7_000), ("7s", 7_000_000), ("1h", 3_600_000_000)]
        {
            assert_eq!(haproxy(text), Some(micros), "{text}");
        }
        assert_eq!(haproxy_time("18446744073709551615d"), None);
        assert_eq!(nginx_time("18446744073709551615"), None);
        assert_eq!(nginx_time("18446744073709551615ms1ms"), None);
    }

    #[test]
    fn a_span_has_an_upper_bound_and_a_count_a_lower_one() {
        let day = Duration::from_secs(86_400);
        assert_eq!(span(Duration::ZERO).as_deref(), Some("\"off\""));
        assert_eq!(span(day * 365).as_deref(), Some("\"11months 30days 3h 50m 24s\""));
        assert_eq!(span(day * 365 + Duration::from_nanos(1)), None);
        assert_eq!(
            [count("0"), count("1"), count("x"), count("4294967296")],
            [None, Some("1".into()), None, None]
        );
    }

    #[test]
    fn addresses_have_brackets_where_they_need_them() {
        assert_eq!(joined("::1", "80"), "[::1]:80");
        assert_eq!(joined("[2001:DB8::1]", "80"), "[2001:db8::1]:80");
        assert_eq!(joined("[10.0.0.1]", "80"), "10.0.0.1:80");
        assert_eq!(joined("db.internal", "80"), "db.internal:80");
        assert_eq!(listen("localhost:80").as_deref(), Ok("127.0.0.1:80"));
        assert!(listen("example.com:80").is_err());
        assert!(upstream("example.com").unwrap_err().contains("no port"));
    }

    #[test]
    fn a_place_has_its_line() {
        let lines = Lines::of("ab\n\ncd");
        assert_eq!([0, 2, 3, 4, 6].map(|place| lines.at(place)), [1, 1, 2, 3, 3]);
        assert_eq!(Lines::of("").at(0), 1);
    }
}
