//! A browser without script: keeps cookies, fills in forms with the hidden fields the page gave, follows no redirect by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use dunet::domain::users::{Level, NewLink, NewUser, Role};
use dunet::ids::TenantId;
use dunet::text::Language;
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use super::{TestApp, actor};

/// A password nobody tries first.
pub(crate) const PASSWORD: &str = "caballo batería grapa 7";

/// A browser.
pub(crate) struct Browser {
    pub base: String,
    http: reqwest::Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    /// Where a redirect leads.
    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value of the first hidden field of that name.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let from = self.text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("no field {name} in {}", self.text));
        from.split('"').next().expect("an end").to_owned()
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()).collect()
    }
}

impl Browser {
    pub(crate) fn new(app: &TestApp) -> Self {
        Self::at(&app.base)
    }

    pub(crate) fn at(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { base: base.to_owned(), http, cookies: Mutex::default() }
    }

    /// The cookie of that name.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().expect("not poisoned").get(name).cloned()
    }

    /// Puts a cookie, as an attacker would.
    pub(crate) fn put_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().expect("not poisoned").insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    /// Sends a form with exactly these fields.
    pub(crate) async fn post_bare(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_with(path, fields, &[]).await
    }

    /// The same with headers.
    pub(crate) async fn post_with(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = self.http.post(format!("{}{path}", self.base)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Sends a form with files, its parts in that order: name, file's name if it is one, content.
    pub(crate) async fn upload(&self, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> Page {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: application/zip")).unwrap_or_default();
            body.extend_from_slice(format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xyz--\r\n");
        self.send(self.http.post(format!("{}{path}", self.base)).header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz").body(body)).await
    }

    /// Opens the page `on` and sends a form from it to `path`, with its hidden `csrf`.
    pub(crate) async fn post(&self, on: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.get(on).await.hidden("csrf");
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.post_bare(path, &all).await
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Page {
        self.post("/admin/entrar", "/admin/entrar", &[("email", email), ("password", password)]).await
    }

    /// Opens an event stream, as a page's script does; `last` is the last event's id of somebody who comes back.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Events {
        let request = self.http.get(format!("{}{path}", self.base)).header(header::ACCEPT, "text/event-stream");
        let request = last.iter().fold(request, |request, last| request.header("last-event-id", *last));
        Events { response: self.with_cookies(request).send().await.expect("an answer"), rest: String::new() }
    }

    fn with_cookies(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let cookies = self.cookies.lock().expect("not poisoned").iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies) }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let response = self.with_cookies(request).send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all(header::SET_COOKIE) {
            let text = set.to_str().expect("a text");
            let (name, value) = text.split(';').next().expect("a pair").split_once('=').expect("a pair");
            let mut cookies = self.cookies.lock().expect("not poisoned");
            if value.is_empty() {
                cookies.remove(name)
            } else {
                cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        // Slashes are escaped in templates; a browser reads them back.
        Page { status, headers, text: response.text().await.expect("a text").replace("&#x2f;", "/") }
    }
}

/// An event stream that is open.
pub(crate) struct Events {
    pub response: reqwest::Response,
    rest: String,
}

/// What a stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub event: String,
    pub data: String,
    pub id: String,
}

/// The longest wait for an event.
const EVENT_WITHIN: Duration = Duration::from_secs(20);

impl Events {
    /// The next event that says something; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        loop {
            while let Some((block, rest)) = self.rest.split_once("\n\n").map(|(block, rest)| (block.to_owned(), rest.to_owned())) {
                self.rest = rest;
                let mut said = Said::default();
                let mut data = Vec::new();
                for line in block.lines() {
                    match line.split_once(':').map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value))) {
                        Some(("event", value)) => value.clone_into(&mut said.event),
                        Some(("id", value)) => value.clone_into(&mut said.id),
                        Some(("data", value)) => data.push(value),
                        _ => {}
                    }
                }
                if !said.event.is_empty() {
                    said.data = data.join("\n").replace("&#x2f;", "/");
                    return Some(said);
                }
            }
            let chunk = tokio::time::timeout(EVENT_WITHIN, self.response.chunk()).await.expect("an event in time");
            // A connection that is cut is an end too.
            match chunk {
                Ok(Some(chunk)) => self.rest.push_str(std::str::from_utf8(&chunk).expect("whole characters")),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Everything up to the event that has that in it.
    pub(crate) async fn until(&mut self, text: &str) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(said) = self.next().await {
            let found = said.data.contains(text);
            all.push(said);
            if found {
                return all;
            }
        }
        panic!("the stream ended without {text}: {all:?}");
    }
}

impl TestApp {
    /// An operator who is signed in.
    pub(crate) async fn operator(&self) -> Browser {
        self.operator_named("operador@dunet.do").await
    }

    /// The same under that address.
    pub(crate) async fn operator_named(&self, email: &str) -> Browser {
        let new = NewUser {
            email: email.to_owned(),
            name: Some("Olga".to_owned()),
            role: Role::Operator,
            language: Language::Es,
            password: Some(SecretString::from(PASSWORD.to_owned())),
        };
        self.state.users.user_create(new, &actor()).await.expect("an operator");
        self.signed_in(email).await
    }

    /// Somebody of a tenant who is signed in, let in by an invitation.
    pub(crate) async fn member(&self, tenant: TenantId, email: &str, level: Level) -> Browser {
        let link = self.state.users.link_make(NewLink::InviteMember { tenant, email: email.to_owned(), level }, &actor()).await.expect("a link");
        let browser = Browser::new(self);
        let path = format!("/admin/enlace/{}", link.expose_secret());
        let page = browser.post(&path, &path, &[("name", "Marta"), ("password", PASSWORD)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        browser
    }

    /// Somebody who signs in with [`PASSWORD`].
    pub(crate) async fn signed_in(&self, email: &str) -> Browser {
        let browser = Browser::new(self);
        let page = browser.sign_in(email, PASSWORD).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        browser
    }
}
