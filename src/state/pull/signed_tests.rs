//! Texts that must have a signature. The publisher signs as minisign does, with a library of its own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};

use super::tests::{bytes, start};
use super::*;

struct Signer(KeyPair);

impl Signer {
    fn new() -> Signer {
        Signer(KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    fn key(&self) -> PublicKey {
        let key = [b"Ed".as_slice(), &[7; 8], self.0.der_bytes()].concat();
        PublicKey::read(&BASE64_STANDARD.encode(key)).unwrap()
    }

    fn sign(&self, text: &str, comment: &str) -> Arc<[u8]> {
        let signature = self.0.sign(text.as_bytes()).unwrap();
        let whole = self.0.sign(&[signature.as_slice(), comment.as_bytes()].concat()).unwrap();
        let first = [b"Ed".as_slice(), &[7; 8], &signature].concat();
        let [first, second] = [first, whole].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("untrusted comment: x\n{first}\ntrusted comment: {comment}\n{second}\n").into_bytes().into()
    }
}

/// A node that has a text with a serial, and its time.
struct Node {
    pull: Pull,
    now: Instant,
}

impl Node {
    fn with(signer: &Signer, text: Option<&str>, serial: Option<u64>) -> Node {
        let now = start();
        let (node, every) = ("n".to_owned(), Duration::from_secs(5));
        let settings = PullSettings { key: Some(signer.key()), node, every, seed: 7 };
        Node { pull: Pull::new(settings, OnDisk { text: text.map(bytes), serial }, now), now }
    }

    fn fetches(&mut self) -> StorePart {
        loop {
            match self.pull.next(self.now) {
                Todo::Wait(time) => self.now += time,
                Todo::Fetch(fetch) => return fetch.part,
                todo => panic!("{todo:?}"),
            }
        }
    }

    fn gets(&mut self, part: StorePart, content: &Arc<[u8]>) -> Vec<News> {
        assert_eq!(self.fetches(), part);
        self.pull.fetched(Fetched::Content(content.clone(), Mark::default()), self.now)
    }

    fn same(&mut self, part: StorePart) -> Vec<News> {
        assert_eq!(self.fetches(), part);
        self.pull.fetched(Fetched::Same(Mark::default()), self.now)
    }

    fn signature(&mut self, content: &Arc<[u8]>) -> Vec<News> {
        self.gets(StorePart::Signature, content)
    }

    fn text(&mut self, text: &str) -> Vec<News> {
        self.gets(StorePart::Text, &bytes(text))
    }

    /// Takes what is to be taken, to its end.
    fn takes(&mut self, text: &str, serial: u64) {
        assert!(matches!(self.pull.next(self.now), Todo::Check(checked) if checked == bytes(text)));
        assert!(self.pull.checked(Ok(()), self.now).is_empty());
        let Todo::Write(offer) = self.pull.next(self.now) else { panic!("nothing to write") };
        assert_eq!((offer.text, offer.serial), (bytes(text), Some(serial)));
        let news = self.pull.written(Ok(()), self.now);
        assert!(matches!(news[..], [News::Took(Some(release))] if release.serial == serial), "{news:?}");
        assert_eq!(self.pull.standing().serial, Some(serial));
    }

    fn why(&self) -> Option<&str> {
        self.pull.standing().refused.as_ref().map(|trouble| trouble.why.as_str())
    }
}

#[track_caller]
fn refuses(news: &[News], said: &str) {
    assert!(matches!(news, [News::Refused(why)] if why.contains(said)), "{said}: {news:?}");
}

#[test]
fn a_signature_is_fetched_first_and_its_text_once() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, None, None);
    let first = signer.sign("a", "serial=7");
    assert!(node.signature(&first).is_empty());
    assert_eq!(node.pull.standing().offered.map(|release| release.serial), Some(7));
    assert!(node.text("a").is_empty());
    node.takes("a", 7);
    // The same signature, sent again or not: the text is not asked for.
    let taken = node.pull.standing().confirmed;
    assert!(node.signature(&first).is_empty() && node.same(StorePart::Signature).is_empty());
    assert!(node.pull.standing().confirmed > taken, "this node has what the store has");
    let second = signer.sign("b", "serial=8");
    assert!(node.signature(&second).is_empty() && node.text("b").is_empty());
    node.takes("b", 8);
    assert_eq!(node.fetches(), StorePart::Signature);
}

#[test]
fn a_serial_never_goes_back_and_is_of_one_text() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    refuses(&node.signature(&signer.sign("b", "serial=6")), "serial 6 is not above 7");
    assert_eq!(node.fetches(), StorePart::Signature, "its text is not asked for");
    // That of the file.
    assert_eq!(node.signature(&signer.sign("a", "serial=7")), [News::Healed]);
    assert_eq!(node.fetches(), StorePart::Signature, "nor that of the file");
    // Another text under the same serial.
    assert!(node.signature(&signer.sign("b", "serial=7")).is_empty());
    refuses(&node.text("b"), "serial 7 is the one of the file, whose text is another");
    assert!(node.signature(&signer.sign("b", "serial=8")).is_empty());
    assert!(node.text("b").is_empty());
    node.takes("b", 8);
    assert_eq!(node.why(), None);
}

#[test]
fn a_text_that_is_not_the_signed_one_is_refused_once_it_is_seen_twice() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    assert!(node.signature(&signer.sign("b", "serial=8")).is_empty());
    assert!(node.text("a").is_empty(), "a publisher uploads one after the other");
    assert_eq!(node.why(), None);
    assert!(node.same(StorePart::Signature).is_empty());
    refuses(&node.text("a"), "the signature: ");
    // As before: nothing new is said.
    assert!(node.same(StorePart::Signature).is_empty() && node.same(StorePart::Text).is_empty());
    assert!(node.why().is_some());
    assert!(node.same(StorePart::Signature).is_empty() && node.text("b").is_empty());
    node.takes("b", 8);
    // Of another publisher, however often.
    let stranger = Signer::new();
    assert!(node.signature(&stranger.sign("c", "serial=9")).is_empty());
    assert!(node.text("c").is_empty() && node.same(StorePart::Signature).is_empty());
    refuses(&node.text("c"), "the signature: ");
}

#[test]
fn a_text_that_did_not_belong_and_is_not_sent_again_is_refused() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    assert!(node.signature(&signer.sign("b", "serial=8")).is_empty());
    assert!(node.text("a").is_empty());
    assert!(node.same(StorePart::Signature).is_empty());
    refuses(&node.same(StorePart::Text), "the signature: ");
}

#[test]
fn what_is_no_signature_is_refused_and_one_that_is_gone_is_missed() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    refuses(&node.signature(&bytes("no signature")), "the signature: ");
    refuses(&node.signature(&signer.sign("b", "no serial")), "the signature: ");
    assert_eq!(node.fetches(), StorePart::Signature);
    let news = node.pull.fetched(Fetched::Missing, node.now);
    refuses(&news, "there is no signature beside the text");
    // After it is back nothing of it is remembered.
    assert!(node.signature(&signer.sign("b", "serial=8")).is_empty());
    assert_eq!(node.fetches(), StorePart::Text);
    refuses(&node.pull.fetched(Fetched::Missing, node.now), "the store has no such text");
    assert_eq!(node.fetches(), StorePart::Signature, "begins anew");
}

#[test]
fn a_stage_holds_a_text_back_until_it_is_this_nodes() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    let news = node.signature(&signer.sign("b", "serial=8 stage=0%"));
    assert!(matches!(news[..], [News::Held(release)] if release.serial == 8), "{news:?}");
    assert!(node.same(StorePart::Signature).is_empty());
    assert_eq!(node.fetches(), StorePart::Signature, "its text is not asked for");
    assert!(node.signature(&signer.sign("b", "serial=8 stage=100%")).is_empty());
    assert!(node.text("b").is_empty());
    node.takes("b", 8);
    // Of what this node has only the stage is another: at whatever stage, there is nothing to do.
    let confirmed = node.pull.standing().confirmed;
    assert!(node.signature(&signer.sign("b", "serial=8 stage=0%")).is_empty());
    assert!(node.pull.standing().confirmed > confirmed);
    assert_eq!(node.fetches(), StorePart::Signature);
}

/// The signature is still there.
#[test]
fn a_file_that_was_deleted_is_written_again() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, None, Some(7));
    refuses(&node.signature(&signer.sign("b", "serial=6")), "serial 6 is not above 7");
    assert!(node.signature(&signer.sign("a", "serial=7")).is_empty() && node.text("a").is_empty());
    assert!(matches!(node.pull.next(node.now), Todo::Check(checked) if checked == bytes("a")));
    assert!(node.pull.checked(Ok(()), node.now).is_empty());
    let Todo::Write(offer) = node.pull.next(node.now) else { panic!("nothing to write") };
    assert_eq!((offer.text, offer.signature.is_some()), (bytes("a"), true));
    node.pull.written(Ok(()), node.now);
    assert_eq!((node.pull.standing().serial, node.why()), (Some(7), None));
}

#[test]
fn what_was_undone_is_not_taken_again_whatever_its_stage() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    assert!(node.signature(&signer.sign("b", "serial=8")).is_empty() && node.text("b").is_empty());
    node.takes("b", 8);
    refuses(&node.pull.undone(&bytes("b"), &bytes("a"), "worse", node.now), "worse");
    let Todo::Write(offer) = node.pull.next(node.now) else { panic!("nothing to write") };
    assert_eq!((offer.text, offer.signature.is_none()), (bytes("a"), true));
    assert!(node.pull.written(Ok(()), node.now).is_empty());
    assert!(node.signature(&signer.sign("b", "serial=8 stage=50%")).is_empty());
    assert_eq!(node.why(), Some("worse"));
    assert_eq!(node.fetches(), StorePart::Signature);
    // The same text under another serial fares as badly.
    assert!(node.signature(&signer.sign("b", "serial=9")).is_empty() && node.text("b").is_empty());
    assert!(matches!(node.pull.next(node.now), Todo::Wait(_)));
    assert!(node.signature(&signer.sign("c", "serial=10")).is_empty() && node.text("c").is_empty());
    node.takes("c", 10);
    assert_eq!(node.why(), None);
}

#[test]
fn the_store_is_waited_for_once_the_text_of_its_signature_is_there() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    let gets = |node: &mut Node, content: Arc<[u8]>| {
        let mark = Mark { etag: None, index: Some(3) };
        node.pull.fetched(Fetched::Content(content, mark), node.now)
    };
    let asks = |node: &mut Node| {
        node.fetches();
        let Todo::Fetch(fetch) = node.pull.next(node.now) else { panic!("nothing to fetch") };
        (fetch.part, fetch.wait.map(|time| time.as_secs()))
    };
    assert_eq!(asks(&mut node), (StorePart::Signature, None), "nothing is known of the store");
    let signature = signer.sign("b", "serial=8");
    assert!(gets(&mut node, signature.clone()).is_empty());
    // All nodes see a signature at the same moment.
    let Todo::Wait(time) = node.pull.next(node.now) else { panic!("no wait") };
    assert!(time < Duration::from_secs(5), "{time:?}");
    assert_eq!(asks(&mut node), (StorePart::Text, None));
    assert!(gets(&mut node, bytes("a")).is_empty());
    assert_eq!(asks(&mut node), (StorePart::Signature, None), "its text has not come");
    assert!(gets(&mut node, signature).is_empty());
    assert_eq!(asks(&mut node), (StorePart::Text, None));
    assert!(gets(&mut node, bytes("b")).is_empty());
    node.takes("b", 8);
    assert_eq!(asks(&mut node), (StorePart::Signature, Some(60)));
}

#[test]
fn a_signature_that_was_gone_counts_once_it_is_back() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    let signature = signer.sign("a", "serial=7");
    assert!(node.signature(&signature).is_empty());
    assert_eq!(node.fetches(), StorePart::Signature);
    refuses(&node.pull.fetched(Fetched::Missing, node.now), "there is no signature beside the text");
    assert_eq!(node.signature(&signature), [News::Healed]);
    assert_eq!(node.why(), None);
}

#[test]
fn the_same_text_is_taken_under_a_higher_serial() {
    let signer = Signer::new();
    let mut node = Node::with(&signer, Some("a"), Some(7));
    assert!(node.signature(&signer.sign("a", "serial=8")).is_empty() && node.text("a").is_empty());
    node.takes("a", 8);
}
