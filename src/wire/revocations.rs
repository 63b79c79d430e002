//! Reads the issuer and the dates of a certificate revocation list (RFC 5280, section 5.1). Does not check its
//! signature: TLS does that, with each client.

use super::certificate::{SEQUENCE, common_name, time};
use super::der::Reader;

/// The parts of a revocation list that Portway uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations<'b> {
    /// The name of the authority whose certificates it revokes, in DER, to be compared.
    pub issuer: &'b [u8],
    /// The last common name of the authority. `None` if it has none, or it is not text.
    pub common_name: Option<String>,
    /// Version 1 has no extensions, and rustls does not read it.
    pub is_version_1: bool,
    /// When it was made, in seconds after 1970.
    pub this_update: i64,
    /// When the next list is due, in seconds after 1970. `None`: it does not say.
    pub next_update: Option<i64>,
}

const INTEGER: u8 = 0x02;

impl<'b> Revocations<'b> {
    /// Reads a list in DER. `None`: it is malformed.
    pub fn read(der: &'b [u8]) -> Option<Self> {
        let mut whole = Reader(Reader(der).value(SEQUENCE)?);
        let mut body = Reader(whole.value(SEQUENCE)?);
        // Version 1 does not name its version.
        let is_version_1 = body.peek() != Some(INTEGER);
        if !is_version_1 {
            body.any()?;
        }
        let _algorithm = body.any()?;
        let issuer = body.value(SEQUENCE)?;
        let common_name = common_name(issuer)?;
        let this_update = time(&mut body)?;
        let next_update = time(&mut body);
        Some(Revocations { issuer, common_name, is_version_1, this_update, next_update })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rcgen_writes_is_read_and_no_part_of_it_is_a_panic() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "devices");
        let authority =
            rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2026, 11, 25),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&authority).unwrap();
        let read = Revocations::read(list.der()).unwrap();
        assert_eq!(read.common_name.as_deref(), Some("devices"));
        assert_eq!((read.this_update, read.next_update), (20_454 * 86_400, Some(20_782 * 86_400)));
        assert!(!read.is_version_1);
        assert_eq!(Some(read.issuer), super::super::certificate::subject(authority.der()));
        for end in 0..list.der().len() {
            assert_eq!(Revocations::read(&list.der()[..end]), None);
        }
    }

    #[test]
    fn a_list_of_version_1_names_no_version_and_may_not_say_when_the_next_one_is_due() {
        // The list: algorithm, issuer and one date.
        let list = b"\x30\x18\x30\x16\x30\x03\x06\x01\x2a\x30\x00\x17\x0d260101000000Z";
        let read = Revocations::read(list).unwrap();
        assert_eq!((read.is_version_1, read.issuer, &read.common_name), (true, &b""[..], &None));
        assert_eq!((read.this_update, read.next_update), (1_767_225_600, None));
    }
}
