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
