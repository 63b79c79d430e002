//! Reads the names, the validity and the key of a certificate of any version (X.509, RFC 5280, section 4.1). Does not
//! check its signature: this reads certificates that TLS has verified, and our own.

use super::der::Reader;

/// The parts of a certificate that Portway uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The last common name of its subject. `None` if it has none, or it is not text.
    pub common_name: Option<String>,
    /// When it begins to be valid and when it expires, in seconds after 1970.
    pub valid: (i64, i64),
}

pub(super) const SEQUENCE: u8 = 0x30;
const BITS: u8 = 0x03;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
/// The tag `[0]`, which holds the version.
const VERSION: u8 = 0xa0;
/// UTF8String, PrintableString, TeletexString, IA5String.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The parts of a certificate, as they stand in it.
struct Parts<'b> {
    validity: &'b [u8],
    subject: &'b [u8],
    key: &'b [u8],
}

impl<'b> Parts<'b> {
    fn read(der: &'b [u8]) -> Option<Self> {
        let mut whole = Reader(Reader(der).value(SEQUENCE)?);
        let mut body = Reader(whole.value(SEQUENCE)?);
        // Version 1 does not name its version.
        if body.peek() == Some(VERSION) {
            body.any()?;
        }
        let (_serial, _algorithm, _issuer) = (body.any()?, body.any()?, body.any()?);
        let mut next = || body.value(SEQUENCE);
        Some(Parts { validity: next()?, subject: next()?, key: next()? })
    }
}

impl Certificate {
    /// Reads a certificate in DER. `None`: it is malformed.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let parts = Parts::read(der)?;
        let mut validity = Reader(parts.validity);
        let valid = (time(&mut validity)?, time(&mut validity)?);
        let common_name = common_name(parts.subject)?;
        Some(Certificate { common_name, valid })
    }
}

/// The subject of a certificate in DER, to be compared. `None`: it is malformed.
pub fn subject(der: &[u8]) -> Option<&[u8]> {
    Parts::read(der).map(|parts| parts.subject)
}

/// Whether a certificate in DER is for this key (SubjectPublicKeyInfo in DER). `None`: the certificate is malformed.
/// Parameters of the algorithm are written in more than one way (RFC 3279, section 2.3.1): the key itself is compared.
pub fn is_for_key(der: &[u8], key: &[u8]) -> Option<bool> {
    let its_own = key_of(Parts::read(der)?.key)?;
    Some(Reader(key).value(SEQUENCE).and_then(key_of) == Some(its_own))
}

/// Algorithm and key of a SubjectPublicKeyInfo.
fn key_of(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut info = Reader(info);
    let algorithm = Reader(info.value(SEQUENCE)?).value(OBJECT)?;
    Some((algorithm, info.value(BITS)?))
}

/// The last common name in a subject. Outer `None`: the subject is malformed.
pub(super) fn common_name(subject: &[u8]) -> Option<Option<String>> {
    let (mut subject, mut found) = (Reader(subject), None);
    while !subject.is_empty() {
        let mut parts = Reader(subject.value(SET)?);
        while !parts.is_empty() {
            let mut part = Reader(parts.value(SEQUENCE)?);
            let kind = part.value(OBJECT)?;
            let (tag, value) = part.any()?;
            if kind == COMMON_NAME && TEXTS.contains(&tag) {
                found = std::str::from_utf8(value).ok().map(str::to_owned);
            }
        }
    }
    Some(found)
}

/// Reads `YYMMDDhhmmssZ`, or the same with a four-digit year, as seconds after 1970.
pub(super) fn time(from: &mut Reader<'_>) -> Option<i64> {
    let (tag, text) = from.any()?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match (tag, digits.len()) {
        // RFC 5280, section 4.1.2.5.1: from 50 on the year is 19YY.
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERAL_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut next = |range: std::ops::RangeInclusive<i64>| parts.next()?.filter(|part| range.contains(part));
    let (month, day) = (next(1..=12)?, next(1..=31)?);
    let (hour, minute, second) = (next(0..=23)?, next(0..=59)?, next(0..=60)?);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + i64::from(digit - b'0')),
        _ => None,
    })
}

/// Days after 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29) + 1, days(2000, 3, 1));
        assert_eq!(days(2026, 11, 25), 20_782);
        // Every fourth year has a day more, every hundredth has not, every four hundredth has.
        assert_eq!(
            [(1900, 3), (2100, 2), (2100, 3)].map(|(year, month)| days(year, month, 1)),
            [-25_508, 47_513, 47_541]
        );
    }

    /// A value in DER: its tag, its length in one byte, and its bytes.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let bytes = parts.concat();
        [&[tag, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
    }

    /// An attribute of a subject: 2.5.4.`kind`.
    fn attribute(kind: u8, tag: u8, text: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[&der(OBJECT, &[&[0x55, 0x04, kind]]), &der(tag, &[text])])
    }

    #[test]
    fn t4_only_a_common_name_that_is_text_is_the_name() {
        let [name, unit, company] = [(3, "device 7"), (11, "unit"), (10, "Example")]
            .map(|(kind, text)| attribute(kind, 0x0c, text.as_bytes()));
        let of =
            |sets: &[&[&[u8]]]| common_name(&sets.iter().flat_map(|set| der(SET, set)).collect::<Vec<_>>());
        let found = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(of(&[&[&name], &[&company]]), found("device 7"), "first");
        assert_eq!(of(&[&[&company], &[&name], &[&unit]]), found("device 7"), "between others");
        assert_eq!(of(&[&[&company, &name, &unit]]), found("device 7"), "in one set with others");
        assert_eq!(of(&[&[&company], &[&unit]]), Some(None), "none");
        assert_eq!(of(&[]), Some(None), "an empty subject");
        let second = attribute(3, 0x13, b"device 8");
        assert_eq!(of(&[&[&name], &[&second], &[&company]]), found("device 8"), "the last of two");
        // BMPString: its bytes are no text of ours.
        let other = attribute(3, 0x1e, b"\0d\0e");
        assert_eq!(of(&[&[&other], &[&company]]), Some(None), "another kind of string");
        assert_eq!(of(&[&[&name[1..]]]), None, "no DER");
    }

    #[test]
    fn t17_times_are_read_to_the_second() {
        let at = |tag, text: &str| time(&mut Reader(&der(tag, &[text.as_bytes()])));
        // By date(1).
        for (tag, text, seconds) in [
            (UTC_TIME, "261128235958Z", 1_795_910_398),
            (UTC_TIME, "240229010203Z", 1_709_168_523),
            (UTC_TIME, "991231102030Z", 946_635_630),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "500101000000Z", -631_152_000),
            (GENERAL_TIME, "20500228130701Z", 2_529_666_421),
        ] {
            assert_eq!(at(tag, text), Some(seconds), "{text}");
        }
        for wrong in [
            "261328235958Z",
            "261100235958Z",
            "261132235958Z",
            "261128245958Z",
            "261128236058Z",
            "2611282359Z",
        ] {
            assert_eq!(at(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(at(UTC_TIME, "20500228130701Z"), None, "a year of four digits");
        assert_eq!(at(GENERAL_TIME, "261128235958Z"), None, "a year of two digits");
        assert_eq!(at(UTC_TIME, "261128235958+"), None, "no Z");
        assert_eq!(at(UTC_TIME, "26112823595xZ"), None, "no digit");
    }

    fn made(name: &str, years: (i32, i32)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(years.0, 1, 2);
        params.not_after = rcgen::date_time_ymd(years.1, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_key_and_the_names_are_found() {
        use rcgen::PublicKeyData;
        let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let made = params.self_signed(&key).unwrap();
        assert_eq!(is_for_key(made.der(), &key.subject_public_key_info()), Some(true));
        assert_eq!(is_for_key(made.der(), &other.subject_public_key_info()), Some(false));
        assert_eq!(is_for_key(made.der(), b"no key"), Some(false));
        assert_eq!(is_for_key(b"no certificate", b""), None);
        assert_eq!(
            common_name(subject(made.der()).unwrap()),
            Some(Some("rcgen self signed cert".to_owned()))
        );
    }

    #[test]
    fn what_rcgen_writes_is_read() {
        for years in [(1999, 2049), (2001, 2050), (1970, 3000)] {
            let read = Certificate::read(&made("Zoë, device 7", years)).unwrap();
            assert_eq!(read.common_name.as_deref(), Some("Zoë, device 7"));
            let at = |year: i32, month, day| days(year.into(), month, day) * 86_400;
            assert_eq!(read.valid, (at(years.0, 1, 2), at(years.1, 12, 31)));
        }
    }

    #[test]
    fn no_part_of_one_and_no_damage_is_a_panic() {
        let der = made("device", (2020, 2030));
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), None);
            let mut damaged = der.clone();
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                damaged[end] = byte;
                drop(Certificate::read(&damaged));
            }
        }
    }
}
