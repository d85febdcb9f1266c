//! An SMTP server that keeps the letters it is given, or refuses all.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A letter as it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    pub to: String,
    pub head: String,
    /// Decoded.
    pub body: String,
}

impl Received {
    /// The path of the link in it.
    pub(crate) fn link(&self) -> String {
        let from = self.body.find("/admin/").unwrap_or_else(|| panic!("no link in {}", self.body));
        self.body[from..].split_whitespace().next().expect("a link").to_owned()
    }
}

/// The server.
pub(crate) struct Sink {
    pub url: String,
    pub refuses: Arc<AtomicBool>,
    letters: Mutex<UnboundedReceiver<Received>>,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

impl Sink {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("bound"));
        let (sender, receiver) = unbounded_channel();
        let refuses = Arc::new(AtomicBool::new(false));
        let refusing = Arc::clone(&refuses);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, sender.clone(), Arc::clone(&refusing)));
            }
        });
        Arc::new(Self { url, refuses, letters: Mutex::new(receiver), _server: tokio_util::task::AbortOnDropHandle::new(server) })
    }

    /// The settings of a service that sends its letters here.
    pub(crate) fn settings(&self) -> [&str; 4] {
        ["--smtp-url", &self.url, "--mail-from", "Dunet <no-reply@dunet.do>"]
    }

    /// The next letter.
    pub(crate) async fn letter(&self) -> Received {
        let next = async { self.letters.lock().await.recv().await };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("a letter in time").expect("the server runs")
    }

    /// Whether none has arrived that was not read yet.
    pub(crate) async fn is_empty(&self) -> bool {
        self.letters.lock().await.try_recv().is_err()
    }
}

async fn talk(mut stream: TcpStream, letters: UnboundedSender<Received>, refuses: Arc<AtomicBool>) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let (mut to, mut data, mut in_data) = (String::new(), String::new(), false);
    drop(write.write_all(b"220 sink.example ESMTP\r\n").await);
    while let Ok(Some(line)) = lines.next_line().await {
        if in_data {
            if line == "." {
                in_data = false;
                let (head, body) = data.split_once("\n\n").unwrap_or((&data, ""));
                drop(letters.send(Received { to: std::mem::take(&mut to), head: head.to_owned(), body: decoded(head, body) }));
                data.clear();
                drop(write.write_all(b"250 kept\r\n").await);
            } else {
                data.push_str(line.strip_prefix('.').unwrap_or(&line));
                data.push('\n');
            }
            continue;
        }
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer: &[u8] = match word.as_str() {
            "EHLO" | "HELO" => b"250-sink.example\r\n250 8BITMIME\r\n",
            "RCPT" if refuses.load(Ordering::SeqCst) => b"550 5.1.1 nobody@nowhere.do is not here\r\n",
            "RCPT" => {
                line.split(['<', '>']).nth(1).unwrap_or_default().clone_into(&mut to);
                b"250 good\r\n"
            }
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            "MAIL" | "RSET" | "NOOP" => b"250 good\r\n",
            _ => b"500 what?\r\n",
        };
        if write.write_all(answer).await.is_err() || word == "QUIT" {
            return;
        }
    }
}

/// By the encoding that the head names.
fn decoded(head: &str, body: &str) -> String {
    let head = head.to_lowercase();
    if head.contains("content-transfer-encoding: base64") {
        let raw = base64::engine::general_purpose::STANDARD.decode(body.replace(['\n', '\r'], "")).expect("base64");
        return String::from_utf8(raw).expect("UTF-8");
    }
    if !head.contains("content-transfer-encoding: quoted-printable") {
        return body.to_owned();
    }
    let (mut out, mut bytes) = (Vec::new(), body.replace("=\n", "").into_bytes().into_iter());
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let pair = [bytes.next(), bytes.next()].map(|byte| char::from(byte.expect("a pair")));
            out.push(u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal"));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).expect("UTF-8")
}
