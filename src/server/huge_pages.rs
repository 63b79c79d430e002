//! The program's own code in huge pages.
//!
//! What one connection runs is spread over some 150 pages of a text of 14 MB: more than a core remembers beside those of the
//! kernel and of other programs, so it walks the page tables for each of them again and again. In huge pages it is seven.
#![allow(unsafe_code, reason = "no kept crate maps a file over the text of its own program")]

use std::fs::{File, read_to_string};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use tracing::debug;

use super::memory;

/// Bytes of a huge page on x86-64, and on aarch64 where small ones have 4 KiB. With others the kernel refuses.
const HUGE: usize = 2 << 20;
/// The copy takes some 12 MB, which a bound of fewer bytes than this has a better use for.
const LEAST_MEMORY: u64 = 256 << 20;
/// MADV_COLLAPSE, since Linux 6.1 (madvise(2)): not in libc for musl.
const COLLAPSE: i32 = 25;
/// What an operator says of huge pages: one of `[always] madvise never`.
const WANTED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Moves the code into huge pages, where the system has some to give. The text of a debug build is twice as large, and nobody
/// waits for it.
pub(super) fn use_huge_pages() {
    if !cfg!(debug_assertions)
        && let Err(error) = moved(memory::bound())
    {
        debug!(%error, "the code stays in small pages");
    }
}

/// Moves the code that runs into huge pages, as far as it fills whole ones. `bound`: bytes of memory that the process may use.
/// An error leaves it where it was, which costs time and nothing else.
///
/// By a file in memory, and not by memory that is first writable and then executable: a service with
/// `MemoryDenyWriteExecute=` may have no such memory (systemd.exec(5)).
fn moved(bound: Option<u64>) -> io::Result<()> {
    if bound.is_some_and(|bound| bound < LEAST_MEMORY) {
        return Err(io::Error::other("the bound of memory is low"));
    }
    if read_to_string(WANTED)?.contains("[never]") {
        return Err(io::Error::other(format!("{WANTED} says never")));
    }
    let text = Text::own().ok_or_else(|| io::Error::other("the text fills no huge page"))?;
    let mut program = File::open("/proc/self/exe")?;
    program.seek(SeekFrom::Start(text.offset))?;
    let mut copy = executable()?;
    let length = u64::try_from(text.length).unwrap_or(u64::MAX);
    if io::copy(&mut (&program).take(length), &mut copy)? != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.map(&copy, 0)?;
    text.collapse().or_else(|error| text.map(&program, text.offset).and(Err(error)))
}

/// An empty file in memory that may be mapped as code.
fn executable() -> io::Result<File> {
    let named = |flags| memfd_create("portway text", flags);
    let made = match named(MemfdFlags::CLOEXEC | MemfdFlags::EXEC) {
        // Before Linux 6.3 there is no such flag, and every such file may be.
        Err(Errno::INVAL) => named(MemfdFlags::CLOEXEC),
        made => made,
    };
    Ok(made?.into())
}

/// The part of the program's code that fills whole huge pages.
#[derive(Debug)]
struct Text {
    start: usize,
    length: usize,
    /// Where it is in the program's file.
    offset: u64,
}

impl Text {
    /// That of this process. `None`: it is too short.
    fn own() -> Option<Text> {
        let here = moved as *const () as usize;
        let maps = read_to_string("/proc/self/maps").ok()?;
        let mut found = maps.lines().filter_map(mapping);
        let (start, end, offset) = found.find(|(start, end, _)| (*start..*end).contains(&here))?;
        let (first, last) = (start.next_multiple_of(HUGE), end / HUGE * HUGE);
        let length = last.checked_sub(first).filter(|length| *length > 0)?;
        Some(Text { start: first, length, offset: offset + u64::try_from(first - start).ok()? })
    }

    /// Maps a file that has the same bytes from `offset` on in its place.
    fn map(&self, file: &File, offset: u64) -> io::Result<()> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let (rights, how) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_FIXED);
        let start = std::ptr::without_provenance_mut(self.start);
        // SAFETY: the range is a part of the program's text, which nobody writes to. It has the same bytes and rights before and
        // after the call, and the kernel replaces it in one step for all threads (mmap(2), MAP_FIXED): whoever runs in it goes on.
        let mapped = unsafe { libc::mmap(start, self.length, rights, how, file.as_raw_fd(), offset) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Gathers it into huge pages.
    fn collapse(&self) -> io::Result<()> {
        let start = std::ptr::without_provenance_mut(self.start);
        // SAFETY: it changes no byte of the range, only what it lies in.
        let answer = unsafe { libc::madvise(start, self.length, COLLAPSE) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The start, the end and the place in its file of a mapping: a line of `/proc/self/maps` (proc_pid_maps(5)).
fn mapping(line: &str) -> Option<(usize, usize, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let offset = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?, offset))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Tells the child, which is this test again, that it is one.
    const CHILD: &str = "PORTWAY_TEST_HUGE_PAGES";

    /// In a process of its own: the tests beside it are not to run in what this one moves.
    #[test]
    fn the_code_runs_on_in_huge_pages_and_only_where_they_are_wanted() {
        if std::env::var_os(CHILD).is_some() {
            return code_moves();
        }
        let name = "server::huge_pages::tests::the_code_runs_on_in_huge_pages_and_only_where_they_are_wanted";
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    }

    fn code_moves() {
        let low = moved(Some(LEAST_MEMORY - 1)).unwrap_err();
        assert_eq!(low.to_string(), "the bound of memory is low");
        let text = Text::own().unwrap();
        assert_eq!((text.start % HUGE, text.length % HUGE), (0, 0));
        let done = moved(Some(LEAST_MEMORY));
        let maps = read_to_string("/proc/self/smaps").unwrap();
        let own = maps.split_once(&format!("{:x}-{:x} r-xp ", text.start, text.start + text.length));
        let at = own.map(|(_, rest)| rest.lines().next().unwrap().to_owned());
        match done {
            Ok(()) => assert!(at.is_some_and(|line| line.contains("memfd:portway")), "{maps}"),
            // This kernel has none: all is as before.
            Err(error) => assert!(!maps.contains("memfd:portway"), "{error}: {maps}"),
        }
    }
}
