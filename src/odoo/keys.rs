//! API keys of the user who is signed in: what Odoo tells of them, and making another in their place.
//!
//! Odoo 18 and later let a key end; before, none ends. A key may make and revoke keys itself (`res.users.apikeys.generate`, `revoke`) in builds of
//! Odoo 19 since May 2026, for administrators, or for everybody where the system parameter `base.enable_programmatic_api_keys` is set. Where that is not so,
//! only a person with their password can, over the web client's own session ([`KeyByPassword`]).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::Method;
use http::header::SET_COOKIE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::asking::{Asker, Question, Unanswered};
use super::client::{OdooClient, object};
use super::config::OdooConfig;
use super::connect::looks_like_api_key;
use super::error::{OdooError, OdooErrorKind as Kind};

/// Keys of one user that are looked at.
const KEYS_MAX: u32 = 100;
/// What is read of an answer of the web client's, bytes, and how long it may take.
const ANSWER_BYTES_MAX: usize = 262_144;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The scope of keys for the external API.
const SCOPE: &str = "rpc";

/// What Odoo tells of a key. Never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// Its id.
    pub id: i64,
    /// How its owner called it.
    pub name: String,
    /// When it was made, UTC.
    pub made_at: Option<DateTime<Utc>>,
    /// When it ends, UTC; none never does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Whether that secret has the form of an Odoo API key; passwords of that form do not occur.
#[must_use]
pub fn is_api_key(secret: &SecretString) -> bool {
    looks_like_api_key(secret.expose_secret())
}

impl OdooClient {
    /// The user's keys for the external API that have not ended; none where this Odoo's keys do not end (before 18).
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn own_keys(&self) -> Result<Option<Vec<OwnKey>>, OdooError> {
        let named = object(json!({
            "domain": [["user_id", "=", self.uid()], "|", ["scope", "=", false], ["scope", "=", SCOPE]],
            "fields": ["name", "create_date", "expiration_date"],
            "limit": KEYS_MAX,
        }));
        match self.call_read("res.users.apikeys", "search_read", None, named).await {
            Ok(rows) => Ok(Some(keys_of(&rows))),
            Err(error) if matches!(error.kind, Kind::UnknownField | Kind::UnknownModel) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a key by an existing one of the same user. Not every Odoo lets one: [`Kind::UnknownMethod`] where it has no such method,
    /// [`Kind::Validation`] where it is switched off or the end is too far away.
    ///
    /// # Errors
    /// Any [`OdooError`]; see [`OdooError::outcome_unknown`].
    pub async fn key_make(&self, by: &SecretString, name: &str, expires_at: DateTime<Utc>) -> Result<SecretString, OdooError> {
        let named = object(json!({ "key": by.expose_secret(), "scope": SCOPE, "name": name, "expiration_date": expires_at.format("%Y-%m-%d %H:%M:%S").to_string() }));
        match self.call_write("res.users.apikeys", "generate", None, named).await? {
            Value::String(key) if looks_like_api_key(&key) => Ok(SecretString::from(key)),
            _ => Err(OdooError::new(Kind::ServerFault, "Odoo answered something that is no key", "")),
        }
    }

    /// Revokes a key of the same user, as [`Self::key_make`] may make one.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn key_revoke(&self, key: &SecretString) -> Result<(), OdooError> {
        self.call_write("res.users.apikeys", "revoke", None, object(json!({ "key": key.expose_secret() }))).await.map(drop)
    }
}

/// The rows of a search as keys.
fn keys_of(rows: &Value) -> Vec<OwnKey> {
    let at = |value: &Value| value.as_str().and_then(|text| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()).map(|at| at.and_utc());
    let key = |row: &Value| {
        Some(OwnKey {
            id: row["id"].as_i64()?,
            name: row["name"].as_str().unwrap_or_default().to_owned(),
            made_at: at(&row["create_date"]),
            expires_at: at(&row["expiration_date"]),
        })
    };
    rows.as_array().into_iter().flatten().filter_map(key).collect()
}

/// Why a person's session makes no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyByPasswordError {
    /// The user and the password do not fit.
    #[error("Odoo does not take that user and password")]
    Password,
    /// Odoo asks for a second factor, which only a person can give.
    #[error("this user signs in with a second factor")]
    SecondFactor,
    /// Odoo refused, in its words.
    #[error("{0}")]
    Refused(String),
    /// No answer, or none of an Odoo; whether a key was made is not known when it was asked for.
    #[error("{0}")]
    Unanswered(String),
}

/// A session of a person's, for as long as it takes to replace a key.
pub struct KeyByPassword<'a> {
    asker: Asker,
    config: &'a OdooConfig,
    cookie: String,
    uid: i64,
}

impl<'a> KeyByPassword<'a> {
    /// Signs in to the web client. The password goes to the server of that configuration and is kept nowhere.
    ///
    /// # Errors
    /// See [`KeyByPasswordError`].
    pub async fn sign_in(config: &'a OdooConfig, password: &SecretString) -> Result<Self, KeyByPasswordError> {
        let asker = Asker::new(config.addresses, ANSWER_BYTES_MAX, ANSWER_WITHIN).map_err(unanswered)?;
        let mut session = Self { asker, config, cookie: String::new(), uid: 0 };
        let params = json!({ "db": config.database, "login": config.login, "password": password.expose_secret() });
        let result = match session.post("web/session/authenticate", params).await {
            // Odoo says so with an exception.
            Err(KeyByPasswordError::Refused(_)) => return Err(KeyByPasswordError::Password),
            other => other?,
        };
        match result["uid"].as_i64() {
            Some(uid) if !session.cookie.is_empty() => {
                session.uid = uid;
                Ok(session)
            }
            _ => Err(KeyByPasswordError::SecondFactor),
        }
    }

    /// Who signed in.
    #[must_use]
    pub fn uid(&self) -> i64 {
        self.uid
    }

    /// Makes a key that lasts so many days; the person's password is asked for once more by Odoo.
    ///
    /// # Errors
    /// See [`KeyByPasswordError`].
    pub async fn make(&mut self, password: &SecretString, name: &str, days: u32) -> Result<SecretString, KeyByPasswordError> {
        let description = self.call("res.users.apikeys.description", "create", json!([{ "name": name, "duration": days.to_string() }]), json!({})).await?;
        let description = description.as_i64().or_else(|| description[0].as_i64()).ok_or_else(odd)?;
        let answer = self.call("res.users.apikeys.description", "make_key", json!([[description]]), json!({})).await?;
        let shown = self.identified(password, answer).await?;
        shown["context"]["default_key"].as_str().filter(|key| looks_like_api_key(key)).map(|key| SecretString::from(key.to_owned())).ok_or_else(odd)
    }

    /// Removes a key of that id.
    ///
    /// # Errors
    /// See [`KeyByPasswordError`].
    pub async fn remove(&mut self, password: &SecretString, id: i64) -> Result<(), KeyByPasswordError> {
        let answer = self.call("res.users.apikeys", "remove", json!([[id]]), json!({})).await?;
        let done = self.identified(password, answer).await?;
        if done["type"] == "ir.actions.act_window_close" { Ok(()) } else { Err(odd()) }
    }

    /// Answers the question who one is, where Odoo asked it instead of doing what it should: it does not ask again for ten minutes.
    async fn identified(&mut self, password: &SecretString, answer: Value) -> Result<Value, KeyByPasswordError> {
        if answer["res_model"] != "res.users.identitycheck" {
            return Ok(answer);
        }
        let check = answer["res_id"].as_i64().ok_or_else(odd)?;
        let kwargs = json!({ "context": { "password": password.expose_secret() } });
        self.call("res.users.identitycheck", "run_check", json!([[check]]), kwargs).await
    }

    /// The keys of the person.
    ///
    /// # Errors
    /// See [`KeyByPasswordError`].
    pub async fn keys(&mut self) -> Result<Vec<OwnKey>, KeyByPasswordError> {
        let kwargs = json!({ "domain": [["user_id", "=", self.uid]], "fields": ["name", "create_date", "expiration_date"], "limit": KEYS_MAX });
        Ok(keys_of(&self.call("res.users.apikeys", "search_read", json!([]), kwargs).await?))
    }

    async fn call(&mut self, model: &str, method: &str, args: Value, kwargs: Value) -> Result<Value, KeyByPasswordError> {
        let mut params = Map::new();
        for (name, value) in [("model", json!(model)), ("method", json!(method)), ("args", args), ("kwargs", kwargs)] {
            params.insert(name.to_owned(), value);
        }
        self.post(&format!("web/dataset/call_kw/{model}/{method}"), Value::Object(params)).await
    }

    async fn post(&mut self, path: &str, params: Value) -> Result<Value, KeyByPasswordError> {
        let url = join(&self.config.url, path).ok_or_else(odd)?;
        let body = json!({ "jsonrpc": "2.0", "method": "call", "id": 1, "params": params }).to_string();
        let headers = [("content-type", "application/json"), ("cookie", self.cookie.as_str())];
        let headers = if self.cookie.is_empty() { &headers[..1] } else { &headers[..] };
        let reply = self.asker.ask(Question { method: Method::POST, url: &url, headers, body, first_piece: false }).await.map_err(unanswered)?;
        for set in reply.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            if let Some(value) = set.split(';').next().filter(|pair| pair.starts_with("session_id=")) {
                value.clone_into(&mut self.cookie);
            }
        }
        let mut answer: Value = serde_json::from_slice(&reply.body).map_err(|_| KeyByPasswordError::Unanswered(format!("HTTP {}, no JSON", reply.status)))?;
        if let Some(error) = answer.get("error") {
            let words = error["data"]["message"].as_str().or_else(|| error["message"].as_str()).unwrap_or_default();
            return Err(KeyByPasswordError::Refused(words.chars().take(super::MESSAGE_CHARS_MAX).collect()));
        }
        Ok(answer["result"].take())
    }
}

/// A path behind the server's address, which may have one of its own.
fn join(base: &Url, path: &str) -> Option<Url> {
    let mut base = base.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path).ok()
}

fn odd() -> KeyByPasswordError {
    KeyByPasswordError::Unanswered("Odoo answered something else than it should".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn unanswered(error: Unanswered) -> KeyByPasswordError {
    KeyByPasswordError::Unanswered(error.to_string())
}
