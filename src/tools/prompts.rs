//! Prompts: everyday jobs that a person picks in their program, which then fills the text in. One line per prompt; the words are in
//! `locales/` (`pedidos`).

use serde_json::{Map, Value};

use super::dispatch::may;
use crate::dgii::{NameQuery, Padron};
use crate::domain::tokens::Caller;
use crate::text::{fill, text};

/// Longest value of an argument, characters.
const VALUE_CHARS_MAX: usize = 500;
/// Completions shown, and the fewest characters they are looked for with.
const COMPLETIONS_MAX: usize = 10;
const COMPLETION_CHARS_MIN: usize = 3;
const COMPLETION_CHARS_MAX: usize = 120;

/// A prompt of the register.
pub struct Prompt {
    /// Its name.
    pub name: &'static str,
    /// The tools it takes: who may not use all of them is not offered it.
    pub tools: &'static [&'static str],
    /// Its arguments, all required.
    pub arguments: &'static [&'static str],
}

/// Every prompt, in the order they are listed.
pub const PROMPTS: &[Prompt] = &[
    Prompt { name: "consultar_contribuyente", tools: &["consultar_rnc_dgii"], arguments: &["contribuyente"] },
    Prompt { name: "registrar_cliente", tools: &["crear_cliente"], arguments: &["identificacion"] },
    Prompt { name: "preparar_cotizacion", tools: &["buscar_cliente", "buscar_productos", "crear_cotizacion"], arguments: &["cliente", "productos"] },
    Prompt { name: "seguir_cotizacion", tools: &["ver_cotizacion"], arguments: &["numero"] },
];

/// Why a prompt is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptRefusal {
    /// There is none of that name for this caller.
    Unknown,
    /// That argument is missing or empty.
    Missing(&'static str),
    /// That argument is too long.
    TooLong(&'static str),
}

impl Prompt {
    /// A few words for people.
    #[must_use]
    pub fn title(&self, caller: &Caller) -> String {
        text(caller.language(), &format!("pedidos.{}.titulo", self.name))
    }

    /// What it does.
    #[must_use]
    pub fn about(&self, caller: &Caller) -> String {
        text(caller.language(), &format!("pedidos.{}.resumen", self.name))
    }

    /// What an argument is.
    #[must_use]
    pub fn argument_about(caller: &Caller, argument: &str) -> String {
        text(caller.language(), &format!("pedidos.argumentos.{argument}"))
    }
}

/// The prompts a caller can use, in the register's order.
pub fn offered(caller: &Caller) -> impl Iterator<Item = &'static Prompt> + '_ {
    PROMPTS.iter().filter(|prompt| prompt.tools.iter().all(|tool| may(caller, tool).is_some()))
}

/// What the person says with that prompt.
///
/// # Errors
/// See [`PromptRefusal`].
pub fn filled(caller: &Caller, name: &str, arguments: &Map<String, Value>) -> Result<String, PromptRefusal> {
    let prompt = offered(caller).find(|prompt| prompt.name == name).ok_or(PromptRefusal::Unknown)?;
    let mut facts = Vec::with_capacity(prompt.arguments.len());
    for argument in prompt.arguments {
        let value = arguments.get(*argument).and_then(Value::as_str).map(str::trim).filter(|value| !value.is_empty()).ok_or(PromptRefusal::Missing(argument))?;
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(PromptRefusal::TooLong(argument));
        }
        facts.push((*argument, value));
    }
    Ok(fill(caller.language(), &format!("pedidos.{name}.texto"), &facts))
}

/// What an argument may be meant to become: taxpayers of the listing, for those who may search it. Computes for milliseconds.
#[must_use]
pub fn completions(caller: &Caller, padron: &Padron, argument: &str, begun: &str) -> Vec<String> {
    let numbers = match argument {
        "rnc" => true,
        "contribuyente" | "identificacion" | "cliente" => false,
        _ => return Vec::new(),
    };
    let begun = begun.trim();
    let length = begun.chars().count();
    if may(caller, "buscar_contribuyente").is_none() || !(COMPLETION_CHARS_MIN..=COMPLETION_CHARS_MAX).contains(&length) {
        return Vec::new();
    }
    let query = NameQuery { text: begun.to_owned(), limit: COMPLETIONS_MAX, only_active: true };
    // Nothing to offer is no failure: a person goes on typing.
    let hits = padron.search(&query).map(|found| found.hits).unwrap_or_default();
    hits.into_iter().map(|taxpayer| if numbers { taxpayer.id.digits().to_owned() } else { taxpayer.name }).collect()
}
