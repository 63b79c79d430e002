//! How edits of the file are taken.

use std::time::Duration;

use super::units;

/// The `[edits]` part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditsSettings {
    /// For how long an edit is on probation.
    pub probation: ProbationTime,
}

/// For how long an edit is on probation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbationTime {
    /// The file does not say: 30 seconds where its text comes from a store, else not at all.
    #[default]
    NotSet,
    /// Not at all.
    Off,
    /// At least a second.
    Lasts(Duration),
}

impl ProbationTime {
    /// The time itself. `None`: not at all. `from_store`: whether the texts of the file come from a store.
    pub fn of(self, from_store: bool) -> Option<Duration> {
        match self {
            // Nobody looks on when a node takes a text that somebody has published.
            ProbationTime::NotSet => from_store.then_some(Duration::from_secs(30)),
            ProbationTime::Off => None,
            ProbationTime::Lasts(time) => Some(time),
        }
    }
}

impl EditsSettings {
    /// Each key with its value, both as written in the file.
    pub fn entries(&self) -> [(&'static str, String); 1] {
        let probation = match self.probation {
            ProbationTime::NotSet => "not set".to_owned(),
            ProbationTime::Off => units::show_or_off(None),
            ProbationTime::Lasts(time) => units::show_or_off(Some(time)),
        };
        [("probation", probation)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_store_is_on_probation_unless_the_file_says_otherwise() {
        let minute = Duration::from_secs(60);
        for (written, of_a_person, of_a_store) in [
            (ProbationTime::NotSet, None, Some(Duration::from_secs(30))),
            (ProbationTime::Off, None, None),
            (ProbationTime::Lasts(minute), Some(minute), Some(minute)),
        ] {
            assert_eq!((written.of(false), written.of(true)), (of_a_person, of_a_store));
        }
    }

    #[test]
    fn a_probation_is_shown_as_it_is_written() {
        let shown =
            |probation| EditsSettings { probation }.entries().map(|(key, value)| format!("{key} {value}"));
        assert_eq!(shown(ProbationTime::NotSet), ["probation not set"]);
        assert_eq!(shown(ProbationTime::Off), ["probation off"]);
        assert_eq!(shown(ProbationTime::Lasts(Duration::from_secs(90))), ["probation 1m 30s"]);
    }
}
