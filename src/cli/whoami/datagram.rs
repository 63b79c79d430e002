//! The UDP side of `whoami`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::header;
use super::options::Options;
use super::talk;
use crate::model::Peer;
use crate::tasks::Scope;

/// Largest payload of a datagram over IPv4, in bytes: 65,535 less the headers of IP and UDP.
const PAYLOAD_MAX: usize = 65_507;

/// Answers that wait for their delay at once; a datagram beyond that is lost, as datagrams are.
const WAITING_MAX: usize = 256;

/// How long receiving rests after an error of the socket.
const REST: Duration = Duration::from_millis(100);

/// Answers each datagram until its task is ended; an answer that has to wait is a task of the scope.
pub(super) async fn answer(socket: UdpSocket, options: Arc<Options>, scope: Scope) {
    let socket = Arc::new(socket);
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            sleep(REST).await;
            continue;
        };
        let answer = answer_to(&buffer[..length], from, &options);
        if options.delay.is_zero() {
            // A datagram that cannot be sent is lost, as datagrams are.
            socket.send_to(&answer, from).await.ok();
        } else if let Ok(slot) = Arc::clone(&waiting).try_acquire_owned() {
            let (socket, delay) = (Arc::clone(&socket), options.delay);
            scope.spawn(async move {
                let _slot = slot;
                sleep(delay).await;
                socket.send_to(&answer, from).await.ok();
            });
        }
    }
}

fn answer_to(payload: &[u8], from: SocketAddr, options: &Options) -> Vec<u8> {
    if !options.raw {
        let told = header::read(payload);
        let payload = told.as_ref().and_then(|(_, length)| payload.get(*length..)).unwrap_or(payload);
        let prefix = talk::prefix(options, &Peer::from_ip(from), told.as_ref().map(|(told, _)| told));
        if prefix.len() + payload.len() <= PAYLOAD_MAX {
            return [prefix.as_bytes(), payload].concat();
        }
    }
    payload.to_vec()
}
