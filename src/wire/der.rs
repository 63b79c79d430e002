//! Reads DER values (X.690), one after the other.

/// Takes values from the front. Each method returns `None` if there is no such value.
pub(super) struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, with its tag.
    pub fn any(&mut self) -> Option<(u8, &'b [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // The number of bytes in the length: no certificate needs more than three.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next value, which must have the tag `wanted`.
    pub fn value(&mut self, wanted: u8) -> Option<&'b [u8]> {
        self.any().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short_or_of_one_to_three_bytes() {
        for (head, length) in [
            (&[0x00][..], 0),
            (&[0x7f], 127),
            (&[0x81, 0x80], 128),
            (&[0x81, 0xff], 255),
            (&[0x82, 0x01, 0x01], 257),
            (&[0x83, 0x01, 0x01, 0x01], 65_793),
        ] {
            let value: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let bytes = [&[0x04], head, &value, b"rest"].concat();
            let mut reader = Reader(&bytes);
            assert_eq!((reader.peek(), reader.is_empty()), (Some(0x04), false));
            assert_eq!(reader.any(), Some((0x04, value.as_slice())));
            assert_eq!((reader.0, Reader(&bytes).value(0x04)), (&b"rest"[..], Some(value.as_slice())));
            assert_eq!(Reader(&bytes).value(0x05), None, "another tag");
            assert_eq!(Reader(&bytes[..head.len() + length]).any(), None, "a byte too few");
        }
        for wrong in [&b""[..], b"\x04", b"\x04\x80", b"\x04\x84\0\0\0\0", b"\x04\x82\x01"] {
            assert_eq!(Reader(wrong).any(), None);
        }
        assert_eq!((Reader(b"").peek(), Reader(b"").is_empty()), (None, true));
    }
}
