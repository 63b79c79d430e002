//! Durations as a person writes them, within bounds; errors say what to write instead.

use std::time::Duration;

use super::fault::Fault;

/// The longest duration that a key takes.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `"5s"`, `"1h 30m"`, `"250ms"`, within `least` and [`LONGEST`].
///
/// ```
/// use std::time::Duration;
/// use portway::model::units::duration;
/// assert_eq!(duration("1m 30s", Duration::ZERO), Ok(Duration::from_secs(90)));
/// assert_eq!(duration("30", Duration::ZERO).unwrap_err().help, "write \"30s\"");
/// ```
pub fn duration(text: &str, least: Duration) -> Result<Duration, Fault> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new(
            format!("the duration `{trimmed}` has no unit"),
            format!("write \"{trimmed}s\""),
        ));
    }
    let value = humantime::parse_duration(trimmed).map_err(|_| {
        Fault::new(
            format!("`{text}` is not a duration"),
            "write a number with its unit: \"250ms\", \"5s\", \"2m\", \"1h 30m\"",
        )
    })?;
    if value < least {
        let least = humantime::format_duration(least);
        return Err(Fault::new(format!("`{text}` is too short"), format!("the least is \"{least}\"")));
    }
    if value > LONGEST {
        return Err(Fault::new(format!("`{text}` is too long"), "the longest is \"365days\""));
    }
    Ok(value)
}

/// As [`duration`], and `"off"` for `None`.
pub fn duration_or_off(text: &str, least: Duration) -> Result<Option<Duration>, Fault> {
    match text.trim() {
        "off" => Ok(None),
        "0" | "0s" | "none" | "never" => {
            Err(Fault::new(format!("`{text}` is not a duration here"), "write \"off\""))
        }
        text => duration(text, least).map(Some),
    }
}

/// The shortest text that [`duration`] reads back to the same value.
pub fn show(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

/// As [`show`], rounded down to milliseconds.
pub fn show_millis(value: Duration) -> String {
    show(Duration::from_millis(u64::try_from(value.as_millis()).unwrap_or(u64::MAX)))
}

/// As [`show`], and `"off"` for `None`.
pub fn show_or_off(value: Option<Duration>) -> String {
    or_off(value.map(show))
}

/// A value as it is displayed, and `"off"` for `None`.
pub fn or_off(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "off".to_owned(), |value| value.to_string())
}

/// A value as it is displayed, and `"none"` for `None`.
pub fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_and_bounds() {
        let second = Duration::from_secs(1);
        for (text, millis) in
            [("1s", 1000), (" 1500ms ", 1500), ("1h 30m", 5_400_000), ("365days", 31_536_000_000)]
        {
            assert_eq!(duration(text, second), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, said, cure) in [
            ("30", "the duration `30` has no unit", "write \"30s\""),
            (" 0 ", "the duration `0` has no unit", "write \"0s\""),
            ("999ms", "`999ms` is too short", "the least is \"1s\""),
            ("365days 1ms", "`365days 1ms` is too long", "the longest is \"365days\""),
            (
                "",
                "`` is not a duration",
                "write a number with its unit: \"250ms\", \"5s\", \"2m\", \"1h 30m\"",
            ),
        ] {
            assert_eq!(duration(text, second), Err(Fault::new(said, cure)), "{text}");
        }
        assert!(duration("-1s", second).is_err() && duration("1.5x", second).is_err());
        assert_eq!(duration("0s", Duration::ZERO), Ok(Duration::ZERO));
    }

    #[test]
    fn off_is_written_off() {
        assert_eq!(duration_or_off(" off ", Duration::ZERO), Ok(None));
        assert_eq!(duration_or_off("5s", Duration::ZERO), Ok(Some(Duration::from_secs(5))));
        for never in ["0", "0s", " none", "never"] {
            let cure = "write \"off\"";
            assert_eq!(duration_or_off(never, Duration::ZERO).unwrap_err().help, cure, "{never}");
        }
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        let long = Duration::from_micros(90_000_700);
        assert_eq!((show(long), show_millis(long)), ("1m 30s 700us".to_owned(), "1m 30s".to_owned()));
        assert_eq!(
            (show_or_off(Some(long)), show_or_off(None)),
            ("1m 30s 700us".to_owned(), "off".to_owned())
        );
        assert_eq!((or_off(Some(7)), or_off(None::<u8>)), ("7".to_owned(), "off".to_owned()));
        assert_eq!((or_none(Some(7)), or_none(None::<u8>)), ("7".to_owned(), "none".to_owned()));
    }
}
