//! The register of programs that agents run in: what to paste into each, as data. Adding a program is an entry here and its sentence
//! (`portal.programs.<key>`) in `locales/portal/programs.*`. The forms are those of each vendor's documentation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use crate::admin::Cx;
use crate::admin::agents::Door;

/// Stand for what is filled in: the address for API tokens, the other address, the token.
const URL: &str = "%URL%";
const MCP: &str = "%MCP%";
const TOKEN: &str = "%TOKEN%";
/// Opened when nothing else is chosen.
const FIRST: &str = "claude_code";

/// How a program gets in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// With an API token.
    Token,
    /// Only by signing in (OAuth): the address is all it takes.
    SignIn,
    /// Either way.
    Both,
}

/// A link that sets a program up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deeplink {
    None,
    Cursor,
    VsCode,
}

struct Program {
    key: &'static str,
    name: &'static str,
    /// `portal.programs.groups.<group>`.
    group: &'static str,
    entry: Entry,
    deeplink: Deeplink,
    /// Title (a file's or a field's name, the same in every language) and text.
    pastes: &'static [(&'static str, &'static str)],
}

const PROGRAMS: [Program; 17] = [
    Program { key: "claude", name: "Claude (web, iOS, Android)", group: "chat", entry: Entry::SignIn, deeplink: Deeplink::None, pastes: &[("URL", MCP)] },
    Program {
        key: "claude_desktop",
        name: "Claude Desktop",
        group: "chat",
        entry: Entry::Both,
        deeplink: Deeplink::None,
        pastes: &[
            ("URL", MCP),
            (
                "claude_desktop_config.json",
                r#"{
  "mcpServers": {
    "dunet": {
      "command": "npx",
      "args": ["-y", "mcp-remote", "%URL%", "--header", "Authorization:${DUNET_AUTH}"],
      "env": { "DUNET_AUTH": "Bearer %TOKEN%" }
    }
  }
}"#,
            ),
        ],
    },
    Program { key: "chatgpt", name: "ChatGPT", group: "chat", entry: Entry::SignIn, deeplink: Deeplink::None, pastes: &[("URL", MCP)] },
    Program {
        key: "claude_code",
        name: "Claude Code",
        group: "code",
        entry: Entry::Both,
        deeplink: Deeplink::None,
        pastes: &[
            ("Terminal · /mcp", "claude mcp add --transport http dunet %MCP%"),
            (
                "Terminal",
                r#"claude mcp add --transport http dunet %URL% \
  --header "Authorization: Bearer %TOKEN%""#,
            ),
            (
                ".mcp.json",
                r#"{
  "mcpServers": {
    "dunet": {
      "type": "http",
      "url": "%URL%",
      "headers": { "Authorization": "Bearer ${DUNET_TOKEN}" }
    }
  }
}"#,
            ),
        ],
    },
    Program {
        key: "cursor",
        name: "Cursor",
        group: "code",
        entry: Entry::Both,
        deeplink: Deeplink::Cursor,
        pastes: &[
            ("~/.cursor/mcp.json", r#"{ "mcpServers": { "dunet": { "url": "%MCP%" } } }"#),
            (
                "~/.cursor/mcp.json",
                r#"{
  "mcpServers": {
    "dunet": {
      "url": "%URL%",
      "headers": { "Authorization": "Bearer %TOKEN%" }
    }
  }
}"#,
            ),
        ],
    },
    Program {
        key: "vscode",
        name: "VS Code (Copilot)",
        group: "code",
        entry: Entry::Both,
        deeplink: Deeplink::VsCode,
        pastes: &[
            (".vscode/mcp.json", r#"{ "servers": { "dunet": { "type": "http", "url": "%MCP%" } } }"#),
            (
                ".vscode/mcp.json",
                r#"{
  "inputs": [
    { "type": "promptString", "id": "dunet-token", "description": "Dunet", "password": true }
  ],
  "servers": {
    "dunet": {
      "type": "http",
      "url": "%URL%",
      "headers": { "Authorization": "Bearer ${input:dunet-token}" }
    }
  }
}"#,
            ),
        ],
    },
    Program {
        key: "codex",
        name: "Codex CLI",
        group: "code",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[
            (
                "Terminal",
                r#"export DUNET_TOKEN="%TOKEN%"
codex mcp add dunet --url %URL% --bearer-token-env-var DUNET_TOKEN"#,
            ),
            (
                "~/.codex/config.toml",
                r#"[mcp_servers.dunet]
url = "%URL%"
bearer_token_env_var = "DUNET_TOKEN""#,
            ),
        ],
    },
    Program {
        key: "gemini",
        name: "Gemini CLI",
        group: "code",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[
            (
                "Terminal",
                r#"gemini mcp add --transport http \
  --header "Authorization: Bearer %TOKEN%" dunet %URL%"#,
            ),
            (
                "~/.gemini/settings.json",
                r#"{
  "mcpServers": {
    "dunet": {
      "httpUrl": "%URL%",
      "headers": { "Authorization": "Bearer %TOKEN%" },
      "timeout": 30000
    }
  }
}"#,
            ),
        ],
    },
    Program {
        key: "n8n",
        name: "n8n",
        group: "automation",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[("Endpoint", URL), ("Server Transport", "HTTP Streamable"), ("Authentication → Bearer Auth → Bearer Token", TOKEN)],
    },
    Program {
        key: "elevenlabs",
        name: "ElevenLabs",
        group: "voice",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[("Server URL", URL), ("Server type", "Streamable HTTP"), ("HTTP Headers → Authorization", "Bearer %TOKEN%")],
    },
    Program {
        key: "vapi",
        name: "Vapi",
        group: "voice",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[(
            "POST https://api.vapi.ai/tool",
            r#"{
  "type": "mcp",
  "function": { "name": "dunet" },
  "server": {
    "url": "%URL%",
    "headers": { "Authorization": "Bearer %TOKEN%" }
  },
  "metadata": { "protocol": "shttp" }
}"#,
        )],
    },
    Program {
        key: "retell",
        name: "Retell",
        group: "voice",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[("URL", URL), ("Headers → Authorization", "Bearer %TOKEN%")],
    },
    Program {
        key: "livekit",
        name: "LiveKit Agents",
        group: "voice",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[(
            "agent.py",
            r#"import os
from livekit.agents import AgentSession, mcp

session = AgentSession(
    # stt, llm, tts …
    mcp_servers=[
        mcp.MCPServerHTTP(
            url="%MCP%",
            headers={"Authorization": f"Bearer {os.environ['DUNET_TOKEN']}"},
            client_session_timeout_seconds=20,
        )
    ],
)"#,
        )],
    },
    Program {
        key: "openai",
        name: "OpenAI API (Responses)",
        group: "api",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[(
            "Terminal",
            r#"curl https://api.openai.com/v1/responses \
  -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \
  -d '{
    "model": "gpt-5",
    "input": "Busca el RNC 131246796",
    "tools": [{
      "type": "mcp",
      "server_label": "dunet",
      "server_url": "%URL%",
      "authorization": "%TOKEN%",
      "require_approval": "never"
    }]
  }'"#,
        )],
    },
    Program {
        key: "anthropic",
        name: "Anthropic API (Messages)",
        group: "api",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[(
            "Terminal",
            r#"curl https://api.anthropic.com/v1/messages \
  -H "x-api-key: $ANTHROPIC_API_KEY" -H "anthropic-version: 2023-06-01" \
  -H "anthropic-beta: mcp-client-2025-11-20" -H "Content-Type: application/json" \
  -d '{
    "model": "claude-sonnet-4-5",
    "max_tokens": 1024,
    "messages": [{ "role": "user", "content": "Busca el RNC 131246796" }],
    "mcp_servers": [{
      "type": "url",
      "url": "%URL%",
      "name": "dunet",
      "authorization_token": "%TOKEN%"
    }],
    "tools": [{ "type": "mcp_toolset", "mcp_server_name": "dunet" }]
  }'"#,
        )],
    },
    Program {
        key: "curl",
        name: "curl",
        group: "api",
        entry: Entry::Token,
        deeplink: Deeplink::None,
        pastes: &[
            (
                "tools/list",
                r#"curl -sS %URL% \
  -H "Authorization: Bearer %TOKEN%" -H "Content-Type: application/json" \
  -H "Accept: application/json, text/event-stream" -H "MCP-Protocol-Version: 2025-11-25" \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'"#,
            ),
            (
                "tools/call",
                r#"curl -sS %URL% \
  -H "Authorization: Bearer %TOKEN%" -H "Content-Type: application/json" \
  -H "Accept: application/json, text/event-stream" -H "MCP-Protocol-Version: 2025-11-25" \
  -d '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"consultar_rnc_dgii","arguments":{"rnc":"131246796"}}}'"#,
            ),
        ],
    },
    Program { key: "other", name: "MCP", group: "api", entry: Entry::Token, deeplink: Deeplink::None, pastes: &[("URL", URL), ("Authorization", "Bearer %TOKEN%")] },
];

/// A program as a page shows it.
#[derive(Serialize)]
pub(in crate::admin::pages) struct Shown {
    key: &'static str,
    name: &'static str,
    group: &'static str,
    /// `token`, `sign_in` or `both`: how it gets in.
    entry: &'static str,
    open: bool,
    pastes: Vec<Paste>,
    /// Sets the program up; empty where there is none.
    deeplink: String,
}

#[derive(Serialize)]
struct Paste {
    id: String,
    title: &'static str,
    text: String,
}

/// Every program with the addresses filled in, and the token if it was just issued; else a word in its place. `chosen` is opened.
pub(in crate::admin::pages) fn shown(cx: &Cx, token: Option<&SecretString>, chosen: Option<&str>) -> Vec<Shown> {
    let agents = &cx.inner.portal.inner.agents;
    let (url, mcp) = (agents.token_url(), agents.url());
    let placeholder = cx.t("portal.programs.placeholder");
    let word = token.map_or(placeholder.as_str(), ExposeSecret::expose_secret);
    let chosen = chosen.filter(|key| PROGRAMS.iter().any(|program| program.key == *key)).unwrap_or(FIRST);
    let program = |program: &Program| Shown {
        key: program.key,
        name: program.name,
        group: program.group,
        entry: match program.entry {
            Entry::Token => "token",
            Entry::SignIn => "sign_in",
            Entry::Both => "both",
        },
        open: program.key == chosen,
        pastes: program
            .pastes
            .iter()
            .enumerate()
            .map(|(at, (title, text))| Paste { id: format!("p-{}-{at}", program.key), title, text: text.replace(URL, &url).replace(MCP, &mcp).replace(TOKEN, word) })
            .collect(),
        deeplink: deeplink(program.deeplink, &url, token),
    };
    PROGRAMS.iter().map(program).collect()
}

/// At which address a program asks; none for one that only signs in, or that is not in the register.
pub(super) fn door(key: &str) -> Option<Door> {
    let program = PROGRAMS.iter().find(|program| program.key == key && program.entry != Entry::SignIn)?;
    // The address of who may sign in too is that of both; a token's own is pasted where it is known to fit.
    let general = !program.pastes.iter().any(|(_, text)| text.contains(URL));
    Some(if general { Door::General } else { Door::Token })
}

fn deeplink(kind: Deeplink, url: &str, token: Option<&SecretString>) -> String {
    match kind {
        Deeplink::None => String::new(),
        Deeplink::Cursor => {
            let bearer = token.map_or("${env:DUNET_TOKEN}", ExposeSecret::expose_secret);
            let config = json!({ "url": url, "headers": { "Authorization": format!("Bearer {bearer}") } });
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", "dunet").append_pair("config", &STANDARD.encode(config.to_string())).finish();
            format!("cursor://anysphere.cursor-deeplink/mcp/install?{query}")
        }
        // VS Code asks for the token itself, and keeps it.
        Deeplink::VsCode => {
            let input = json!({ "type": "promptString", "id": "dunet-token", "description": "Dunet", "password": true });
            let config = json!({ "name": "dunet", "type": "http", "url": url, "headers": { "Authorization": "Bearer ${input:dunet-token}" }, "inputs": [input] });
            // As encodeURIComponent does it: a space is %20.
            let text: String = form_urlencoded::byte_serialize(config.to_string().as_bytes()).collect();
            format!("vscode:mcp/install?{}", text.replace('+', "%20"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Language, text};

    #[test]
    fn every_program_has_its_words_and_its_pastes_are_well_formed() {
        let mut keys = Vec::new();
        for program in &PROGRAMS {
            assert!(!keys.contains(&program.key), "{} twice", program.key);
            keys.push(program.key);
            for language in [Language::Es, Language::En] {
                for key in [format!("portal.programs.{}", program.key), format!("portal.programs.groups.{}", program.group)] {
                    assert_ne!(text(language, &key), key);
                }
            }
            let token = program.pastes.iter().any(|(_, text)| text.contains(TOKEN) || text.contains("dunet-token") || text.contains("DUNET_TOKEN"));
            assert_eq!(token, program.entry != Entry::SignIn, "{}", program.key);
            let bare = program.pastes.iter().any(|(_, text)| text.contains(MCP) && !text.contains(TOKEN) && !text.contains("DUNET_TOKEN"));
            assert_eq!(bare, program.entry != Entry::Token, "{}", program.key);
            for (title, text) in program.pastes {
                let filled = text.replace(URL, "https://mcp.example.do/mcp/token").replace(MCP, "https://mcp.example.do/mcp").replace(TOKEN, "dunet_live_x");
                assert!(!filled.contains('%'), "{filled}");
                if filled.starts_with('{') {
                    serde_json::from_str::<serde_json::Value>(&filled).unwrap_or_else(|error| panic!("{} {title}: {error}", program.key));
                }
                // The body of a curl command, between its quotes.
                if let Some(body) = filled.split("-d '").nth(1) {
                    serde_json::from_str::<serde_json::Value>(body.trim_end_matches('\'')).unwrap_or_else(|error| panic!("{} {title}: {error}", program.key));
                }
            }
        }
        assert!(keys.contains(&FIRST));
    }

    #[test]
    fn links_hold_what_the_programs_read() {
        let url = "https://mcp.example.do/mcp/token";
        let token = SecretString::from("dunet_live_x".to_owned());
        let config = |link: &str| {
            let query = link.split("config=").nth(1).unwrap();
            let text: String = form_urlencoded::parse(format!("c={query}").as_bytes()).next().unwrap().1.into_owned();
            serde_json::from_slice::<serde_json::Value>(&STANDARD.decode(text).unwrap()).unwrap()
        };
        assert_eq!(config(&deeplink(Deeplink::Cursor, url, Some(&token)))["headers"]["Authorization"], "Bearer dunet_live_x");
        assert_eq!(config(&deeplink(Deeplink::Cursor, url, None))["headers"]["Authorization"], "Bearer ${env:DUNET_TOKEN}");
        let vscode = deeplink(Deeplink::VsCode, url, Some(&token));
        assert!(vscode.starts_with("vscode:mcp/install?%7B%22name%22") && !vscode.contains("dunet_live_x") && !vscode.contains('+'), "{vscode}");
    }
}
