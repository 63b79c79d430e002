//! Readings of a file that never rests.

use std::path::Path;

use super::*;
use crate::files::reading::Writer;

const RUNNING: &[u8] =
    b"[[route]]\nlisten = \"80\"\nupstream = \"a:80\"\n[[route]]\nlisten = \"81\"\nupstream = \"a:81\"\n";

fn followed() -> FollowedFile<()> {
    let nowhere = Err(std::io::ErrorKind::NotFound);
    FollowedFile::new(Path::new("/nowhere"), RUNNING.into(), nowhere, &FsEventSource::default(), ())
}

fn snatched(text: &[u8], writer: Writer) -> Reading {
    let state = Err(std::io::ErrorKind::NotFound);
    Reading { text: Ok(text.into()), state, how: How::Snatched, writer }
}

/// What becomes of a text that does not compile.
async fn refused(file: &mut FollowedFile<()>, text: &[u8]) -> Option<Refused> {
    let mut reading = snatched(text, Writer::Done);
    match file.see(&mut reading).await {
        Seen::Known | Seen::Runs => None,
        Seen::Text(_) => Some(file.refuse(&reading, Report::about_file("", Fault::new("wrong", "")), false)),
        Seen::Faulty(report) => Some(file.refuse(&reading, report, false)),
    }
}

#[tokio::test]
async fn t1_halves_of_a_file_that_never_rests_count_only_if_read_twice() {
    let mut file = followed();
    for half in [&RUNNING[..60], &RUNNING[..20], &RUNNING[..30], &RUNNING[..60]] {
        assert_eq!(refused(&mut file, half).await, Some(Refused::Unsettled));
        assert!(file.pending().is_none());
        assert_eq!(&**file.running(), RUNNING);
    }
    assert_eq!(refused(&mut file, &RUNNING[..60]).await, Some(Refused::New), "the same text twice");
    assert!(file.pending().is_some());
}

#[tokio::test]
async fn t1_a_whole_text_of_a_file_that_never_rests_is_taken() {
    let mut file = followed();
    let text: Vec<u8> = [RUNNING, b"[[route]]\nlisten = \"82\"\nupstream = \"a:82\"\n"].concat();
    let mut reading = snatched(&text, Writer::Unknown);
    let Seen::Text(seen) = file.see(&mut reading).await else { panic!("not taken") };
    assert_eq!(*seen, *text);
    assert!(file.took(&reading, seen).is_none());
    // One that takes something away is not, as long as its writer may go on.
    let mut reading = snatched(&text[..RUNNING.len()], Writer::Unknown);
    assert!(matches!(file.see(&mut reading).await, Seen::Known));
}
