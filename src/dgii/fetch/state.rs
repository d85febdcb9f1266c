//! What is remembered between two fetches: the validators of the complete file and of the part. One small file per
//! download; losing it costs one download, nothing else.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::header::{self, HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::dgii::report::SourceKind;

/// What a server said to recognise a version of a file by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct FetchState {
    /// Of the complete file.
    pub(super) done: Option<Validators>,
    /// Of the part of a download that broke off.
    pub(super) part: Option<Validators>,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Self { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
    }

    /// The value of `If-Range`: a weak ETag is not allowed there.
    pub(super) fn for_range(&self) -> Option<String> {
        self.etag.clone().filter(|e| !e.starts_with("W/")).or_else(|| self.last_modified.clone())
    }
}

impl FetchState {
    /// What was saved; nothing, if it cannot be read.
    pub(super) async fn load(dir: &Path, kind: SourceKind) -> Self {
        fs::read(path(dir, kind)).await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) async fn save(&self, dir: &Path, kind: SourceKind) -> io::Result<()> {
        let temp = path(dir, kind).with_extension("json.tmp");
        fs::write(&temp, serde_json::to_vec(self)?).await?;
        fs::rename(temp, path(dir, kind)).await
    }
}

fn path(dir: &Path, kind: SourceKind) -> PathBuf {
    dir.join(format!("{}.json", kind.official_name()))
}
