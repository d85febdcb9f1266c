//! Prompts, resources and completions, as the protocol has them. What they are is in `tools/prompts.rs` and `tools/resources.rs`.

use rmcp::model::{
    CacheScope, CompletionInfo, ContentBlock, ErrorData, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, Prompt, PromptArgument, Reference, Resource,
    ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};

use super::LIST_TTL_MS;
use crate::domain::tokens::Caller;
use crate::text::text;
use crate::tools::prompts::{self, PromptRefusal};
use crate::tools::resources;

const MARKDOWN: &str = "text/markdown";
const JSON: &str = "application/json";

pub(super) fn prompt_list(caller: &Caller) -> ListPromptsResult {
    let described = |prompt: &prompts::Prompt| {
        let argument = |name: &&str| PromptArgument::new(*name).with_description(prompts::Prompt::argument_about(caller, name)).with_required(true);
        Prompt::new(prompt.name, Some(prompt.about(caller)), Some(prompt.arguments.iter().map(argument).collect())).with_title(prompt.title(caller))
    };
    ListPromptsResult::with_all_items(prompts::offered(caller).map(described).collect()).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private)
}

pub(super) fn prompt_refused(refusal: PromptRefusal) -> ErrorData {
    ErrorData::invalid_params(
        match refusal {
            PromptRefusal::Unknown => "unknown prompt".to_owned(),
            PromptRefusal::Missing(argument) => format!("the argument `{argument}` is missing"),
            PromptRefusal::TooLong(argument) => format!("the argument `{argument}` is too long"),
        },
        None,
    )
}

pub(super) fn resource_list(caller: &Caller) -> ListResourcesResult {
    let say = |key: &str| text(caller.language(), key);
    let guide = Resource::new(resources::GUIDE, "guia").with_title(say("guia.titulo")).with_description(say("guia.resumen")).with_mime_type(MARKDOWN);
    ListResourcesResult::with_all_items(vec![guide]).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private)
}

pub(super) fn template_list(caller: &Caller) -> ListResourceTemplatesResult {
    let described = |records: &resources::Records| {
        ResourceTemplate::new(records.template(), records.tool).with_title(records.title(caller)).with_description(records.about(caller)).with_mime_type(JSON)
    };
    ListResourceTemplatesResult::with_all_items(resources::readable(caller).map(described).collect()).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private)
}

pub(super) fn guide(caller: &Caller) -> ResourceContents {
    ResourceContents::text(resources::guide(caller), resources::GUIDE).with_mime_type(MARKDOWN)
}

pub(super) fn record(uri: &str, data: String) -> ResourceContents {
    ResourceContents::text(data, uri).with_mime_type(JSON)
}

pub(super) fn not_found(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": uri })))
}

/// The record that a write made, for programs that can open it.
pub(super) fn link(caller: &Caller, tool: &str, result: &Value) -> Option<ContentBlock> {
    let link = resources::made(caller, tool, result)?;
    Some(ContentBlock::resource_link(Resource::new(link.uri, link.name).with_mime_type(JSON)))
}

/// Whether that is something of ours with arguments.
pub(super) fn completable(caller: &Caller, of: &Reference) -> Result<(), ErrorData> {
    let known = match of {
        Reference::Prompt(prompt) => prompts::offered(caller).any(|offered| offered.name == prompt.name),
        Reference::Resource(resource) => resources::readable(caller).any(|records| records.template() == resource.uri),
        _ => false,
    };
    if known { Ok(()) } else { Err(ErrorData::invalid_params("nothing of that name has arguments here", None)) }
}

pub(super) fn completions(values: Vec<String>) -> Result<CompletionInfo, ErrorData> {
    CompletionInfo::with_all_values(values).map_err(|error| ErrorData::internal_error(error, None))
}
