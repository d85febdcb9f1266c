//! Files that a form brings: streamed into a folder of their own within a limit, never kept in memory, never under a path that the sender chose.
//! That the form is ours was checked before (`csrf.rs`): its first part is the token.

use std::path::{Path, PathBuf};

use axum::extract::Multipart;
use axum::extract::multipart::Field;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::error::PageError;
use super::{csrf, once};

/// Fields of a form with files, and how long one may be.
const FIELDS_MAX: usize = 20;
const FIELD_BYTES_MAX: usize = 200;
/// Of a file's name, characters.
const NAME_CHARS_MAX: usize = 60;

/// What came.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Fields that are no files, ours aside, in their order.
    pub(super) fields: Vec<(String, String)>,
    /// Where the files are, in their order; those that were not chosen are not among them.
    pub(super) files: Vec<PathBuf>,
}

/// What may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct UploadLimits {
    /// All files together, bytes.
    pub(super) bytes_max: u64,
    /// How many.
    pub(super) files_max: usize,
    /// The field that brings them.
    pub(super) field: &'static str,
}

/// Why an upload is not taken.
pub(super) enum UploadFault {
    /// Larger than it may be. It was read to its end all the same, within reason: a browser shows no answer before it has sent everything.
    TooLarge,
    /// More files than there may be.
    TooMany,
    /// No form of ours, or our own fault.
    Page(PageError),
}

impl From<PageError> for UploadFault {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

/// Reads a form into that folder.
pub(super) async fn receive(mut form: Multipart, folder: &Path, limits: UploadLimits) -> Result<Upload, UploadFault> {
    let mut upload = Upload::default();
    let (mut bytes, mut fault) = (0, None);
    for _ in 0..FIELDS_MAX {
        let Some(mut field) = form.next_field().await.map_err(|error| cut(&error))? else {
            return fault.map_or(Ok(upload), Err);
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name != limits.field {
            let text = text(&mut field).await?;
            if name != csrf::FIELD && name != once::FIELD {
                upload.fields.push((name, text));
            }
            continue;
        }
        let Some(file_name) = field.file_name().map(|name| safe_name(name, upload.files.len())) else { return Err(PageError::BadForm.into()) };
        let path = folder.join(file_name);
        let mut file = None;
        while let Some(chunk) = field.chunk().await.map_err(|error| cut(&error))? {
            if chunk.is_empty() {
                continue;
            }
            bytes += chunk.len() as u64;
            if bytes > limits.bytes_max.saturating_mul(2) {
                return Err(UploadFault::TooLarge);
            }
            if bytes > limits.bytes_max {
                fault = Some(UploadFault::TooLarge);
            } else if upload.files.len() >= limits.files_max {
                fault.get_or_insert(UploadFault::TooMany);
            }
            if fault.is_some() {
                continue;
            }
            let open = match &mut file {
                Some(open) => open,
                None => file.insert(File::create_new(&path).await.map_err(PageError::internal)?),
            };
            open.write_all(&chunk).await.map_err(PageError::internal)?;
        }
        // A field in which nothing was chosen comes as an empty file.
        if let Some(mut file) = file {
            file.flush().await.map_err(PageError::internal)?;
            upload.files.push(path);
        }
    }
    Err(PageError::BadForm.into())
}

async fn text(field: &mut Field<'_>) -> Result<String, PageError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| cut(&error))? {
        text.extend_from_slice(&chunk);
        if text.len() > FIELD_BYTES_MAX {
            return Err(PageError::BadForm);
        }
    }
    String::from_utf8(text).map_err(|_| PageError::BadForm)
}

/// The sender went away, or what it sends is no form.
fn cut(error: &axum::extract::multipart::MultipartError) -> PageError {
    tracing::debug!(%error, "a form with files ended badly");
    PageError::BadForm
}

/// What is left of a name for people to recognise it by: letters, digits, dots, hyphens; never a path, and never the same twice.
fn safe_name(name: &str, index: usize) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(NAME_CHARS_MAX).collect();
    let plain = plain.trim_start_matches('.');
    let plain = if plain.is_empty() { "zip" } else { plain };
    if index == 0 { plain.to_owned() } else { format!("{}-{plain}", index + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_no_paths() {
        for (name, safe) in [
            ("DGII_RNC.zip", "DGII_RNC.zip"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ana\\RNC (1).zip", "RNC1.zip"),
            ("..", "zip"),
            ("", "zip"),
            (".hidden", "hidden"),
            ("a\0b\n.zip", "ab.zip"),
        ] {
            assert_eq!(safe_name(name, 0), safe, "{name}");
        }
        assert_eq!(safe_name("x.zip", 1), "2-x.zip");
        assert_eq!(safe_name(&"x".repeat(300), 0).len(), NAME_CHARS_MAX);
    }
}
