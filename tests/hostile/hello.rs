//! TLS hellos, as far as the first message goes.

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn message(name: &str, size: usize) -> Vec<u8> {
    let names = long(&[&[0], long(name.as_bytes()).as_slice()].concat());
    let filled = vec![0xaa; size];
    let extensions =
        [&[0, 43, 0, 3, 2, 3, 4, 0, 0], long(&names).as_slice(), &[0, 51], &long(&filled)].concat();
    let body = [&[3, 3], [7; 32].as_slice(), &[0], &long(&[0x13, 1]), &[1, 0], &long(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

fn records(message: &[u8]) -> Vec<u8> {
    message.chunks(16_000).flat_map(|part| [&[22, 3, 1], long(part).as_slice()].concat()).collect()
}

/// A whole one, of a usual size.
pub fn whole(name: &str) -> Vec<u8> {
    records(&message(name, 300))
}

/// The largest, but for its last bytes.
pub fn endless() -> Vec<u8> {
    let mut bytes = records(&message("panel.example", 59_000));
    bytes.truncate(bytes.len() - 10);
    bytes
}
