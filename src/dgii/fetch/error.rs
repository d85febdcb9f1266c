//! Why a download failed; each sentence says what to do.

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// 401 or 403: the DGII refuses programs.
    #[error("the DGII refused the download (status {status}); it does so to programs: download the zip with a browser and import that file")]
    Refused {
        /// What it answered.
        status: u16,
    },
    /// 404 or 410.
    #[error("the file is no longer at {url}: the DGII may have moved it; download it with a browser and import that file")]
    Gone {
        /// Where it was.
        url: String,
    },
    /// A web page with status 200.
    #[error("the DGII sent a web page instead of the file: try again later, or download the zip with a browser and import that file")]
    Html,
    /// Something else that is no zip.
    #[error("what the DGII sent is not a zip: try again later, or download the zip with a browser and import that file")]
    NotAZip,
    /// 429 or a failure of the server.
    #[error("the DGII's server cannot answer now (status {status}): try again later")]
    ServerBusy {
        /// What it answered.
        status: u16,
        /// Seconds it asks to wait.
        retry_after_s: Option<u64>,
    },
    /// Any other status.
    #[error("the DGII answered with the unexpected status {status}")]
    UnexpectedStatus {
        /// What it answered.
        status: u16,
    },
    /// A redirect to a host that is not allowed, or to no address.
    #[error("the DGII redirects to {to}, which is not one of its own addresses: nothing was downloaded")]
    ForeignRedirect {
        /// Where to; host only.
        to: String,
    },
    /// More than three redirects.
    #[error("the DGII redirects in circles: try again later")]
    TooManyRedirects,
    /// The connection ended early or stood still.
    #[error("the download broke off after {kept_bytes} bytes ({cause}); what came is kept and taken up next time")]
    Interrupted {
        /// What is on disk.
        kept_bytes: u64,
        /// What happened.
        cause: String,
    },
    /// No connection.
    #[error("{host} cannot be reached ({cause}): check this machine's connection")]
    Unreachable {
        /// The host.
        host: String,
        /// What happened.
        cause: String,
    },
    /// Larger than allowed.
    #[error("the file is larger than {zip_bytes_max} bytes, which the true one never is: nothing was kept")]
    TooLarge {
        /// The limit.
        zip_bytes_max: u64,
    },
    /// Another fetch is at work.
    #[error("another download is running in this folder: wait until it ends")]
    Busy,
    /// The folder could not be read or written.
    #[error("the folder of downloads: {0}")]
    Io(#[from] std::io::Error),
}
