//! CRC-32C (Castagnoli; RFC 3720, appendix B.4), which the PROXY protocol's version 2 carries.

const TABLE: [u32; 256] = table();

/// The table for byte-by-byte updates, which are enough: a header has a hundred bytes.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The checksum of these bytes.
pub(super) fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let update = |crc: u32, byte: u8| {
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        crc >> 8 ^ TABLE.get(index).copied().unwrap_or_default()
    };
    !bytes.into_iter().fold(u32::MAX, update)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    #[test]
    fn it_is_the_one_of_the_standards() {
        assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
        assert_eq!(crc32c([0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(0..32), 0x46dd_794e);
        assert_eq!(crc32c([]), 0);
    }
}
