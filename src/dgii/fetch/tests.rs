//! The download against a loopback server that behaves as the DGII's does, and worse.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::*;

const ETAG: &str = "\"week-1\"";

/// What the stub does with the next requests.
#[derive(Debug, Clone)]
enum Behaviour {
    /// Serves the file with ETag, conditional requests and ranges.
    Serve,
    /// As `Serve`, but closes after this many bytes of body.
    BreakAfter(usize),
    /// As `Serve`, but with another ETag: the file of next week.
    NextWeek,
    /// A fixed answer: status line, headers, body.
    Answer(&'static str, String, Vec<u8>),
    /// Redirects to this place, or serves when it is asked there.
    Redirect(String),
    /// Sends half and then nothing.
    Stall,
}

struct Stub {
    base: Url,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A body that begins and ends like a zip.
fn zip_like(fill: u8) -> Vec<u8> {
    let mut body = b"PK\x03\x04".to_vec();
    body.extend(std::iter::repeat_n(fill, 300_000));
    body.extend_from_slice(b"PK\x05\x06");
    body.extend([0; 18]);
    body
}

impl Stub {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = Url::parse(&format!("http://{}/rnc/", listener.local_addr().unwrap())).unwrap();
        let stub = Self { base, behaviour: Arc::new(Mutex::new(behaviour)), requests: Arc::default() };
        let (behaviour, requests) = (Arc::clone(&stub.behaviour), Arc::clone(&stub.requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let now = behaviour.lock().unwrap().clone();
                answer(stream, &now, &requests);
            }
        });
        stub
    }

    fn now(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// The requests since the last call, headers and all, in lower case.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    fn options(&self) -> FetchOptions {
        let _ = rustls::crypto::ring::default_provider().install_default();
        FetchOptions { base_url: self.base.clone(), files: vec![SourceKind::Txt], connect_timeout_ms: 2000, read_timeout_ms: 300, ..FetchOptions::default() }
    }

    async fn fetch(&self, dir: &TempDir) -> Result<FetchedFile, FetchError> {
        let mut report = fetch(dir.path(), &self.options()).await.unwrap();
        match report.failures.pop() {
            Some((_, error)) => Err(error),
            None => Ok(report.files.pop().unwrap()),
        }
    }
}

fn answer(mut stream: TcpStream, behaviour: &Behaviour, requests: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let request = String::from_utf8(head).unwrap().to_lowercase();
    requests.lock().unwrap().push(request.clone());
    let header = |name: &str| request.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    let (body, etag) = if matches!(behaviour, Behaviour::NextWeek) { (zip_like(b'n'), "\"week-2\"") } else { (zip_like(b'x'), ETAG) };
    let (mut status, mut extra, mut part) = ("200 OK", String::new(), &body[..]);
    match behaviour {
        Behaviour::Answer(status, headers, body) => {
            let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(body);
            return;
        }
        Behaviour::Redirect(to) if !request.starts_with("get /there/") => {
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        _ => {}
    }
    if header("if-none-match").as_deref() == Some(etag) {
        (status, part) = ("304 Not Modified", &[]);
    } else if let Some(range) = header("range") {
        let start: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
        if header("if-range").as_deref() == Some(etag) {
            if start >= body.len() {
                (status, part) = ("416 Range Not Satisfiable", &[]);
            } else {
                (status, part) = ("206 Partial Content", &body[start..]);
                extra = format!("Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
            }
        }
    }
    let _ =
        write!(stream, "HTTP/1.1 {status}\r\n{extra}ETag: {etag}\r\nLast-Modified: Sat, 21 Nov 2026 05:00:59 GMT\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", part.len());
    match behaviour {
        Behaviour::BreakAfter(bytes) => drop(stream.write_all(&part[..part.len().min(*bytes)])),
        Behaviour::Stall => {
            let _ = stream.write_all(&part[..part.len() / 2]);
            // Held open until the client gives up.
            let _ = stream.read(&mut byte);
        }
        _ => drop(stream.write_all(part)),
    }
}

#[tokio::test]
async fn a_second_fetch_costs_one_conditional_request() {
    let (stub, dir) = (Stub::start(Behaviour::Serve), tempfile::tempdir().unwrap());
    let first = stub.fetch(&dir).await.unwrap();
    assert!(first.is_new);
    assert_eq!(std::fs::read(&first.path).unwrap(), zip_like(b'x'));
    let request = stub.requests().pop().unwrap();
    assert!(request.starts_with("get /rnc/dgii_rnc.zip http/1.1") && request.contains("user-agent: dunet/0.1 (+contact)"), "{request}");
    let second = stub.fetch(&dir).await.unwrap();
    assert_eq!((second.is_new, second.received_bytes), (false, 0));
    let requests = stub.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains("if-none-match: \"week-1\"") && requests[0].contains("if-modified-since: sat, 21 nov 2026"), "{requests:?}");
    stub.now(Behaviour::NextWeek);
    let third = stub.fetch(&dir).await.unwrap();
    assert!(third.is_new && std::fs::read(&third.path).unwrap() == zip_like(b'n'));
    // A file that was taken away is downloaded again, whatever is remembered.
    std::fs::remove_file(&third.path).unwrap();
    assert!(stub.fetch(&dir).await.unwrap().is_new);
}

#[tokio::test]
async fn a_broken_download_is_taken_up_where_it_ended() {
    let (stub, dir) = (Stub::start(Behaviour::BreakAfter(100_000)), tempfile::tempdir().unwrap());
    let error = stub.fetch(&dir).await.unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { kept_bytes: 100_000, .. }), "{error}");
    assert!(!dir.path().join("DGII_RNC.zip").exists());
    stub.requests();
    stub.now(Behaviour::Serve);
    let file = stub.fetch(&dir).await.unwrap();
    assert_eq!(file.received_bytes, zip_like(b'x').len() as u64 - 100_000);
    assert_eq!(std::fs::read(&file.path).unwrap(), zip_like(b'x'));
    let requests = stub.requests();
    assert!(requests.len() == 1 && requests[0].contains("range: bytes=100000-") && requests[0].contains("if-range: \"week-1\""), "{requests:?}");
    assert!(!dir.path().join("DGII_RNC.zip.part").exists());
}

#[tokio::test]
async fn a_part_of_last_week_is_not_glued_to_this_week() {
    let (stub, dir) = (Stub::start(Behaviour::BreakAfter(100_000)), tempfile::tempdir().unwrap());
    stub.fetch(&dir).await.unwrap_err();
    stub.now(Behaviour::NextWeek);
    let file = stub.fetch(&dir).await.unwrap();
    assert_eq!(std::fs::read(&file.path).unwrap(), zip_like(b'n'));
    // A part as long as the whole file: the server refuses the range, and the file comes from the beginning.
    std::fs::remove_file(&file.path).unwrap();
    std::fs::write(dir.path().join("DGII_RNC.zip.part"), zip_like(b'x')).unwrap();
    std::fs::write(dir.path().join("DGII_RNC.zip.json"), r#"{"part":{"etag":"\"week-1\""}}"#).unwrap();
    stub.now(Behaviour::Serve);
    assert!(stub.fetch(&dir).await.unwrap().is_new);
    assert_eq!(std::fs::read(&file.path).unwrap(), zip_like(b'x'));
}

#[tokio::test]
async fn silence_and_lateness_end_the_download_and_keep_what_came() {
    let (stub, dir) = (Stub::start(Behaviour::Stall), tempfile::tempdir().unwrap());
    let error = stub.fetch(&dir).await.unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { kept_bytes, .. } if kept_bytes > 0), "{error}");
    let late = FetchOptions { read_timeout_ms: 60_000, total_timeout_ms: 200, ..stub.options() };
    let report = fetch(dir.path(), &late).await.unwrap();
    assert!(matches!(report.failures[0].1, FetchError::Interrupted { .. }), "{report:?}");
    assert!(!report.is_complete());
}

#[tokio::test]
async fn refusals_are_told_as_they_are() {
    let page = b"<!DOCTYPE html><html><head><title>Acceso Denegado</title></head><body></body></html>".to_vec();
    type Expected = fn(&FetchError) -> bool;
    let cases: [(&'static str, &str, Vec<u8>, Expected); 8] = [
        ("403 Forbidden", "", page.clone(), |e| matches!(e, FetchError::Refused { status: 403 })),
        ("200 OK", "", page.clone(), |e| matches!(e, FetchError::Html)),
        ("200 OK", "", b"not a zip".to_vec(), |e| matches!(e, FetchError::NotAZip)),
        ("200 OK", "", b"PK\x03\x04 without an end".to_vec(), |e| matches!(e, FetchError::NotAZip)),
        ("404 Not Found", "", page.clone(), |e| matches!(e, FetchError::Gone { .. })),
        ("503 Service Unavailable", "Retry-After: 120\r\n", page.clone(), |e| matches!(e, FetchError::ServerBusy { retry_after_s: Some(120), .. })),
        ("206 Partial Content", "Content-Range: bytes 5-9/10\r\n", zip_like(b'x'), |e| matches!(e, FetchError::UnexpectedStatus { .. })),
        ("418 I'm a teapot", "", page, |e| matches!(e, FetchError::UnexpectedStatus { status: 418 })),
    ];
    for (status, headers, body, expected) in cases {
        let (stub, dir) = (Stub::start(Behaviour::Answer(status, headers.to_owned(), body)), tempfile::tempdir().unwrap());
        let error = stub.fetch(&dir).await.unwrap_err();
        assert!(expected(&error), "{status}: {error:?}");
        assert!(!dir.path().join("DGII_RNC.zip").exists() && !dir.path().join("DGII_RNC.zip.part").exists(), "{status}");
    }
}

#[tokio::test]
async fn a_refusal_ends_the_visit_but_other_failures_do_not() {
    let (stub, dir) = (Stub::start(Behaviour::Answer("403 Forbidden", String::new(), Vec::new())), tempfile::tempdir().unwrap());
    let both = FetchOptions { files: vec![SourceKind::Txt, SourceKind::Csv], ..stub.options() };
    assert_eq!(fetch(dir.path(), &both).await.unwrap().failures.len(), 1);
    assert_eq!(stub.requests().len(), 1);
    stub.now(Behaviour::Answer("404 Not Found", String::new(), Vec::new()));
    assert_eq!(fetch(dir.path(), &both).await.unwrap().failures.len(), 2);
}

#[tokio::test]
async fn redirects_stay_on_the_allowed_hosts() {
    let (stub, dir) = (Stub::start(Behaviour::Serve), tempfile::tempdir().unwrap());
    for to in [
        "http://203.0.113.7/DGII_RNC.zip",
        "https://dgii.gov.do.example/x.zip",
        "http://dgii.gov.do/x.zip",
        "//example.org/x",
        "file:///etc/passwd",
        "https://dgii.gov.do:8443/x.zip",
        "",
    ] {
        stub.now(Behaviour::Redirect(to.to_owned()));
        let error = stub.fetch(&dir).await.unwrap_err();
        assert!(matches!(error, FetchError::ForeignRedirect { .. }), "{to}: {error:?}");
    }
    stub.now(Behaviour::Redirect("/there/DGII_RNC.zip".to_owned()));
    assert!(stub.fetch(&dir).await.unwrap().is_new);
    stub.now(Behaviour::Redirect("/circle".to_owned()));
    stub.requests();
    assert!(matches!(stub.fetch(&dir).await.unwrap_err(), FetchError::TooManyRedirects));
    assert_eq!(stub.requests().len(), 4);
    let official = Url::parse(OFFICIAL_BASE).unwrap();
    assert!(allowed(&official, &Url::parse("https://www.dgii.gov.do/rnc/DGII_RNC.zip").unwrap()));
    assert!(!allowed(&official, &Url::parse("https://user@dgii.gov.do.evil/").unwrap()));
}

#[tokio::test]
async fn too_large_is_refused() {
    let (stub, dir) = (Stub::start(Behaviour::Serve), tempfile::tempdir().unwrap());
    let small = FetchOptions { zip_bytes_max: 1000, ..stub.options() };
    let report = fetch(dir.path(), &small).await.unwrap();
    assert!(matches!(report.failures[0].1, FetchError::TooLarge { zip_bytes_max: 1000 }), "{report:?}");
    assert!(!dir.path().join("DGII_RNC.zip.part").exists());
}

#[tokio::test]
async fn nobody_there_and_somebody_else_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let gone = {
        let stub = Stub::start(Behaviour::Serve);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        FetchOptions { base_url: Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap(), ..stub.options() }
    };
    let report = fetch(dir.path(), &gone).await.unwrap();
    assert!(matches!(report.failures[0].1, FetchError::Unreachable { .. }), "{report:?}");
    let _held = FolderLock::take(&dir.path().join("fetch.lock")).unwrap().unwrap();
    assert!(matches!(fetch(dir.path(), &gone).await, Err(FetchError::Busy)));
}
