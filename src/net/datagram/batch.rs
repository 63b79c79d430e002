//! Buffers for many datagrams, and the runs in them: consecutive datagrams of one sender and one size.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};

/// Size of one buffer: the largest datagram, and the most that the kernel merges (GRO), so no read is truncated.
const BUFFER: usize = 1 << 16;
/// Most datagrams of a run, since no more go out in one call (`UDP_MAX_SEGMENTS` of older kernels).
const TRAIN: usize = 64;
/// Most bytes of a run: with the headers they must fit into 64 KiB.
const TRAIN_BYTES: usize = 65_000;
/// Most bytes of each datagram in a run. Longer ones do not fit into the frames of most networks, and then the kernel
/// refuses the whole run.
const SEGMENT: usize = 1_472;

/// Buffers for the datagrams of one receive call. They keep memory that was touched once, so a batch belongs to a
/// thread, not to a listener.
pub struct Batch {
    buffers: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
    joined: Vec<u8>,
}

/// A run: datagrams of one sender and one size. The last one may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'b> {
    /// The sender. An IPv4 address is one on a dual-stack socket too.
    pub from: SocketAddr,
    /// The local address that they were sent to, in the same form. `None` if it is unknown.
    pub to: Option<IpAddr>,
    /// Their congestion mark, the same for all.
    pub ecn: Option<EcnCodepoint>,
    /// Their payloads, one after the other.
    pub data: &'b [u8],
    /// Bytes of each datagram but the last.
    pub segment: usize,
    /// Number of datagrams: at least 1.
    pub datagrams: u64,
}

/// A run that is kept, to be handed to another listener.
#[derive(Debug)]
pub struct Parcel {
    from: SocketAddr,
    to: IpAddr,
    ecn: Option<EcnCodepoint>,
    data: Box<[u8]>,
    segment: usize,
    datagrams: u64,
}

impl Parcel {
    /// A copy of a run that was sent to this address.
    pub fn of(run: &Segments<'_>, to: IpAddr) -> Parcel {
        let Segments { from, ecn, data, segment, datagrams, .. } = *run;
        Parcel { from, to, ecn, data: data.into(), segment, datagrams }
    }

    /// The run.
    pub fn segments(&self) -> Segments<'_> {
        let Parcel { from, to, ecn, ref data, segment, datagrams } = *self;
        Segments { from, to: Some(to), ecn, data, segment, datagrams }
    }
}

impl<'b> Segments<'b> {
    /// A run of one datagram, without a congestion mark.
    pub fn single(from: SocketAddr, to: Option<IpAddr>, data: &'b [u8]) -> Segments<'b> {
        Segments { from, to, ecn: None, data, segment: data.len(), datagrams: 1 }
    }

    /// The same run with `header` before each datagram, built in `buffer`.
    pub fn headed<'h>(&self, header: &[u8], buffer: &'h mut Vec<u8>) -> Segments<'h> {
        buffer.clear();
        for datagram in self.each() {
            buffer.extend_from_slice(header);
            buffer.extend_from_slice(datagram);
        }
        Segments { data: buffer, segment: self.segment + header.len(), ..*self }
    }

    /// Whether the kernel still takes the run in one call if each datagram grows by `more` bytes.
    pub fn has_room(&self, more: usize) -> bool {
        let bytes = self.data.len() + more * (self.data.len() / self.segment.max(1) + 1);
        self.datagrams == 1 || (self.segment + more <= SEGMENT && bytes <= TRAIN_BYTES)
    }

    /// Splits off the first datagram. The second part is `None` if there are no others.
    pub fn split_first(&self) -> (Segments<'b>, Option<Segments<'b>>) {
        let (first, others) = self.data.split_at(self.segment.min(self.data.len()));
        let rest = Segments { data: others, datagrams: self.datagrams - 1, ..*self };
        (Segments { data: first, datagrams: 1, ..*self }, (rest.datagrams > 0).then_some(rest))
    }

    /// The first `most` datagrams of the run: at least one.
    pub fn first(&self, most: u64) -> Segments<'b> {
        let datagrams = self.datagrams.min(most.max(1));
        let bytes = usize::try_from(datagrams).unwrap_or(usize::MAX).saturating_mul(self.segment);
        Segments { data: &self.data[..bytes.min(self.data.len())], datagrams, ..*self }
    }

    /// The payload of each datagram, in order.
    pub fn each(&self) -> impl Iterator<Item = &'b [u8]> {
        // An empty datagram counts as well, and `chunks` yields nothing for it.
        let empty = self.data.is_empty().then_some(self.data);
        empty.into_iter().chain(self.data.chunks(self.segment.max(1)))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Default for Batch {
    /// Takes 2 MiB of address space, but memory only once it is written.
    fn default() -> Self {
        Batch {
            buffers: vec![0; BUFFER * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
            joined: Vec::new(),
        }
    }
}

impl Batch {
    /// Most buffers that one receive call fills.
    pub const MOST: usize = BATCH_SIZE;

    pub(super) fn receive(
        &mut self,
        state: &UdpSocketState,
        socket: BorrowedFd<'_>,
        most: usize,
    ) -> io::Result<usize> {
        self.filled = 0;
        let mut chunks = self.buffers.chunks_exact_mut(BUFFER);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let most = most.clamp(1, BATCH_SIZE);
        self.filled = state.recv(UdpSockRef::from(&socket), &mut slices[..most], &mut self.metas)?;
        Ok(self.filled)
    }

    /// Calls `each` for every run, in order of arrival. Consecutive datagrams of one sender form one run where they
    /// fit.
    pub fn runs(&mut self, mut each: impl FnMut(Segments<'_>)) {
        let Batch { buffers, metas, filled, joined } = self;
        let metas = &metas[..*filled];
        let bytes = |at: usize| &buffers[at * BUFFER..][..metas[at].len.min(BUFFER)];
        let mut at = 0;
        while at < metas.len() {
            let meta = &metas[at];
            let count = segments(&metas[at..]);
            let mut data = bytes(at);
            if count > 1 {
                joined.clear();
                (at..at + count).for_each(|at| joined.extend_from_slice(bytes(at)));
                data = joined;
            }
            let segment = meta.stride;
            let datagrams = if segment == 0 { 1 } else { data.len().div_ceil(segment) as u64 };
            let (from, to, ecn) = (plain(meta.addr), meta.dst_ip.map(|ip| ip.to_canonical()), meta.ecn);
            each(Segments { from, to, ecn, data, segment, datagrams });
            at += count;
        }
    }
}

/// An IPv4-mapped address as its IPv4 address. The zone of an IPv6 address stays.
fn plain(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// How many of these, from the first on, form one run.
fn segments(metas: &[RecvMeta]) -> usize {
    let Some(first) = metas.first() else { return 0 };
    let size = first.stride;
    if size == 0 || size > SEGMENT || first.len % size != 0 {
        return 1;
    }
    let (mut count, mut bytes) = (1, first.len);
    for meta in &metas[1..] {
        let same = (meta.addr, meta.dst_ip, meta.ecn) == (first.addr, first.dst_ip, first.ecn);
        let fits = bytes + meta.len <= TRAIN_BYTES && (bytes + meta.len).div_ceil(size) <= TRAIN;
        let short = meta.stride != size;
        // Only the last one may be shorter, and it must be one datagram.
        if !same || !fits || meta.len == 0 || (short && (meta.stride > size || meta.len != meta.stride)) {
            break;
        }
        (count, bytes) = (count + 1, bytes + meta.len);
        if short || meta.len % size != 0 {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(port: u16, len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (([127, 0, 0, 1], port).into(), len, stride);
        meta
    }

    /// The runs (port, datagrams, segment size) in datagrams (port, length, stride).
    fn runs(all: &[(u16, usize, usize)]) -> Vec<(u16, u64, usize)> {
        let mut batch = Batch::default();
        for (at, (port, len, stride)) in all.iter().enumerate() {
            batch.metas[at] = meta(*port, *len, *stride);
            batch.buffers[at * BUFFER..][..*len].fill(at as u8);
        }
        batch.filled = all.len();
        let (mut found, mut bytes) = (Vec::new(), Vec::new());
        batch.runs(|segments| {
            assert_eq!(segments.each().count() as u64, segments.datagrams);
            found.push((segments.from.port(), segments.datagrams, segments.segment));
            bytes.extend_from_slice(segments.data);
        });
        let expected: Vec<u8> = all
            .iter()
            .enumerate()
            .flat_map(|(at, (_, len, _))| std::iter::repeat_n(at as u8, *len))
            .collect();
        assert_eq!(bytes, expected);
        found
    }

    #[test]
    fn a_run_has_room_for_headers_as_far_as_one_call_and_one_frame_take_it() {
        let run = |datagrams: usize, segment: usize, data: &[u8], more: usize| {
            let (from, datagrams) = (([127, 0, 0, 1], 1).into(), datagrams as u64);
            Segments { from, to: None, ecn: None, data, segment, datagrams }.has_room(more)
        };
        // 65,000 bytes in all, counted for one datagram more.
        assert!(run(48, 1_300, &[7; 62_400], 53) && !run(48, 1_300, &[7; 62_400], 54));
        // A frame of 1,500 bytes.
        assert!(run(2, 1_420, &[7; 2_840], 52) && !run(2, 1_420, &[7; 2_840], 53));
        assert!(run(1, 65_000, &[7; 65_000], 500), "alone it is cut into fragments");
    }

    #[test]
    fn of_two_results_all_failures_count_and_the_first_error_is_told() {
        use super::super::Sent;
        let failed =
            |count, kind: std::io::ErrorKind| Sent { failed: Some((count, kind.into())), ..Sent::default() };
        let both = failed(2, std::io::ErrorKind::WouldBlock).and(failed(3, std::io::ErrorKind::NotFound));
        let (count, error) = both.failed.unwrap();
        assert_eq!((count, error.kind()), (5, std::io::ErrorKind::WouldBlock));
        let second = Sent::default().and(failed(3, std::io::ErrorKind::NotFound)).failed.unwrap();
        assert_eq!(second.0, 3);
    }

    #[test]
    fn neighbours_of_one_sender_and_one_size_are_a_train() {
        assert_eq!(runs(&[(1, 9, 9), (1, 9, 9), (2, 9, 9), (1, 9, 9)]), [(1, 2, 9), (2, 1, 9), (1, 1, 9)]);
        // A shorter one ends its run; a longer one begins another.
        assert_eq!(runs(&[(1, 9, 9), (1, 5, 5), (1, 9, 9), (1, 10, 10)]), [(1, 2, 9), (1, 1, 9), (1, 1, 10)]);
        // The kernel has merged some already.
        assert_eq!(runs(&[(1, 27, 9), (1, 9, 9), (1, 20, 9), (1, 9, 9)]), [(1, 7, 9), (1, 1, 9)]);
        // An empty datagram is a datagram too.
        assert_eq!(
            runs(&[(1, 0, 0), (1, 0, 0), (1, 3, 3), (1, 0, 0)]),
            [(1, 1, 0), (1, 1, 0), (1, 1, 3), (1, 1, 0)]
        );
        // Too long for a frame, and too many for a call.
        assert_eq!(runs(&[(1, 1500, 1500), (1, 1500, 1500)]), [(1, 1, 1500), (1, 1, 1500)]);
        assert_eq!(runs(&[(1, 63, 1), (1, 1, 1), (1, 1, 1)]), [(1, 64, 1), (1, 1, 1)]);
        assert_eq!(runs(&[(1, 64_768, 1472), (1, 1472, 1472)]), [(1, 44, 1472), (1, 1, 1472)]);
    }
}
