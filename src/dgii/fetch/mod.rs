//! Polite download of the two official zips into a folder; importing them is the caller's next step.
//!
//! Polite: one conditional request per file (`If-None-Match`, `If-Modified-Since`), a broken download is taken up
//! where it ended (`Range` with `If-Range`), an honest User-Agent. The DGII is known to answer 403 to programs: that
//! is reported as what it is, never worked around. Requests go to the allowed hosts only, after redirects too.
//!
//! It never deletes a complete file before the next one is complete, so that a caller may import after every
//! fetch: an unchanged file is recognised by the import itself.

mod error;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use url::Url;

pub use self::error::FetchError;
use self::state::{FetchState, Validators};
use super::archive::looks_like_html;
use super::report::SourceKind;
use super::store::FolderLock;

/// Where the DGII publishes both files.
pub const OFFICIAL_BASE: &str = "https://dgii.gov.do/app/WebApps/Consultas/RNC/";
/// Hosts a download may come from, besides the one of [`FetchOptions::base_url`].
const OFFICIAL_HOSTS: [&str; 2] = ["dgii.gov.do", "www.dgii.gov.do"];
const REDIRECTS_MAX: usize = 3;
/// A zip's closing record lies at most this far from its end (22 bytes and a comment of 65,535).
const ZIP_TAIL_BYTES: u64 = 22 + 65_535;
/// A broken resume is answered by one more request from the beginning.
const ATTEMPTS_MAX: usize = 2;

/// How to download.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Folder of both files, ending in a slash. Its own host (and port) is allowed beside the official ones.
    pub base_url: Url,
    /// Who asks. The default is honest; the DGII may refuse it.
    pub user_agent: String,
    /// Which files, in this order.
    pub files: Vec<SourceKind>,
    /// Time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest silence while reading, in milliseconds.
    pub read_timeout_ms: u64,
    /// Time for one file altogether, in milliseconds; what came until then is kept for the next time.
    pub total_timeout_ms: u64,
    /// Largest zip, in bytes.
    pub zip_bytes_max: u64,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            base_url: Url::parse(OFFICIAL_BASE).expect("a constant that is an address"),
            user_agent: "Dunet/0.1 (+contact)".to_owned(),
            files: vec![SourceKind::Txt, SourceKind::Csv],
            connect_timeout_ms: 15_000,
            read_timeout_ms: 60_000,
            total_timeout_ms: 30 * 60_000,
            zip_bytes_max: 100_000_000,
        }
    }
}

/// A complete file in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Which of the two.
    pub kind: SourceKind,
    /// Where it lies.
    pub path: PathBuf,
    /// It was downloaded now; otherwise the server said that it has not changed.
    pub is_new: bool,
    /// Bytes that came over the wire for it now.
    pub received_bytes: u64,
}

/// The end of a fetch. Import when [`Self::is_complete`]: one file without the other would lose columns or mix weeks.
#[derive(Debug, Default)]
pub struct FetchReport {
    /// Complete files, new or unchanged.
    pub files: Vec<FetchedFile>,
    /// Files that could not be had, and why.
    pub failures: Vec<(SourceKind, FetchError)>,
}

impl FetchReport {
    /// Every file asked for is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && !self.files.is_empty()
    }
}

/// Downloads what has changed into `dir`, which is made if need be.
///
/// # Errors
/// [`FetchError::Busy`] or [`FetchError::Io`] when the folder cannot be used at all; what goes wrong with one file
/// stands in the report. After a refusal the other file is not asked for.
pub async fn fetch(dir: &Path, options: &FetchOptions) -> Result<FetchReport, FetchError> {
    fs::create_dir_all(dir).await?;
    let _lock = FolderLock::take(&dir.join("fetch.lock"))?.ok_or(FetchError::Busy)?;
    let client = Client::builder()
        .user_agent(&options.user_agent)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
        .read_timeout(Duration::from_millis(options.read_timeout_ms))
        .build()
        .map_err(|e| unreachable_host(&options.base_url, &e))?;
    let mut report = FetchReport::default();
    for kind in &options.files {
        let mut download = Download { dir, options, client: &client, kind: *kind, state: FetchState::load(dir, *kind).await };
        match download.run().await {
            Ok(file) => report.files.push(file),
            Err(error) => {
                let refused = matches!(error, FetchError::Refused { .. });
                report.failures.push((*kind, error));
                if refused {
                    break;
                }
            }
        }
    }
    Ok(report)
}

/// One file on its way.
struct Download<'a> {
    dir: &'a Path,
    options: &'a FetchOptions,
    client: &'a Client,
    kind: SourceKind,
    state: FetchState,
}

impl Download<'_> {
    async fn run(&mut self) -> Result<FetchedFile, FetchError> {
        let deadline = Instant::now() + Duration::from_millis(self.options.total_timeout_ms);
        for _ in 0..ATTEMPTS_MAX {
            let have = self.resumable().await;
            let response = match timeout_at(deadline, self.ask(have)).await {
                Ok(response) => response?,
                Err(_) => return Err(FetchError::Interrupted { kept_bytes: have, cause: "out of time".to_owned() }),
            };
            let resumes = match response.status() {
                StatusCode::NOT_MODIFIED if have == 0 => return Ok(self.file(false, 0)),
                StatusCode::OK => false,
                StatusCode::PARTIAL_CONTENT if have > 0 && continues_at(&response, have) => true,
                // The part does not fit what the server has now: from the beginning.
                StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
                    self.forget_part().await?;
                    continue;
                }
                status => return Err(refusal(status, &response)),
            };
            return self.receive(response, if resumes { have } else { 0 }, deadline).await;
        }
        Err(FetchError::UnexpectedStatus { status: StatusCode::RANGE_NOT_SATISFIABLE.as_u16() })
    }

    /// Sends the request and follows redirects by hand, each checked.
    async fn ask(&self, have: u64) -> Result<Response, FetchError> {
        let base = &self.options.base_url;
        let mut url = base.join(self.kind.official_name()).map_err(|_| FetchError::ForeignRedirect { to: base.to_string() })?;
        for _ in 0..=REDIRECTS_MAX {
            let request = self.client.get(url.clone()).headers(self.headers(have).await);
            let response = request.send().await.map_err(|e| unreachable_host(&url, &e))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).unwrap_or_default();
            let next = url.join(location).ok().filter(|to| !location.is_empty() && allowed(base, to));
            url = next.ok_or_else(|| FetchError::ForeignRedirect { to: host_of(&url, location) })?;
        }
        Err(FetchError::TooManyRedirects)
    }

    async fn headers(&self, have: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name, value: Option<String>| {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
                headers.insert(name, value);
            }
        };
        put(header::ACCEPT, Some("application/zip, application/octet-stream, */*;q=0.5".to_owned()));
        if have > 0 {
            put(header::RANGE, Some(format!("bytes={have}-")));
            put(header::IF_RANGE, self.state.part.as_ref().and_then(Validators::for_range));
        } else if let Some(done) = self.state.done.as_ref().filter(|_| self.path().exists()) {
            put(header::IF_NONE_MATCH, done.etag.clone());
            put(header::IF_MODIFIED_SINCE, done.last_modified.clone());
        }
        headers
    }

    /// Writes the body behind what is already there, checks the whole, and puts it in its place.
    async fn receive(&mut self, mut response: Response, have: u64, deadline: Instant) -> Result<FetchedFile, FetchError> {
        let zip_bytes_max = self.options.zip_bytes_max;
        if response.content_length().unwrap_or(0).saturating_add(have) > zip_bytes_max {
            self.forget_part().await?;
            return Err(FetchError::TooLarge { zip_bytes_max });
        }
        if have == 0 {
            self.forget_part().await?;
            self.state.part = Some(Validators::of(response.headers()));
            self.state.save(self.dir, self.kind).await?;
        }
        let mut file = fs::File::options().create(true).append(true).open(self.part()).await?;
        let mut size = have;
        let broke_off = loop {
            match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    if size == 0 && !chunk.starts_with(b"PK") {
                        drop(file);
                        self.forget_part().await?;
                        return Err(if looks_like_html(&chunk) { FetchError::Html } else { FetchError::NotAZip });
                    }
                    size += u64::try_from(chunk.len()).expect("a chunk's length fits in 64 bits");
                    if size > zip_bytes_max {
                        drop(file);
                        self.forget_part().await?;
                        return Err(FetchError::TooLarge { zip_bytes_max });
                    }
                    file.write_all(&chunk).await?;
                }
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => break Some(root_cause(&error)),
                Err(_) => break Some("out of time".to_owned()),
            }
        };
        file.flush().await?;
        if let Some(cause) = broke_off {
            return Err(FetchError::Interrupted { kept_bytes: size, cause });
        }
        file.sync_all().await?;
        drop(file);
        if !ends_like_a_zip(&self.part()).await? {
            // A body without a length that ended early looks complete; a part that was put together wrongly too.
            self.forget_part().await?;
            return Err(FetchError::NotAZip);
        }
        fs::rename(self.part(), self.path()).await?;
        self.state.done = self.state.part.take();
        self.state.save(self.dir, self.kind).await?;
        Ok(self.file(true, size - have))
    }

    /// How many bytes of an earlier try can be continued: only with a validator that says it is the same file.
    async fn resumable(&self) -> u64 {
        if self.state.part.as_ref().and_then(Validators::for_range).is_none() {
            return 0;
        }
        fs::metadata(self.part()).await.map_or(0, |m| m.len())
    }

    async fn forget_part(&mut self) -> Result<(), FetchError> {
        self.state.part = None;
        self.state.save(self.dir, self.kind).await?;
        match fs::remove_file(self.part()).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(self.kind.official_name())
    }

    fn part(&self) -> PathBuf {
        self.dir.join(format!("{}.part", self.kind.official_name()))
    }

    fn file(&self, is_new: bool, received_bytes: u64) -> FetchedFile {
        FetchedFile { kind: self.kind, path: self.path(), is_new, received_bytes }
    }
}

/// The official hosts over https, or the very origin that the setting names.
fn allowed(base: &Url, to: &Url) -> bool {
    let official = to.scheme() == "https" && to.port_or_known_default() == Some(443) && to.host_str().is_some_and(|h| OFFICIAL_HOSTS.contains(&h));
    official || to.origin() == base.origin()
}

fn host_of(from: &Url, location: &str) -> String {
    from.join(location).ok().and_then(|to| to.host_str().map(str::to_owned)).unwrap_or_else(|| "no address".to_owned())
}

/// Whether a 206 goes on exactly where the part ends.
fn continues_at(response: &Response, have: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|r| r.to_str().ok()).unwrap_or_default();
    range.strip_prefix("bytes ").and_then(|r| r.split('-').next()).and_then(|start| start.parse().ok()) == Some(have)
}

fn refusal(status: StatusCode, response: &Response) -> FetchError {
    let status = status.as_u16();
    match status {
        401 | 403 => FetchError::Refused { status },
        404 | 410 => FetchError::Gone { url: response.url().to_string() },
        429 | 500..=599 => {
            let wait = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
            FetchError::ServerBusy { status, retry_after_s: wait }
        }
        _ => FetchError::UnexpectedStatus { status },
    }
}

fn unreachable_host(url: &Url, error: &reqwest::Error) -> FetchError {
    FetchError::Unreachable { host: url.host_str().unwrap_or_default().to_owned(), cause: root_cause(error) }
}

/// The innermost cause: the outer ones repeat the address.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether a file has a zip's closing record near its end.
async fn ends_like_a_zip(path: &Path) -> Result<bool, FetchError> {
    let mut file = fs::File::open(path).await?;
    let size = file.metadata().await?.len();
    file.seek(std::io::SeekFrom::Start(size.saturating_sub(ZIP_TAIL_BYTES))).await?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).await?;
    Ok(tail.windows(4).any(|w| w == b"PK\x05\x06"))
}
