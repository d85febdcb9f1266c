//! Letters: what the service writes to people. Given to an SMTP server in the background; a letter that does not go out is logged, and operators
//! see the last one that failed. Without a server nothing is sent, and pages show links to copy instead.
//!
//! The sentences are in `locales/portal/mail.*.yml`. An address and what a letter says are never logged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::alerts::LetterFacts;
use crate::clock::Clock;
use crate::text::{self, Language};

/// Letters under way at the same time; more are not sent, and that is said.
const WAITING_MAX: usize = 100;
/// The longest time for one try, and the waits before further ones.
const TRY_MAX: Duration = Duration::from_secs(20);
const WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];
/// The longest cause that is kept, characters.
const CAUSE_CHARS_MAX: usize = 200;

/// What a letter is about. Links are full addresses.
pub enum Letter {
    /// A forgotten password.
    Reset {
        /// Sets a new one.
        link: SecretString,
    },
    /// Confirms the address of somebody who signs up.
    Confirm {
        /// Confirms.
        link: SecretString,
        /// The company.
        company: String,
    },
    /// Somebody signed up with an address that has an account.
    Known {
        /// Where one signs in.
        link: String,
    },
    /// The company was approved.
    Approved {
        /// Where one signs in.
        link: String,
        /// The company.
        company: String,
    },
    /// An invitation.
    Invite {
        /// Takes it.
        link: SecretString,
        /// Into which company; none invites an operator.
        company: Option<String>,
    },
    /// Confirms a new address.
    Email {
        /// Confirms.
        link: SecretString,
    },
    /// Tries whether letters go out.
    Test,
    /// Something that its reader should hear of.
    Alert(LetterFacts),
    /// To the old address: it was changed.
    EmailChanged {
        /// The new one.
        email: String,
    },
}

impl Letter {
    /// The key of its sentences: `portal.mail.<key>.subject` and `.text`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Reset { .. } => "reset",
            Self::Confirm { .. } => "confirm",
            Self::Known { .. } => "known",
            Self::Approved { .. } => "approved",
            Self::Invite { company: Some(_), .. } => "invite",
            Self::Invite { company: None, .. } => "invite_operator",
            Self::Email { .. } => "email",
            Self::EmailChanged { .. } => "email_changed",
            Self::Test => "test",
            Self::Alert(alert) => alert.kind.letter(),
        }
    }

    /// Subject and text.
    fn written(&self, language: Language) -> (String, String) {
        if let Self::Alert(alert) = self {
            let facts: Vec<(&str, &str)> = alert.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            return self.filled(language, &facts);
        }
        let link = match self {
            Self::Reset { link } | Self::Confirm { link, .. } | Self::Invite { link, .. } | Self::Email { link } => link.expose_secret(),
            Self::Known { link } | Self::Approved { link, .. } => link,
            Self::EmailChanged { .. } | Self::Test | Self::Alert(_) => "",
        };
        let company = match self {
            Self::Confirm { company, .. } | Self::Approved { company, .. } => company,
            Self::Invite { company, .. } => company.as_deref().unwrap_or_default(),
            Self::Reset { .. } | Self::Known { .. } | Self::Email { .. } | Self::EmailChanged { .. } | Self::Test | Self::Alert(_) => "",
        };
        let email = if let Self::EmailChanged { email } = self { email } else { "" };
        self.filled(language, &[("link", link), ("company", company), ("email", email)])
    }

    fn filled(&self, language: Language, facts: &[(&str, &str)]) -> (String, String) {
        let key = self.key();
        let subject = text::fill(language, &format!("portal.mail.{key}.subject"), facts);
        let body = text::fill(language, &format!("portal.mail.{key}.text"), facts);
        (subject, format!("{}\n\n{}\n", body.trim_end(), text::text(language, "portal.mail.footer")))
    }
}

/// The last letter that did not go out.
#[derive(Clone, Debug)]
pub struct MailFailure {
    /// When it was given up.
    pub at: DateTime<Utc>,
    /// Why, without addresses.
    pub cause: String,
}

/// Sends letters. Cheap to clone.
#[derive(Clone)]
pub struct Mail {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    server: String,
    places: Arc<Semaphore>,
    failure: Mutex<Option<MailFailure>>,
    clock: Clock,
    tasks: TaskTracker,
}

impl Mail {
    /// By that server (`smtps://user:password@host`, `smtp://host:port?tls=required`) in that name (`Dunet <no-reply@example.do>`); without a
    /// server nothing is sent.
    ///
    /// # Errors
    /// The address of the server or of the sender is none.
    pub fn new(server: Option<&SecretString>, from: Option<&str>, clock: Clock, tasks: TaskTracker) -> anyhow::Result<Self> {
        let Some(server) = server.filter(|server| !server.expose_secret().is_empty()) else { return Ok(Self { inner: None }) };
        let from: Mailbox =
            from.context("DUNET_SMTP_URL needs DUNET_MAIL_FROM beside it")?.parse().context("DUNET_MAIL_FROM must be an address, such as Dunet <no-reply@example.do>")?;
        // The cause may hold the password.
        let builder =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(server.expose_secret()).ok().context("DUNET_SMTP_URL must be an address such as smtps://user:password@host")?;
        let server = server_name(server);
        let hello = ClientId::Domain(from.email.domain().to_owned());
        let transport = builder.hello_name(hello).timeout(Some(TRY_MAX)).build();
        let inner = Inner { transport, from, server, places: Arc::new(Semaphore::new(WAITING_MAX)), failure: Mutex::default(), clock, tasks };
        Ok(Self { inner: Some(Arc::new(inner)) })
    }

    /// Whether letters can be sent.
    #[must_use]
    pub fn configured(&self) -> bool {
        self.inner.is_some()
    }

    /// By which server letters go out, without user and password, and in whose name; none where nothing is sent.
    #[must_use]
    pub fn route(&self) -> Option<(&str, String)> {
        self.inner.as_ref().map(|inner| (inner.server.as_str(), inner.from.to_string()))
    }

    /// Sends a letter once and waits, so that who asks hears what came of it.
    ///
    /// # Errors
    /// Why it did not go out, without addresses.
    pub async fn try_once(&self, to: &str, language: Language, letter: &Letter) -> Result<(), String> {
        let Some(inner) = &self.inner else { return Err("no server is configured".to_owned()) };
        let message = inner.message(to, language, letter).map_err(|error| format!("{error:#}"))?;
        inner.give(message).await.map_err(|refusal| refusal.cause)?;
        inner.sent(letter.key());
        Ok(())
    }

    /// The last letter that did not go out, if none has gone out since.
    #[must_use]
    pub fn failure(&self) -> Option<MailFailure> {
        self.inner.as_ref().and_then(|inner| inner.failure.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// An alert's letter was tried for long and is given up: operators see it.
    pub(super) fn gave_up(&self, kind: &str, cause: &str) {
        if let Some(inner) = &self.inner {
            inner.failed(kind, cause);
        }
    }

    /// Sends a letter in the background. Whoever asks is not told whether it went out; operators are.
    pub fn send(&self, to: &str, language: Language, letter: &Letter) {
        let Some(inner) = self.inner.clone() else { return };
        let kind = letter.key();
        let Ok(place) = Arc::clone(&inner.places).try_acquire_owned() else {
            inner.failed(kind, "too many letters are waiting");
            return;
        };
        match inner.message(to, language, letter) {
            Ok(message) => {
                let task = Arc::clone(&inner);
                inner.tasks.spawn(async move {
                    task.deliver(kind, message).await;
                    drop(place);
                });
            }
            Err(error) => inner.failed(kind, &format!("{error:#}")),
        }
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("configured", &self.configured()).finish()
    }
}

impl Inner {
    fn message(&self, to: &str, language: Language, letter: &Letter) -> anyhow::Result<Message> {
        let (subject, body) = letter.written(language);
        let to = Mailbox::new(None, to.parse().context("no address to write to")?);
        let id = format!("<{}@{}>", uuid::Uuid::new_v4(), self.from.email.domain());
        Ok(Message::builder().from(self.from.clone()).to(to).message_id(Some(id)).subject(subject).header(ContentType::TEXT_PLAIN).body(body)?)
    }

    async fn deliver(&self, kind: &str, message: Message) {
        let mut waits = WAITS.iter();
        loop {
            let refusal = match self.give(message.clone()).await {
                Ok(()) => return self.sent(kind),
                Err(refusal) => refusal,
            };
            let Some(wait) = waits.next().filter(|_| !refusal.for_good) else { return self.failed(kind, &refusal.cause) };
            tokio::time::sleep(*wait).await;
        }
    }

    /// Gives it to the server once.
    async fn give(&self, message: Message) -> Result<(), Refusal> {
        let refusal = |for_good: bool, cause: String| Err(Refusal { for_good, cause });
        match tokio::time::timeout(TRY_MAX, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            // The server's words may name the address: its code is enough.
            Ok(Err(error)) if error.is_permanent() => refusal(true, format!("the server refused it ({})", error.status().map(|code| code.to_string()).unwrap_or_default())),
            Ok(Err(error)) => match error.status() {
                Some(code) => refusal(false, format!("the server put it off ({code})")),
                None => refusal(false, format!("{error}")),
            },
            Err(_) => refusal(false, "the server did not answer in time".to_owned()),
        }
    }

    fn sent(&self, kind: &str) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!(letter = kind, "a letter was sent");
    }

    fn failed(&self, kind: &str, cause: &str) {
        tracing::error!(letter = kind, cause, "a letter was not sent");
        let failure = MailFailure { at: self.clock.now(), cause: cause.chars().take(CAUSE_CHARS_MAX).collect() };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

/// Why the server did not take a letter.
struct Refusal {
    for_good: bool,
    cause: String,
}

/// `host:port` of the address of a server, which may hold a password.
fn server_name(server: &SecretString) -> String {
    let Ok(url) = server.expose_secret().parse::<url::Url>() else { return String::new() };
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Vec<Letter> {
        let link = || SecretString::from("https://mcp.example.do/admin/enlace/abc".to_owned());
        let company = || "Ferretería %{link} Ñandú".to_owned();
        vec![
            Letter::Reset { link: link() },
            Letter::Confirm { link: link(), company: company() },
            Letter::Known { link: "https://mcp.example.do/admin/entrar".to_owned() },
            Letter::Approved { link: "https://mcp.example.do/admin/entrar".to_owned(), company: company() },
            Letter::Invite { link: link(), company: Some(company()) },
            Letter::Invite { link: link(), company: None },
            Letter::Email { link: link() },
            Letter::EmailChanged { email: "ana@ejemplo.do".to_owned() },
            Letter::Test,
        ]
    }

    #[test]
    fn every_letter_has_its_words_and_its_link() {
        for letter in letters() {
            let [es, en] = [Language::Es, Language::En].map(|language| letter.written(language));
            assert_ne!(es, en, "{}", letter.key());
            for (subject, body) in [es, en] {
                assert!(!subject.contains("portal.mail") && !subject.contains('\n') && !body.contains("portal.mail"), "{subject}\n{body}");
                let wanted = match letter {
                    Letter::EmailChanged { .. } => "ana@ejemplo.do",
                    Letter::Test => "Dunet",
                    _ => "https://mcp.example.do/admin/en",
                };
                assert!(body.contains(wanted) && body.lines().all(|line| line.chars().count() <= 400), "{body}");
                assert_eq!(body.matches("https://").count(), usize::from(wanted.starts_with("https")), "a company's name is not a template: {body}");
            }
        }
    }

    #[test]
    fn a_server_needs_a_sender_and_its_password_is_not_said() {
        let make = |server: &str, from: Option<&str>| Mail::new(Some(&SecretString::from(server.to_owned())), from, Clock::system(), TaskTracker::new());
        assert!(!Mail::new(None, None, Clock::system(), TaskTracker::new()).unwrap().configured());
        assert!(make("smtps://u:geheim@mail.example.do", Some("Dunet <no-reply@example.do>")).unwrap().configured());
        for (server, from) in [("smtps://u:geheim@mail.example.do", None), ("smtps://u:geheim@mail.example.do", Some("nobody")), ("geheim://x", Some("a@b.do"))] {
            let error = format!("{:#}", make(server, from).unwrap_err());
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
