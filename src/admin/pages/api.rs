//! The operators' API, as its document says: which routes there are, and how to begin.

use serde::Serialize;
use serde_json::Value;

use crate::admin::Cx;
use crate::admin::api::{DOCUMENT_PATH, document};
use crate::admin::cx::Answer;
use crate::domain::users::Operator;

#[derive(Serialize)]
struct View<'a> {
    document: &'static str,
    example: String,
    routes: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    method: String,
    path: &'a str,
    /// English, as all of the document.
    summary: &'a str,
}

pub(super) async fn show(cx: Cx, _: Operator) -> Answer {
    let paths = document()["paths"].as_object().into_iter().flatten();
    let routes = paths.flat_map(|(path, operations)| {
        let line = move |(method, operation): (&String, &'static Value)| Line { method: method.to_uppercase(), path, summary: operation["summary"].as_str().unwrap_or_default() };
        operations.as_object().into_iter().flatten().map(line)
    });
    let base = cx.inner.portal.inner.public_url.as_str().trim_end_matches('/');
    let example = format!("curl -H \"Authorization: Bearer dunet_op_…\" {base}/admin/api/clients");
    cx.page("pages/api.html", View { document: DOCUMENT_PATH, example, routes: routes.collect() })
}
