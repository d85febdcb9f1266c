//! The load generator: HTTP/1.1 over plain sockets, as cheap as it can be made, so that one core can load another.
//!
//! Every answer is read whole and its body is looked into: an answer counts as good when its status is 200, it holds what this request
//! asked for, and it is no tool error. Nothing else is counted.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// An answer that takes longer is an error.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// The largest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long answers under way are waited for when a round ends.
const LEFT_OVER_MAX: Duration = Duration::from_secs(45);

/// What is sent in turn, and what each answer must hold.
pub(crate) struct Script {
    steps: Vec<(Vec<u8>, String)>,
}

/// The protocol's era.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25: what nearly all clients speak.
    Legacy,
    /// 2026-07-28: `_meta` in every request.
    Modern,
}

impl Script {
    /// `tools/call` of that tool with each of these arguments; the answer must hold the text beside them.
    pub(crate) fn calls(port: u16, token: Option<&str>, era: Era, tool: &str, arguments: impl IntoIterator<Item = (Value, String)>) -> Arc<Self> {
        let steps = arguments
            .into_iter()
            .enumerate()
            .map(|(at, (arguments, needle))| (request(port, token, era, at, "tools/call", json!({ "name": tool, "arguments": arguments })), needle))
            .collect();
        Arc::new(Self { steps })
    }

    /// One request of another method.
    pub(crate) fn one(port: u16, token: Option<&str>, method: &str, params: Value, needle: &str) -> Arc<Self> {
        Arc::new(Self { steps: vec![(request(port, token, Era::Legacy, 1, method, params), needle.to_owned())] })
    }

    /// One script after the other, step by step.
    pub(crate) fn interleaved(scripts: &[Arc<Self>]) -> Arc<Self> {
        let longest = scripts.iter().map(|script| script.steps.len()).max().unwrap_or_default();
        let steps = (0..longest).flat_map(|at| scripts.iter().map(move |script| script.steps[at % script.steps.len()].clone())).collect();
        Arc::new(Self { steps })
    }

    fn step(&self, at: usize) -> (&[u8], &str) {
        let (request, needle) = &self.steps[at % self.steps.len()];
        (request, needle)
    }
}

fn request(port: u16, token: Option<&str>, era: Era, id: usize, method: &str, mut params: Value) -> Vec<u8> {
    use std::fmt::Write;
    let mut head =
        format!("POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nUser-Agent: dunet-bench/1\r\n");
    let mut line = |name: &str, value: &str| write!(head, "{name}: {value}\r\n").expect("a text grows");
    if let Some(token) = token {
        line("Authorization", &format!("Bearer {token}"));
    }
    match era {
        Era::Legacy => line("MCP-Protocol-Version", "2025-11-25"),
        Era::Modern => {
            line("MCP-Protocol-Version", "2026-07-28");
            line("Mcp-Method", method);
            if let Some(name) = params["name"].as_str() {
                line("Mcp-Name", name);
            }
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "dunet-bench", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).expect("a text grows");
    (head + &body).into_bytes()
}

/// One kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer read whole.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// `x-request-id`.
    pub(crate) request_id: Option<u128>,
    pub(crate) body: &'a str,
}

impl Answer<'_> {
    fn good(&self, needle: &str) -> bool {
        self.status == 200 && self.body.contains(needle) && !self.body.contains("\"isError\":true")
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        tokio::time::timeout(ANSWER_MAX, self.exchange(request)).await.map_err(|_| Error::from(ErrorKind::TimedOut))??;
        self.parse()
    }

    /// Sends the first step of a script; the text of an answer that is not good.
    pub(crate) async fn try_step(&mut self, script: &Script) -> std::result::Result<(), String> {
        let (request, needle) = script.step(0);
        match self.call(request).await {
            Ok(answer) if answer.good(needle) => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.body)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The body that the first step of a script is answered with.
    pub(crate) async fn first_body(&mut self, script: &Script) -> Result<&str> {
        let answer = self.call(script.step(0).0).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(Error::other(format!("{} {}", answer.status, answer.body))) }
    }

    /// Reads until the answer is whole: it is what is in the buffer then.
    async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let mut whole = None;
        while whole.is_none_or(|bytes| self.buffer.len() < bytes) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if whole.is_none()
                && let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                let head = text(&self.buffer[..end])?;
                let length: usize = field(head, "content-length").and_then(|value| value.parse().ok()).ok_or_else(|| Error::other(format!("no content length: {head}")))?;
                whole = Some(end + 4 + length);
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(Error::other("an endless answer"));
            }
        }
        Ok(())
    }

    fn parse(&self) -> Result<Answer<'_>> {
        let all = text(&self.buffer)?;
        let (head, body) = all.split_once("\r\n\r\n").ok_or_else(|| Error::other("no head"))?;
        let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| Error::other("no status"))?;
        let request_id = field(head, "x-request-id").and_then(|id| uuid::Uuid::parse_str(id).ok()).map(|id| id.as_u128());
        Ok(Answer { status, request_id, body })
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(Error::other)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What came back.
#[derive(Default)]
pub(crate) struct Tally {
    /// Good answers.
    pub(crate) good: u64,
    /// Answers that were not, and connections that broke.
    pub(crate) bad: u64,
    /// One of them, for people.
    pub(crate) bad_example: Option<String>,
    /// Of good answers.
    pub(crate) latencies: Vec<Duration>,
    /// Request ids of good answers, where they were asked for.
    pub(crate) ids: Vec<u128>,
    /// How long the round took.
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) fn per_second(&self) -> f64 {
        self.good as f64 / self.took.as_secs_f64()
    }

    /// The latency below which that share of the good answers came, milliseconds.
    pub(crate) fn quantile_ms(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let at = (self.latencies.len().saturating_sub(1) as f64 * share).round() as usize;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }

    fn note(&mut self, outcome: Result<Answer<'_>>, needle: &str, latency: Duration) {
        match outcome {
            Ok(answer) if answer.good(needle) => {
                self.good += 1;
                self.latencies.push(latency);
                self.ids.extend(answer.request_id);
            }
            Ok(answer) => self.spoilt(|| format!("{} {}", answer.status, answer.body.chars().take(300).collect::<String>())),
            Err(error) => self.spoilt(|| error.to_string()),
        }
    }

    fn spoilt(&mut self, example: impl FnOnce() -> String) {
        self.bad += 1;
        self.bad_example.get_or_insert_with(example);
    }

    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.bad += other.bad;
        self.bad_example = self.bad_example.take().or(other.bad_example);
        self.latencies.extend(other.latencies);
        self.ids.extend(other.ids);
    }
}

/// Closed loop: that many connections, each asking again as soon as it was answered. A connection that breaks is opened again, unless
/// `until_broken`: then it ends, since the server was killed on purpose.
pub(crate) async fn closed(address: SocketAddr, script: &Arc<Script>, connections: usize, duration: Duration, until_broken: bool) -> Tally {
    let began = Instant::now();
    let end = began + duration;
    let mut clients = JoinSet::new();
    for first in 0..connections {
        let script = Arc::clone(script);
        clients.spawn(async move {
            let mut tally = Tally::default();
            // Far apart, so that the connections do not ask the same at the same time.
            let mut at = first * 997;
            while Instant::now() < end {
                let mut connection = match Connection::open(address).await {
                    Ok(connection) => connection,
                    Err(_) if until_broken => return tally,
                    Err(error) => {
                        tally.spoilt(|| error.to_string());
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                loop {
                    let sent = Instant::now();
                    if sent >= end {
                        return tally;
                    }
                    let (request, needle) = script.step(at);
                    at += 1;
                    let outcome = connection.call(request).await;
                    let broken = outcome.is_err();
                    if broken && until_broken {
                        return tally;
                    }
                    tally.note(outcome, needle, sent.elapsed());
                    if broken {
                        break;
                    }
                }
            }
            tally
        });
    }
    let mut all = Tally::default();
    while let Some(tally) = clients.join_next().await {
        all.add(tally.expect("no panic"));
    }
    all.took = began.elapsed();
    all
}

/// How an open loop keeps time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// By asking the clock all the time: exact, and takes the whole core.
    Spinning,
    /// By a thread that sleeps: some 0.1 ms late, and leaves the core to others.
    Sleeping,
}

/// Open loop: so many requests a second whether they are answered or not. A latency begins when the request was due, not when it was sent.
pub(crate) async fn open(address: SocketAddr, script: &Arc<Script>, per_second: u32, duration: Duration, pace: Pace) -> Tally {
    let period = Duration::from_secs(1) / per_second;
    let count = (duration.as_secs_f64() * f64::from(per_second)) as u32;
    let idle: Arc<Mutex<VecDeque<Connection>>> = Arc::default();
    for _ in 0..8 {
        if let Ok(connection) = Connection::open(address).await {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(connection);
        }
    }
    let start = Instant::now() + Duration::from_millis(5);
    let mut due = match pace {
        Pace::Spinning => None,
        Pace::Sleeping => Some(ticks(start, period, count)),
    };
    let mut calls = JoinSet::new();
    let tally: Arc<Mutex<Tally>> = Arc::default();
    for at in 0..count {
        let when = start + period * at;
        match &mut due {
            Some(due) => drop(due.recv().await),
            None => {
                while Instant::now() < when {
                    tokio::task::yield_now().await;
                }
            }
        }
        let (script, idle, tally) = (Arc::clone(script), Arc::clone(&idle), Arc::clone(&tally));
        calls.spawn(async move {
            let (request, needle) = script.step(at as usize);
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let opened = match free {
                Some(connection) => Ok(connection),
                None => Connection::open(address).await,
            };
            let note = |outcome: Result<Answer<'_>>| tally.lock().unwrap_or_else(PoisonError::into_inner).note(outcome, needle, when.elapsed());
            match opened {
                Ok(mut connection) => {
                    let outcome = connection.call(request).await;
                    let broken = outcome.is_err();
                    note(outcome);
                    if !broken {
                        idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(connection);
                    }
                }
                Err(error) => note(Err(error)),
            }
        });
        while calls.try_join_next().is_some() {}
    }
    let unanswered = tokio::time::timeout(LEFT_OVER_MAX, async { while calls.join_next().await.is_some() {} }).await.is_err();
    let mut all = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    if unanswered {
        all.bad += calls.len() as u64;
        all.bad_example.get_or_insert_with(|| "no answer".to_owned());
    }
    all.took = start.elapsed();
    all
}

/// A message each time something is due.
fn ticks(start: Instant, period: Duration, count: u32) -> mpsc::UnboundedReceiver<()> {
    let (due, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for at in 0..count {
            std::thread::sleep((start + period * at).saturating_duration_since(Instant::now()));
            if due.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}
