//! Odoo's version and what each version has: the one place that knows renamed fields and methods.
//!
//! Sources: `web/models` and `sale` of each series as summed up in the project's notes on Odoo 14 and 19,
//! both of which were run. 15 to 18 and 20 are known from their published sources only.

use serde_json::Value;

/// The oldest series this client speaks to.
pub const MAJOR_MIN: u16 = 14;

/// The version a server says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdooVersion {
    /// 19 in `19.0` and in `saas~19.2`.
    pub major: u16,
    /// 0 in `19.0`, 2 in `saas~19.2`.
    pub minor: u16,
    /// As the server wrote it, at most 40 characters.
    pub text: String,
}

impl OdooVersion {
    /// From the answer of `version_info`: `server_version_info` (`[19, 0, …]` or `["saas~19", 2, …]`), else `server_version`.
    pub fn from_answer(answer: &Value) -> Option<Self> {
        let text: String = answer.get("server_version").and_then(Value::as_str).unwrap_or_default().chars().filter(|c| !c.is_control()).take(40).collect();
        let parts = answer.get("server_version_info").or_else(|| answer.get("version_info")).and_then(Value::as_array);
        let part = |at: usize| parts.and_then(|list| list.get(at)).and_then(number_in);
        let (major, minor) = match part(0) {
            Some(major) => (major, part(1).unwrap_or(0)),
            None => numbers_of(&text)?,
        };
        let text = if text.is_empty() { format!("{major}.{minor}") } else { text };
        Some(Self { major, minor, text })
    }

    /// Whether the server is one of Odoo Online's intermediate lines.
    #[must_use]
    pub fn is_saas(&self) -> bool {
        self.text.starts_with("saas~") || self.minor > 0
    }

    /// Whether this client speaks to it: 14 and later (what is newer than 20 is treated as 20).
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.major >= MAJOR_MIN
    }

    /// `POST /json/2/<model>/<method>`: 19.0, and Online from saas~18.4.
    #[must_use]
    pub fn has_json2(&self) -> bool {
        self.is_like_19()
    }

    /// saas~18.4 was the last step before 19.0 and has its names.
    fn is_like_19(&self) -> bool {
        self.major >= 19 || (self.major == 18 && self.minor >= 4)
    }

    /// `/xmlrpc/2` and `/jsonrpc`: gone in 22 and in saas~21.1.
    #[must_use]
    pub fn has_legacy_rpc(&self) -> bool {
        (self.major, self.minor) < (21, 1)
    }

    /// `web_search_read` with a `specification` (17 and later; before, the name stood for another shape).
    #[must_use]
    pub fn has_web_search_read(&self) -> bool {
        self.major >= 17
    }

    /// `web_read` with a `specification`.
    #[must_use]
    pub fn has_web_read(&self) -> bool {
        self.major >= 17
    }

    /// `web_save(vals, specification)`: writes and reads back in one call.
    #[must_use]
    pub fn has_web_save(&self) -> bool {
        self.major >= 17
    }

    /// `onchange(values, field_names, fields_spec)`: the whole form is computed, nothing is written.
    #[must_use]
    pub fn has_onchange_spec(&self) -> bool {
        self.major >= 17
    }

    /// `has_access(operation)`; before it, `check_access_rights(operation, raise_exception=False)`.
    #[must_use]
    pub fn has_has_access(&self) -> bool {
        self.major >= 18
    }

    /// `formatted_read_group`; before it, `read_group`.
    #[must_use]
    pub fn has_formatted_read_group(&self) -> bool {
        self.major >= 19
    }

    /// The unit of a line of `sale.order.line`.
    #[must_use]
    pub fn sale_line_uom_field(&self) -> &'static str {
        if self.is_like_19() { "product_uom_id" } else { "product_uom" }
    }

    /// The taxes of a line of `sale.order.line`.
    #[must_use]
    pub fn sale_line_tax_field(&self) -> &'static str {
        if self.is_like_19() { "tax_ids" } else { "tax_id" }
    }

    /// `res.partner.mobile`: removed in 19.
    #[must_use]
    pub fn partner_has_mobile(&self) -> bool {
        !self.is_like_19()
    }

    /// `res.partner.company_type` (`person` / `company`): there in every series known; `is_company` is what is stored.
    #[must_use]
    pub fn company_type_on_partner(&self) -> bool {
        true
    }

    /// The groups of `res.users`.
    #[must_use]
    pub fn user_groups_field(&self) -> &'static str {
        if self.is_like_19() { "group_ids" } else { "groups_id" }
    }

    /// The moves of `stock.picking`.
    #[must_use]
    pub fn picking_moves_field(&self) -> &'static str {
        if self.major >= 16 { "move_ids" } else { "move_lines" }
    }

    /// Whether `sale.order.state` knows `done` (later a `locked` flag beside `sale`).
    #[must_use]
    pub fn sale_order_has_done_state(&self) -> bool {
        self.major < 17
    }
}

fn number_in(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
        Value::String(text) => numbers_of(text).map(|(major, _)| major),
        _ => None,
    }
}

/// The first two numbers of `19.0`, `saas~19.2+e`, `8.saas~6`.
fn numbers_of(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(str::parse::<u16>);
    let major = numbers.next()?.ok()?;
    Some((major, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn version(answer: &Value) -> OdooVersion {
        OdooVersion::from_answer(answer).unwrap()
    }

    #[test]
    fn versions_are_read_in_every_spelling() {
        for (answer, want) in [
            (json!({"server_version": "19.0", "server_version_info": [19, 0, 0, "final", 0, ""]}), (19, 0)),
            (json!({"server_version": "14.0-20211011", "server_version_info": [14, 0, 0, "final", 0, ""]}), (14, 0)),
            (json!({"server_version": "saas~18.4+e", "server_version_info": ["saas~18", 4, 0, "final", 0, "e"]}), (18, 4)),
            (json!({"version": "19.0", "version_info": [19, 0, 0, "final", 0, ""]}), (19, 0)),
            (json!({"server_version": "saas~19.2+e"}), (19, 2)),
        ] {
            let found = version(&answer);
            assert_eq!((found.major, found.minor), want, "{answer}");
        }
        assert_eq!(OdooVersion::from_answer(&json!({"hello": "world"})), None);
        assert_eq!(OdooVersion::from_answer(&json!("19")), None);
    }

    #[test]
    fn the_table_of_versions() {
        // major, minor: json2, legacy, web_search_read, has_access, uom, tax, mobile
        for (major, minor, json2, legacy, web, access, uom, tax, mobile) in [
            (14, 0, false, true, false, false, "product_uom", "tax_id", true),
            (15, 0, false, true, false, false, "product_uom", "tax_id", true),
            (16, 0, false, true, false, false, "product_uom", "tax_id", true),
            (17, 0, false, true, true, false, "product_uom", "tax_id", true),
            (18, 0, false, true, true, true, "product_uom", "tax_id", true),
            (18, 4, true, true, true, true, "product_uom_id", "tax_ids", false),
            (19, 0, true, true, true, true, "product_uom_id", "tax_ids", false),
            (20, 0, true, true, true, true, "product_uom_id", "tax_ids", false),
            (22, 0, true, false, true, true, "product_uom_id", "tax_ids", false),
        ] {
            let v = OdooVersion { major, minor, text: String::new() };
            assert_eq!(
                (v.has_json2(), v.has_legacy_rpc(), v.has_web_search_read(), v.has_has_access(), v.sale_line_uom_field(), v.sale_line_tax_field(), v.partner_has_mobile()),
                (json2, legacy, web, access, uom, tax, mobile),
                "{major}.{minor}"
            );
        }
        assert!(!OdooVersion { major: 13, minor: 0, text: String::new() }.is_supported());
    }
}
