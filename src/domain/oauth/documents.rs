//! Client ID Metadata Documents: a program whose id is the https address of a small document that says who it is
//! (draft-ietf-oauth-client-id-metadata-document). The address is a stranger's word: it is fetched behind the address guard, within a size and a time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::future::Cache;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::{Host, Url};

use super::applications::{Application, ApplicationKind, name_clean, uris_checked};
use super::{Fault, OAuthError, refused};
use crate::clock::instant;
use crate::odoo::AddressPolicy;
use crate::odoo::outside::{Outside, OutsideError};

/// The largest document, bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 5 * 1_024;
/// The longest time for one, seconds.
const DOCUMENT_WITHIN_S: u64 = 5;
/// Documents remembered.
const DOCUMENTS_MAX: u64 = 1_000;
/// How long at least, at most, and where its server does not say, seconds.
const KEPT_S_MIN: u64 = 60;
const KEPT_S_MAX: u64 = 24 * 3_600;
const KEPT_S_DEFAULT: u64 = 3_600;
/// A failure is remembered for so long, seconds: nobody makes us ask a server again and again.
const FAILED_S: u64 = 60;
/// Fetched at the same time; more wait.
const AT_ONCE: usize = 8;
/// The longest address, bytes.
const URL_BYTES_MAX: usize = 500;

#[derive(Deserialize)]
struct Document {
    client_id: String,
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    client_secret: Option<serde_json::Value>,
}

#[derive(Clone)]
struct Kept {
    found: Result<Application, &'static str>,
    until: Instant,
}

/// Reads and remembers documents. Cheap to clone.
#[derive(Clone)]
pub(super) struct Documents {
    policy: AddressPolicy,
    /// Made when the first document is asked for: most commands never do.
    outside: Arc<OnceLock<Outside>>,
    kept: Cache<String, Kept>,
    places: Arc<Semaphore>,
}

impl Documents {
    pub(super) fn new(policy: AddressPolicy) -> Self {
        let kept = Cache::builder().max_capacity(DOCUMENTS_MAX).time_to_live(Duration::from_secs(KEPT_S_MAX)).build();
        Self { policy, outside: Arc::default(), kept, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The address of a document, if an id is one: https, a path, nothing that could be written in two ways. Where private addresses are allowed
    /// (development), plain http to this very machine too.
    pub(super) fn address(&self, identifier: &str) -> Option<Url> {
        if identifier.len() > URL_BYTES_MAX || !identifier.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let url = Url::parse(identifier).ok()?;
        let here = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && self.policy == AddressPolicy::AllowPrivate && here);
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none() && url.path().len() > 1;
        (scheme && plain && url.as_str() == identifier).then_some(url)
    }

    /// What the document at that address says.
    pub(super) async fn read(&self, url: &Url) -> Result<Application, OAuthError> {
        let said = |found: Result<Application, &'static str>| found.map_err(|about| refused(Fault::InvalidClient, about));
        if let Some(kept) = self.kept.get(url.as_str()).await
            && instant() < kept.until
        {
            return said(kept.found);
        }
        let _place = self.places.acquire().await;
        // Somebody else may have read it meanwhile.
        if let Some(kept) = self.kept.get(url.as_str()).await
            && instant() < kept.until
        {
            return said(kept.found);
        }
        let (found, kept_s) = match self.fetch(url).await {
            Ok((application, max_age_s)) => (Ok(application), max_age_s.unwrap_or(KEPT_S_DEFAULT).clamp(KEPT_S_MIN, KEPT_S_MAX)),
            Err(about) => (Err(about), FAILED_S),
        };
        self.kept.insert(url.as_str().to_owned(), Kept { found: found.clone(), until: instant() + Duration::from_secs(kept_s) }).await;
        said(found)
    }

    async fn fetch(&self, url: &Url) -> Result<(Application, Option<u64>), &'static str> {
        let outside = match self.outside.get() {
            Some(outside) => outside.clone(),
            None => {
                let made = Outside::new(self.policy, DOCUMENT_BYTES_MAX, Duration::from_secs(DOCUMENT_WITHIN_S)).map_err(|error| {
                    tracing::error!(%error, "documents of programs cannot be fetched");
                    "the document cannot be fetched"
                })?;
                self.outside.get_or_init(move || made).clone()
            }
        };
        let document = outside.json(url).await.map_err(|error| {
            tracing::info!(%error, "the document of a program was not to be had");
            match error {
                OutsideError::Refused(_) => "the address of the document may not be reached",
                OutsideError::NoDocument(_) => "there is no document at that address",
                OutsideError::TooLarge(_) => "the document is too large",
            }
        })?;
        Ok((application(url.as_str(), &document.body)?, document.max_age_s))
    }
}

fn application(address: &str, body: &[u8]) -> Result<Application, &'static str> {
    let document: Document = serde_json::from_slice(body).map_err(|_| "the document is not one of a program")?;
    if document.client_id != address {
        return Err("the document's client_id is not its address");
    }
    // A secret in a public document is none. Other ways to prove oneself (a signature) are not asked for: PKCE and the redirect address bind what
    // is handed out.
    if document.client_secret.is_some() || document.token_endpoint_auth_method.as_deref().is_some_and(|method| method.starts_with("client_secret")) {
        return Err("a document's program has no secret");
    }
    let redirect_uris = uris_checked(document.redirect_uris).map_err(|_| "the document names an address that nobody may be sent to")?;
    let name = document.client_name.as_deref().and_then(name_clean).ok_or("the document does not name the program")?;
    Ok(Application {
        identifier: address.to_owned(),
        name,
        kind: ApplicationKind::Document,
        redirect_uris,
        refreshes: document.grant_types.is_none_or(|types| types.iter().any(|kind| kind == "refresh_token")),
        machine: false,
        tenant: None,
        secret_hash: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_is_an_address_only_when_it_is_plain() {
        let documents = Documents::new(AddressPolicy::PublicOnly);
        assert!(documents.address("https://claude.ai/oauth/mcp-oauth-client-metadata").is_some());
        for bad in [
            "https://claude.ai",
            "https://claude.ai/",
            "http://claude.ai/x",
            "http://127.0.0.1/x",
            "https://u@claude.ai/x",
            "https://claude.ai/x#y",
            "https://claude.ai/x?y",
            "https://claude.ai/a/../x",
            "https://CLAUDE.ai/x",
            "https://claude.ai:443/x",
            "dunet_app_x",
            "ftp://claude.ai/x",
        ] {
            assert!(documents.address(bad).is_none(), "{bad}");
        }
        let open = Documents::new(AddressPolicy::AllowPrivate);
        assert!(open.address("http://127.0.0.1:81/x").is_some() && open.address("http://10.0.0.1/x").is_none());
    }

    #[test]
    fn a_document_says_what_it_is() {
        let address = "https://a.do/client";
        let good = json!({ "client_id": address, "client_name": "A", "redirect_uris": ["https://a.do/cb"], "token_endpoint_auth_method": "none", "x": 1 });
        let read = |value: &serde_json::Value| application(address, value.to_string().as_bytes());
        assert_eq!(read(&good).unwrap().name, "A");
        let with = |key: &str, value: serde_json::Value| {
            let mut other = good.clone();
            other[key] = value;
            other
        };
        for bad in [
            with("client_id", json!("https://b.do/client")),
            with("client_id", json!("https://a.do/client/")),
            with("client_name", json!("")),
            with("client_name", json!(null)),
            with("redirect_uris", json!([])),
            with("redirect_uris", json!(["javascript:alert(1)"])),
            with("redirect_uris", json!("https://a.do/cb")),
            with("client_secret", json!("x")),
            with("token_endpoint_auth_method", json!("client_secret_post")),
            json!([]),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
