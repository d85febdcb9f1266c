//! The connector doctor: what Claude, ChatGPT and VS Code do before anybody is asked for a password, done against the operator's own public address,
//! step by step. Each step that fails says why, what to do, and which of the three programs stop there.
//!
//! The sequence: a call without a token, its challenge, what the resource says of itself (RFC 9728, both addresses), what the authorization server says
//! (RFC 8414), and then, as each program, registration (RFC 7591), the way to the page that asks a person, and the token endpoint, which must refuse a
//! made-up code. Whatever it registers is forgotten like every registration that is never used.
//!
//! `judge.rs` decides what an answer means, `walk.rs` asks.

mod judge;
mod walk;

use secrecy::SecretString;
use url::Url;

use crate::odoo::AddressPolicy;
use crate::text::{Language, fill, text};

pub use walk::examine;

/// A program whose way is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// claude.ai, from Anthropic's network.
    Claude,
    /// ChatGPT, from OpenAI's network.
    ChatGpt,
    /// Visual Studio Code, from a person's computer.
    VsCode,
}

/// All of them.
pub const PROGRAMS: [Program; 3] = [Program::Claude, Program::ChatGpt, Program::VsCode];

impl Program {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "Claude",
            Self::ChatGpt => "ChatGPT",
            Self::VsCode => "VS Code",
        }
    }

    /// Where its browser comes back to, as its documentation has it; the first is used.
    fn redirects(self) -> &'static [&'static str] {
        match self {
            Self::Claude => &["https://claude.ai/api/mcp/auth_callback"],
            Self::ChatGpt => &["https://chatgpt.com/connector/oauth/dunet"],
            Self::VsCode => &["http://127.0.0.1:33418", "https://vscode.dev/redirect"],
        }
    }

    /// The revision of the protocol it begins with.
    fn revision(self) -> &'static str {
        match self {
            Self::Claude | Self::VsCode => "2025-11-25",
            Self::ChatGpt => "2025-06-18",
        }
    }

    /// Those that come from the Internet, and only by https.
    fn of_the_cloud() -> &'static [Self] {
        &[Self::Claude, Self::ChatGpt]
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Well.
    Ok,
    /// Worth knowing; it stops nobody.
    Warn,
    /// Not well.
    Bad,
    /// It was not tried, for what it needs is not there.
    Off,
}

impl State {
    /// As pages and programs call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Off => "off",
        }
    }
}

/// One step as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A word of `connector.pasos`.
    pub name: &'static str,
    /// As which program; none for what all do alike.
    pub program: Option<Program>,
    /// How it went.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// The fault's name, for programs; a word of `connector.faltas`.
    pub fault: Option<&'static str>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Milliseconds.
    pub took_ms: u64,
}

impl Step {
    /// Its name in the reader's language, after the program's.
    #[must_use]
    pub fn title(&self, language: Language) -> String {
        titled(self.program, &text(language, &format!("connector.pasos.{}", self.name)))
    }

    /// Its name for programs.
    #[must_use]
    pub fn code(&self) -> String {
        titled(self.program, self.name)
    }
}

fn titled(program: Option<Program>, name: &str) -> String {
    program.map_or_else(|| name.to_owned(), |program| format!("{}: {name}", program.as_str()))
}

/// Most steps that one examination has.
#[must_use]
pub fn steps_max() -> usize {
    12 + 4 * PROGRAMS.len()
}

/// What is examined.
#[derive(Clone, Debug)]
pub struct Target {
    /// The public address, with whatever stands behind its host.
    pub url: Url,
    /// Which addresses may be asked: [`AddressPolicy::Own`], or any where the operator says so.
    pub policy: AddressPolicy,
    /// An API token, to see whether answers that go on come at once; without it that is not tried.
    pub token: Option<SecretString>,
}

impl Target {
    /// The operator's own address. `anywhere` allows private ones too.
    #[must_use]
    pub fn new(url: Url, anywhere: bool) -> Self {
        Self { url, policy: if anywhere { AddressPolicy::AllowPrivate } else { AddressPolicy::Own }, token: None }
    }

    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Where agents call.
    fn mcp(&self) -> String {
        format!("{}{MCP}", self.origin())
    }
}

/// The path of the address agents call; the other one is below it.
const MCP: &str = "/mcp";

/// A sentence under `connector.`.
fn say(language: Language, key: &str, facts: &[(&str, &str)]) -> String {
    fill(language, &format!("connector.{key}"), facts)
}
