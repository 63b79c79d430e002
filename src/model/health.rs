//! How upstreams are checked, and what happens to clients when none is available.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};

use super::fault::Fault;
use super::units;
use super::words::words;

/// The largest `rise` and `fall`.
pub const MOST_IN_A_ROW: u32 = 100;
/// Most bytes of `send` or `expect`.
pub const LONGEST_SEND: usize = 4096;
/// The largest compiled pattern, in bytes: a file may have a pattern in each line.
const LARGEST_REGEX: usize = 64 * 1024;
/// Most steps of a check.
pub const MOST_STEPS: usize = 32;

/// An active check. Equal checks of one upstream are one check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// From the start of one check to the start of the next. At least `timeout`.
    pub interval: Duration,
    /// Bounds the whole check, from the connect to the answer.
    pub timeout: Duration,
    /// Checks in a row that must pass to bring an upstream up that is down: 1 to [`MOST_IN_A_ROW`].
    pub rise: u32,
    /// Checks in a row that must fail to put an upstream down that is up: 1 to [`MOST_IN_A_ROW`].
    pub fall: u32,
    /// The port to check. `None`: the upstream's own.
    pub port: Option<u16>,
    /// What is said once connected, in this order: at most [`MOST_STEPS`]. Empty: a connect is enough.
    pub steps: Vec<Step>,
}

/// One step of a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Sends these bytes: with UDP, as one datagram.
    Send(Payload),
    /// Waits until what has come since the last [`Step::Send`] contains this.
    Expect(Expect),
}

impl HealthCheck {
    /// Whether the upstream must say something.
    pub fn expects(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Expect(_)))
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            port: None,
            steps: Vec::new(),
        }
    }
}

/// For a person. Keys that are not set are left out.
impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}, timeout {}", units::show(self.interval), units::show(self.timeout))?;
        write!(f, ", rise {}, fall {}", self.rise, self.fall)?;
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        self.steps.iter().try_for_each(|step| write!(f, ", {step}"))
    }
}

/// The key and its text, as the file has them.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Send(payload) => write!(f, "send {:?}", payload.written),
            Step::Expect(expect) => write!(f, "expect {:?}", expect.written()),
        }
    }
}

/// Bytes, written as text or as `"hex:0d0a"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    written: String,
    bytes: Vec<u8>,
}

impl Payload {
    /// The bytes to send or to expect: at least one.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for Payload {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bytes = match text.strip_prefix("hex:") {
            Some(hex) => unhex(hex)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err(Fault::new(
                "it is empty",
                "write text (\"PING\\r\\n\"), bytes (\"hex:0d0a\"), or remove the key",
            ));
        }
        if bytes.len() > LONGEST_SEND {
            return Err(Fault::new(
                format!("it has {} bytes", bytes.len()),
                format!("the most is {LONGEST_SEND}"),
            ));
        }
        Ok(Payload { written: text.to_owned(), bytes })
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, Fault> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(wrong) = digits.iter().find(|c| !c.is_ascii_hexdigit()) {
        return Err(Fault::new(
            format!("`{wrong}` is not a hexadecimal digit"),
            "write two digits for each byte: \"hex:50 49 4e 47\"",
        ));
    }
    if digits.len() % 2 == 1 {
        return Err(Fault::new(
            format!("{} hexadecimal digits are no whole bytes", digits.len()),
            "write two digits for each byte: \"hex:0d0a\"",
        ));
    }
    let nibble = |c: &char| u8::try_from(c.to_digit(16).unwrap_or_default()).unwrap_or_default();
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | nibble(c))).collect())
}

/// What an answer must contain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// These bytes, anywhere in the answer.
    Bytes(Payload),
    /// A match of this pattern, written `"regex:^HTTP/1\\.[01] 2"`. Bytes that are not UTF-8 count as U+FFFD.
    Pattern(Pattern),
}

impl Expect {
    /// Whether the answer so far contains it.
    pub fn is_in(&self, answer: &[u8]) -> bool {
        match self {
            Expect::Bytes(payload) => {
                answer.windows(payload.bytes.len()).any(|window| window == payload.bytes)
            }
            Expect::Pattern(pattern) => pattern.regex.is_match(&String::from_utf8_lossy(answer)),
        }
    }

    fn written(&self) -> String {
        match self {
            Expect::Bytes(payload) => payload.written.clone(),
            Expect::Pattern(pattern) => format!("regex:{}", pattern.source),
        }
    }
}

impl FromStr for Expect {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let Some(source) = text.strip_prefix("regex:") else { return text.parse().map(Expect::Bytes) };
        let regex = RegexBuilder::new(source).size_limit(LARGEST_REGEX).build().map_err(|error| {
            Fault::new(
                format!("`{source}` is not a regular expression: {error}"),
                "write one like \"regex:^HTTP/1\\\\.[01] 2\", or plain text without `regex:`",
            )
        })?;
        if regex.is_match("") {
            return Err(Fault::new(
                format!("`{source}` fits every answer, even an empty one"),
                "write what a healthy upstream answers, or remove the key: then a connect is enough",
            ));
        }
        Ok(Expect::Pattern(Pattern { source: source.to_owned(), regex }))
    }
}

/// A regular expression. Two are equal if they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

/// What happens to a client when no upstream is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// It is reset.
    #[default]
    Reset,
    /// The listening socket is closed until an upstream is available.
    Refuse,
    /// It waits for an upstream, at most this long.
    Hold(Duration),
}

/// As written in the file.
impl fmt::Display for WhenDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhenDown::Reset => f.write_str("reset"),
            WhenDown::Refuse => f.write_str("refuse"),
            WhenDown::Hold(time) => write!(f, "hold {}", units::show(*time)),
        }
    }
}

words! {
    /// What happens to the connections to an address that its name no longer resolves to.
    #[derive(Default)]
    pub enum OnVanish {
        /// They go on as they are.
        #[default]
        Keep = "keep",
        /// They have `drain_timeout` to end by themselves.
        Drain = "drain",
        /// They are reset at once.
        Cut = "cut",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(expect: &str, answer: &[u8]) -> bool {
        expect.parse::<Expect>().unwrap().is_in(answer)
    }

    #[test]
    fn what_is_sent_and_expected() {
        assert_eq!("hex:50 49 4e47 0D0a".parse::<Payload>().unwrap().bytes(), b"PING\r\n");
        assert_eq!("PING".parse::<Payload>().unwrap().bytes(), b"PING");
        assert!(fits("PONG", b"+PONG\r\n") && !fits("PONG", b"+PON") && !fits("PONG", b""));
        assert!(fits("hex:00ff", &[1, 0, 255]) && !fits("hex:00ff", &[0, 1, 255]));
        assert!(fits("regex:^HTTP/1\\.[01] [23]", b"HTTP/1.1 204 No Content\r\n\xff"));
        assert!(!fits("regex:^HTTP/1\\.[01] [23]", b"HTTP/1.1 503 Busy"));
        for wrong in ["", "hex:", "hex:0", "hex:xy", "regex:(", "regex:.*", "regex:"] {
            assert!(wrong.parse::<Expect>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_check_is_shown_as_it_is_written() {
        let check = HealthCheck::default();
        assert_eq!(check.to_string(), "every 5s, timeout 2s, rise 2, fall 3");
        let steps = vec![
            Step::Send("PING\r\n".parse().unwrap()),
            Step::Expect("hex:00 ff".parse().unwrap()),
            Step::Expect("regex:^P".parse().unwrap()),
        ];
        let long = HealthCheck { port: Some(81), steps: steps.clone(), rise: 1, ..check.clone() };
        let shown = "every 5s, timeout 2s, rise 1, fall 3, port 81, send \"PING\\r\\n\", expect \"hex:00 ff\", expect \"regex:^P\"";
        assert_eq!(long.to_string(), shown);
        let with = |steps: &[Step]| HealthCheck { steps: steps.to_vec(), ..check.clone() };
        assert!(!check.expects() && !with(&steps[..1]).expects() && with(&steps).expects());
        let words = [WhenDown::Reset, WhenDown::Refuse, WhenDown::Hold(Duration::from_secs(90))];
        assert_eq!(words.map(|word| word.to_string()), ["reset", "refuse", "hold 1m 30s"]);
    }

    /// Equal checks of one upstream are one check.
    #[test]
    fn patterns_are_equal_that_are_written_alike() {
        let read = |text: &str| text.parse::<Expect>().unwrap();
        assert_eq!((read("regex:a"), read("a")), (read("regex:a"), read("a")));
        assert!(read("regex:a") != read("regex:b") && read("regex:a") != read("a"));
        let hash = |text: &str| {
            let mut hasher = std::hash::DefaultHasher::new();
            text.parse::<Expect>().unwrap().hash(&mut hasher);
            std::hash::Hasher::finish(&hasher)
        };
        assert!(hash("regex:a") != hash("regex:b") && hash("regex:a") == hash("regex:a"));
    }

    /// A pattern of some kilobytes is read, one that would take the memory of many is not.
    #[test]
    fn a_pattern_has_a_bound() {
        for (pattern, fits) in [("regex:x{500}", true), ("regex:x{50000}", false)] {
            assert_eq!(pattern.parse::<Expect>().is_ok(), fits, "{pattern}");
        }
    }

    #[test]
    fn the_longest_text_is_in_it() {
        assert_eq!("x".repeat(4096).parse::<Payload>().unwrap().bytes().len(), 4096);
        assert!("x".repeat(4097).parse::<Payload>().is_err());
        assert!(format!("hex:{}", "00".repeat(4097)).parse::<Payload>().is_err());
    }
}
