//! A maker of ClientHellos (RFC 8446, section 4.1.2), without Portway's own code.

/// A vector with its length in two bytes.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// An extension of a hello.
pub fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), long(value).as_slice()].concat()
}

/// A message of about `size` bytes, as browsers with post-quantum key shares send them (1.7 KiB).
pub fn message(name: Option<&str>, alpn: &[&str], size: usize) -> Vec<u8> {
    let mut extensions = extension(43, &[2, 3, 4]);
    if let Some(name) = name {
        extensions.extend(extension(0, &long(&[&[0], long(name.as_bytes()).as_slice()].concat())));
    }
    if !alpn.is_empty() {
        let list: Vec<u8> =
            alpn.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        extensions.extend(extension(16, &long(&list)));
    }
    let mut body =
        [&[3, 3], [7; 32].as_slice(), &[32], &[9; 32], &long(&[0x13, 1, 0x13, 2]), &[1, 0]].concat();
    let missing = size.saturating_sub(4 + body.len() + 2 + extensions.len() + 4);
    extensions.extend(extension(51, &vec![0xaa; missing]));
    body.extend(long(&extensions));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A message in records, cut where it is said.
pub fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([message.len()]) {
        bytes.extend([22, 3, 1]);
        bytes.extend(long(&message[start..end]));
        start = end;
    }
    bytes
}
