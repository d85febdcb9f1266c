//! Where a connection can be cut: the proxy of `support/odoo.rs` reads a request whole and then cuts it, or its answer, at a chosen byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for the Odoo behind the proxy to be done with what it got.
const DONE_WITHIN: Duration = Duration::from_secs(20);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Orderly.
    Fin,
    /// With a reset.
    Rst,
}

/// How much of a message passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Nothing,
    /// Half of the first line.
    MidFirstLine,
    MidHead,
    /// The whole head and nothing of the body.
    Head,
    MidBody,
    AllButLast,
}

impl Part {
    fn of(self, message: &[u8]) -> &[u8] {
        let line = message.windows(2).position(|two| two == b"\r\n").expect("a first line");
        let head = message.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let end = match self {
            Self::Nothing => 0,
            Self::MidFirstLine => line / 2,
            Self::MidHead => line + (head - line) / 2,
            Self::Head => head,
            Self::MidBody => head + (message.len() - head) / 2,
            Self::AllButLast => message.len() - 1,
        };
        &message[..end]
    }
}

/// What is cut.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// The connection is taken, and closed before the Odoo hears of it.
    Unsent(End),
    /// This much of the request reaches the Odoo, whose connection ends the same way.
    Request(Part, End),
    /// The Odoo has answered; this much of it comes through.
    Answer(Part, End),
}

/// Cuts a request that was read whole. When this returns, the Odoo has done with it what it will (after a reset: soon).
pub(super) async fn cut(mut client: TcpStream, upstream: SocketAddr, request: &[u8], cut: &Cut) {
    let end = match cut {
        Cut::Unsent(end) => *end,
        Cut::Request(part, end) => {
            let mut odoo = TcpStream::connect(upstream).await.expect("the Odoo behind the proxy listens");
            odoo.write_all(part.of(request)).await.expect("forwarded");
            match end {
                // What it answers to half a request is for nobody.
                End::Fin => {
                    drop(odoo.shutdown().await);
                    drop(tokio::time::timeout(DONE_WITHIN, odoo.read_to_end(&mut Vec::new())).await.expect("the Odoo lets go"));
                }
                End::Rst => odoo.set_zero_linger().expect("a socket option"),
            }
            *end
        }
        Cut::Answer(part, end) => {
            let mut odoo = TcpStream::connect(upstream).await.expect("the Odoo behind the proxy listens");
            odoo.write_all(request).await.expect("forwarded");
            let mut answer = Vec::new();
            odoo.read_to_end(&mut answer).await.expect("answered");
            // The other side may be gone already.
            drop(client.write_all(part.of(&answer)).await);
            *end
        }
    };
    if end == End::Rst {
        client.set_zero_linger().expect("a socket option");
    }
}
