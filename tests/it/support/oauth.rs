//! A program that signs in, as Claude or ChatGPT would: it finds its way by what the service says, one request at a time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dunet::ids::TenantId;
use http::StatusCode;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::TestApp;
use super::mcp::{Answer, send};
use super::portal::{Browser, Page};

/// Where the program's people go back to.
pub(crate) const REDIRECT: &str = "https://claude.ai/api/mcp/auth_callback";
/// What proves that the code is its own.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A program that is known to the service.
#[derive(Clone)]
pub(crate) struct Program {
    pub base: String,
    pub client_id: String,
    pub redirect_uri: String,
}

/// The parameters of an address's query.
pub(crate) fn query(address: &str) -> std::collections::BTreeMap<String, String> {
    let (_, query) = address.split_once('?').unwrap_or_else(|| panic!("no query in {address}"));
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Sends a form to `/oauth/…`.
pub(crate) async fn form(base: &str, path: &str, pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    send("POST", &format!("{base}{path}"), &all, encoded(pairs)).await
}

impl Program {
    /// Registers itself.
    pub(crate) async fn registered(app: &TestApp) -> Self {
        Self::registered_with(app, &json!({ "client_name": "Claude", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" })).await
    }

    pub(crate) async fn registered_with(app: &TestApp, metadata: &Value) -> Self {
        let answer = send("POST", &format!("{}/oauth/register", app.base), &[("content-type", "application/json")], metadata.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let redirect_uri = metadata["redirect_uris"][0].as_str().expect("an address").to_owned();
        Self { base: app.base.clone(), client_id: answer.json()["client_id"].as_str().expect("an id").to_owned(), redirect_uri }
    }

    /// The path and query it sends a browser to, with these parameters instead of the usual ones; an empty value leaves one out.
    pub(crate) fn ask_with(&self, other: &[(&str, &str)]) -> String {
        let (resource, challenge) = (format!("{}/mcp", self.base), challenge(VERIFIER));
        let mut pairs = vec![
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("response_type", "code"),
            ("state", "abc 123"),
            ("scope", "voice sales analyst writes offline_access"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", resource.as_str()),
        ];
        for (name, value) in other {
            match pairs.iter_mut().find(|(known, _)| known == name) {
                Some(pair) => pair.1 = value,
                None => pairs.push((name, value)),
            }
        }
        pairs.retain(|(_, value)| !value.is_empty());
        format!("/admin/autorizar?{}", encoded(&pairs))
    }

    pub(crate) fn ask(&self) -> String {
        self.ask_with(&[])
    }

    /// A signed-in browser goes there: the consent's path and its page.
    pub(crate) async fn consent_page(&self, browser: &Browser, ask: &str) -> (String, Page) {
        let begun = browser.get(ask).await;
        assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text);
        let path = begun.location().to_owned();
        assert!(path.starts_with("/admin/autorizar/"), "{path}");
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        (path, page)
    }

    /// And allows what is ticked: the address the browser is sent to.
    pub(crate) async fn allowed(&self, browser: &Browser, ask: &str) -> String {
        let (path, page) = self.consent_page(browser, ask).await;
        let answer = allow(browser, &path, &page, &ticks(&page)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.location().to_owned()
    }

    /// The code that comes of it.
    pub(crate) async fn code(&self, browser: &Browser) -> String {
        let address = self.allowed(browser, &self.ask()).await;
        query(&address).remove("code").unwrap_or_else(|| panic!("no code in {address}"))
    }

    /// Changes a code.
    pub(crate) async fn change(&self, code: &str, other: &[(&str, &str)]) -> Answer {
        let mut pairs =
            vec![("grant_type", "authorization_code"), ("client_id", &self.client_id), ("code", code), ("redirect_uri", &self.redirect_uri), ("code_verifier", VERIFIER)];
        for (name, value) in other {
            match pairs.iter_mut().find(|(known, _)| known == name) {
                Some(pair) => pair.1 = value,
                None => pairs.push((name, value)),
            }
        }
        pairs.retain(|(_, value)| !value.is_empty());
        form(&self.base, "/oauth/token", &pairs, &[]).await
    }

    /// Changes a refresh token.
    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        form(&self.base, "/oauth/token", &[("grant_type", "refresh_token"), ("client_id", &self.client_id), ("refresh_token", token)], &[]).await
    }

    /// All of it: access and refresh token.
    pub(crate) async fn connected(&self, browser: &Browser) -> (String, String) {
        let code = self.code(browser).await;
        let tokens = self.change(&code, &[]).await.json();
        (text(&tokens, "access_token"), text(&tokens, "refresh_token"))
    }
}

/// A member of a text of an answer.
pub(crate) fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// The tools that are offered on a page, all of them ticked.
pub(crate) fn ticks(page: &Page) -> Vec<String> {
    page.text.split("name=\"tools\" value=\"").skip(1).map(|rest| rest.split('"').next().expect("an end").to_owned()).collect()
}

/// Presses the button, with these tools ticked.
pub(crate) async fn allow(browser: &Browser, path: &str, page: &Page, tools: &[String]) -> Page {
    let (csrf, key, tenant) = (page.hidden("csrf"), page.hidden("form_key"), page.hidden("tenant"));
    let mut fields = vec![("csrf", csrf.as_str()), ("form_key", key.as_str()), ("tenant", tenant.as_str()), ("days", "90"), ("decision", "allow")];
    fields.extend(tools.iter().map(|tool| ("tools", tool.as_str())));
    browser.post_bare(path, &fields).await
}

/// The grants of a tenant that are alive, by their ids.
pub(crate) async fn grants(app: &TestApp, tenant: TenantId) -> Vec<uuid::Uuid> {
    use dunet::db::entities::oauth_grants;
    use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
    let rows = oauth_grants::Entity::find().filter(oauth_grants::Column::ClientId.eq(tenant.uuid())).filter(oauth_grants::Column::RevokedAt.is_null());
    rows.all(&app.state.db).await.expect("rows").into_iter().map(|row| row.id).collect()
}
