//! Durations as a person writes them, with bounds, and with the cure for what does not fit.

use std::time::Duration;

/// The longest duration that a key takes.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a text is not a duration, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DurationError {
    message: String,
    /// What to write instead.
    pub help: String,
}

impl DurationError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        DurationError { message: message.into(), help: help.into() }
    }
}

/// Reads `"5s"`, `"1h 30m"`, `"250ms"`, within `least` and [`LONGEST`].
///
/// ```
/// use std::time::Duration;
/// use portway::model::units::duration;
/// assert_eq!(duration("1m 30s", Duration::ZERO), Ok(Duration::from_secs(90)));
/// assert_eq!(duration("30", Duration::ZERO).unwrap_err().help, "write \"30s\"");
/// ```
pub fn duration(text: &str, least: Duration) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationError::new(
            format!("the duration `{trimmed}` has no unit"),
            format!("write \"{trimmed}s\""),
        ));
    }
    let value = humantime::parse_duration(trimmed).map_err(|_| {
        DurationError::new(
            format!("`{text}` is not a duration"),
            "write a number with its unit: \"250ms\", \"5s\", \"2m\", \"1h 30m\"",
        )
    })?;
    if value < least {
        let least = humantime::format_duration(least);
        return Err(DurationError::new(
            format!("`{text}` is too short"),
            format!("the least is \"{least}\""),
        ));
    }
    if value > LONGEST {
        return Err(DurationError::new(format!("`{text}` is too long"), "the longest is \"365days\""));
    }
    Ok(value)
}

/// As [`duration`], and `"off"` for none.
pub fn duration_or_off(text: &str, least: Duration) -> Result<Option<Duration>, DurationError> {
    match text.trim() {
        "off" => Ok(None),
        "0" | "0s" | "none" | "never" => {
            Err(DurationError::new(format!("`{text}` is not a duration here"), "write \"off\""))
        }
        text => duration(text, least).map(Some),
    }
}

/// The shortest text that [`duration`] reads back to the same value.
pub fn show(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}
