//! A name server that says what the test wants, for one network namespace.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::instance::pass;

/// What it says about a name. It knows no IPv6 address.
#[derive(Clone, Debug)]
pub enum Says {
    Addrs(Vec<Ipv4Addr>),
    NxDomain,
    ServFail,
    /// The name is there, and has no address.
    Empty,
    /// Nothing at all.
    Silence,
    /// The same as the one inside, so much later.
    Late(Duration, Vec<Ipv4Addr>),
}

/// By the first letter of the name, so that one server can say different things about two names.
type Words = Arc<Mutex<Vec<(u8, Says)>>>;

/// The server. Its threads end with the test program.
#[derive(Clone)]
pub struct Resolver {
    words: Words,
    asked: Arc<AtomicUsize>,
}

impl Resolver {
    /// At 127.0.0.1:53 of the network namespace in which this is called.
    pub fn start(says: &[(&str, Says)]) -> Resolver {
        let (udp, tcp) =
            (UdpSocket::bind("127.0.0.1:53").unwrap(), TcpListener::bind("127.0.0.1:53").unwrap());
        let resolver = Resolver { words: Arc::default(), asked: Arc::default() };
        says.iter().for_each(|(name, says)| resolver.says(name, says.clone()));
        let (over_udp, over_tcp) = (resolver.clone(), resolver.clone());
        std::thread::spawn(move || over_udp.answer_udp(&Arc::new(udp)));
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut length = [0; 2];
                // The client sees whatever goes wrong here.
                while stream.read_exact(&mut length).is_ok() {
                    let mut question = vec![0; u16::from_be_bytes(length).into()];
                    if stream.read_exact(&mut question).is_err() {
                        break;
                    }
                    let Some((answer, _)) = over_tcp.answer(&question) else { break };
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    drop(stream.write_all(&[&length[..], &answer].concat()));
                }
            }
        });
        resolver
    }

    /// From now on it says this about the name.
    pub fn says(&self, name: &str, says: Says) {
        let first = name.as_bytes()[0];
        let mut words = self.words.lock().unwrap();
        words.retain(|(name, _)| *name != first);
        words.push((first, says));
    }

    /// How many questions for an IPv4 address have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer_udp(&self, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let Some((mut answer, after)) = self.answer(&buffer[..length]) else { continue };
            if answer.len() > 512 {
                // Truncated: it is to be asked for by TCP.
                answer[2] |= 2;
                answer[6..8].copy_from_slice(&[0, 0]);
                answer.truncate(length);
            }
            let socket = socket.clone();
            std::thread::spawn(move || {
                pass(after);
                drop(socket.send_to(&answer, client));
            });
        }
    }

    /// RFC 1035, section 4: the header, the question as it came, and an A record for each address.
    fn answer(&self, question: &[u8]) -> Option<(Vec<u8>, Duration)> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0)? + 5;
        let v4 = question[end - 4..end - 2] == [0, 1];
        if v4 {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let words = self.words.lock().unwrap();
        let says = words.iter().find(|(name, _)| *name == question[13]).map(|(_, says)| says.clone());
        let (code, addrs, after) = match says.unwrap_or(Says::NxDomain) {
            Says::Addrs(addrs) => (0, addrs, Duration::ZERO),
            Says::Late(after, addrs) => (0, addrs, after),
            Says::NxDomain => (3, vec![], Duration::ZERO),
            Says::ServFail => (2, vec![], Duration::ZERO),
            Says::Empty => (0, vec![], Duration::ZERO),
            Says::Silence => return None,
        };
        let addrs = if v4 { addrs } else { vec![] };
        let count = u16::try_from(addrs.len()).unwrap().to_be_bytes();
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        for addr in addrs {
            // The name of the question, A, IN, for no time at all.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(addr.octets());
        }
        Some((answer, after))
    }
}
