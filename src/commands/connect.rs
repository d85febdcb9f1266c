//! `dunet connect doctor`: the way of Claude, ChatGPT and VS Code to a service, from this machine (`tools/connector.rs`). It needs neither database nor
//! vault, so that it can be run on any machine that has the program: from outside one sees what they see.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use url::Url;

use super::{Out, secret};
use crate::config::Config;
use crate::text::Language;
use crate::tools::connector::{State, Step, Target, examine};

/// What to do.
#[derive(Subcommand, Debug)]
pub enum ConnectCommand {
    /// Try what programs do before they are let in, with a remedy for each failure.
    ///
    /// It asks a public address only, unless private ones are allowed (DUNET_ALLOW_PRIVATE_ODOO). One program is registered for each try;
    /// registrations that are never used end by themselves.
    Doctor(ConnectDoctorArgs),
}

/// Which service.
#[derive(Args, Debug)]
pub struct ConnectDoctorArgs {
    /// Its public address.
    #[arg(env = "DUNET_PUBLIC_URL", value_name = "URL")]
    url: Url,
    /// File with an API token (- asks for it): also see whether answers that go on come at once.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// es or en.
    #[arg(long, default_value = "es")]
    language: Language,
}

/// Runs it. Exit code 1 when one of the programs does not come through.
pub(super) async fn run(command: ConnectCommand, config: &Config, out: Out) -> anyhow::Result<ExitCode> {
    let ConnectCommand::Doctor(args) = command;
    let token = args.token_file.as_deref().map(secret).transpose()?;
    let target = Target { token, ..Target::new(args.url, config.allow_private_odoo) };
    let mut steps = Vec::new();
    let all_well = examine(&target, args.language, &mut |step| steps.push(step)).await;
    let names: Vec<String> = steps.iter().map(|step| step.title(args.language)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let lines: Vec<String> = steps.iter().zip(&names).map(|(step, name)| line(step, name, width)).collect();
    let json: Vec<Value> = steps.iter().map(shown).collect();
    out.say(&lines.join("\n"), &json!({ "ok": all_well, "steps": json }))?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(step: &Step, name: &str, width: usize) -> String {
    let mark = match step.state {
        State::Ok => "ok  ",
        State::Warn => "warn",
        State::Bad => "FAIL",
        State::Off => "-   ",
    };
    let line = format!("{mark}  {name:<width$}  {:>5} ms  {}", step.took_ms, step.detail);
    step.remedy.as_ref().map_or(line.clone(), |remedy| format!("{line}\n      → {remedy}"))
}

fn shown(step: &Step) -> Value {
    json!({
        "step": step.name, "program": step.program.map(crate::tools::connector::Program::as_str), "state": step.state.as_str(),
        "fault": step.fault, "detail": step.detail, "remedy": step.remedy, "took_ms": step.took_ms,
    })
}
