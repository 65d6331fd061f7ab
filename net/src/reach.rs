//! Whether anybody listens at an address: what a look from outside can tell of a process.
//!
//! A process that has ended listens no more, and its system refuses connections. One that hangs, or that cannot be
//! reached, looks otherwise. Nothing is sent: the other side sees a connection that comes and goes.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// A connection that was accepted while the listener's process was ending is closed within this time.
const SETTLED: Duration = Duration::from_millis(30);
/// Looks at an address whose connections are accepted and closed at once.
const LOOKS: usize = 3;

/// What a look at an address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somebody listens.
    Listening,
    /// Every address of the host refuses connections at this port: nobody listens.
    Refused,
    /// No answer in time, no way there, or no such host: this says nothing.
    Unknown,
}

/// Looks whether somebody listens at `host:port`; takes `patience` at most, and a few ms if the answer is clear.
pub async fn look_at(host: &str, port: u16, patience: Duration) -> Reach {
    let looked = async {
        for _ in 0..LOOKS {
            match connect(host, port).await {
                Ok(stream) if is_kept(&stream).await => return Reach::Listening,
                // The listener may be ending right now.
                Ok(_) => {}
                Err(reach) => return reach,
            }
        }
        Reach::Unknown
    };
    tokio::time::timeout(patience, looked).await.unwrap_or(Reach::Unknown)
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Reach> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|_| Reach::Unknown)?;
    let mut reach = Err(Reach::Unknown);
    for (at, address) in addresses.enumerate() {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if at == 0 {
                    reach = Err(Reach::Refused);
                }
            }
            Err(_) => reach = Err(Reach::Unknown),
        }
    }
    reach
}

/// Whether the other side leaves the connection open, or says something.
async fn is_kept(stream: &TcpStream) -> bool {
    let closed = async {
        loop {
            if stream.readable().await.is_err() {
                return true;
            }
            match stream.try_read(&mut [0; 1]) {
                Ok(read) => return read == 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
    };
    !tokio::time::timeout(SETTLED, closed).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_listener_that_answers_nothing_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(look_at("127.0.0.1", port, PATIENCE).await, Reach::Listening);
        drop(listener);
        assert_eq!(look_at("127.0.0.1", port, PATIENCE).await, Reach::Refused);
    }

    #[tokio::test]
    async fn one_that_closes_every_connection_is_neither() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closing = tokio::spawn(async move {
            let mut accepted = 0;
            while accepted < LOOKS && listener.accept().await.is_ok() {
                accepted += 1;
            }
            (accepted, listener)
        });
        assert_eq!(look_at("127.0.0.1", port, PATIENCE).await, Reach::Unknown);
        assert_eq!(closing.await.unwrap().0, LOOKS);
    }

    #[tokio::test]
    async fn a_name_without_an_address_says_nothing() {
        assert_eq!(look_at("no such host", 1, PATIENCE).await, Reach::Unknown);
    }
}
