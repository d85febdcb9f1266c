//! Whether the customer to be made is there already.
//!
//! The same number is the same customer. The same telephone or e-mail is too, unless both have numbers and these differ: families and
//! groups of companies share telephones.

use super::{Known, digits_of};
use crate::dgii::TaxpayerId;
use crate::odoo::domain::{Domain, Term};
use crate::odoo::{OdooClient, Page};
use crate::tools::cx::ToolCx;
use crate::tools::error::ToolError;
use crate::tools::sales::partners::{self, has_digits, phone_domain, vat_forms};
use crate::tools::sales::rows::{self, Row};

/// Customers with the same number, telephone or e-mail that are looked at.
const LOOKED_AT_MAX: u32 = 20;
/// Telephones are compared by their last digits, so that the country's 1 does not matter.
const PHONE_DIGITS_COMPARED: usize = 10;

/// A customer that is already there.
pub(super) struct Existing {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) rnc: Option<String>,
}

/// The customer with the same number, or with the same telephone or e-mail and no other number. One request.
pub(super) async fn existing(cx: &ToolCx, odoo: &OdooClient, known: &Known, notices: &mut Vec<String>) -> Result<Option<Existing>, ToolError> {
    let mobile = odoo.version().partner_has_mobile();
    let phone = known.phone.as_deref().map(compared_digits);
    let mut any: Vec<Domain> = Vec::new();
    any.extend(known.id.as_ref().map(|id| Domain::from(Term::in_("vat", vat_forms(id)))));
    any.extend(phone.as_deref().map(|digits| phone_domain(digits, mobile)));
    any.extend(known.email.as_deref().map(|email| Domain::from(Term::same_text("email", email))));
    if any.is_empty() {
        return Ok(None);
    }
    let domain = Domain::any(any).and(Term::eq("parent_id", false));
    let found = odoo.search_page("res.partner", &domain, &partners::fields(mobile), &Page::first(LOOKED_AT_MAX).ordered("id")).await?;
    let verdicts: Vec<(Match, &Row)> = found.records.iter().filter_map(|row| Some((matched(row, known, phone.as_deref())?, row))).collect();
    let best = verdicts.iter().min_by_key(|(verdict, _)| *verdict);
    let Some((verdict, row)) = best else { return Ok(None) };
    let (Some(id), name) = (rows::id(row), rows::text(row, "name").unwrap_or_default()) else { return Ok(None) };
    let datum = match verdict {
        Match::Number => "datos.rnc",
        Match::Phone => "datos.telefono",
        Match::Email => "datos.correo",
        Match::OtherNumber => {
            notices.push(cx.say("avisos.mismo_telefono", &[("nombre", &name), ("id", &id.to_string())]));
            return Ok(None);
        }
    };
    notices.push(cx.say("avisos.existia_por", &[("dato", &cx.say(datum, &[]))]));
    let rnc = rows::text(row, "vat");
    if known.id.is_some() && rnc.is_none() {
        notices.push(cx.say("avisos.existe_sin_rnc", &[]));
    }
    Ok(Some(Existing { id, name, rnc }))
}

/// Why a record is the same customer, strongest first; `OtherNumber` shares only a telephone or an e-mail with somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Number,
    Phone,
    Email,
    OtherNumber,
}

fn matched(row: &Row, known: &Known, phone: Option<&str>) -> Option<Match> {
    let vat = rows::text(row, "vat").map(|vat| digits_of(&vat)).filter(|digits| !digits.is_empty());
    let own = known.id.as_ref().map(TaxpayerId::digits);
    if own.is_some() && vat.as_deref() == own {
        return Some(Match::Number);
    }
    let same_phone = phone.is_some_and(|digits| ["phone", "mobile"].iter().any(|field| rows::text(row, field).is_some_and(|text| has_digits(&text, digits))));
    let same_email = known.email.as_deref().is_some_and(|email| rows::text(row, "email").is_some_and(|own| own.eq_ignore_ascii_case(email)));
    match (same_phone, same_email) {
        (false, false) => None,
        // Two numbers, two customers: a family or a group of companies shares a telephone.
        _ if own.is_some() && vat.is_some() => Some(Match::OtherNumber),
        (true, _) => Some(Match::Phone),
        (false, true) => Some(Match::Email),
    }
}

fn compared_digits(phone: &str) -> String {
    let digits = digits_of(phone);
    digits[digits.len().saturating_sub(PHONE_DIGITS_COMPARED)..].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn known(rnc: Option<&str>, phone: Option<&str>, email: Option<&str>) -> Known {
        Known {
            name: "Nova".to_owned(),
            id: rnc.map(|rnc| TaxpayerId::parse(rnc).unwrap()),
            taxpayer: None,
            phone: phone.map(str::to_owned),
            email: email.map(str::to_owned),
            street: None,
            kind: None,
            notices: Vec::new(),
        }
    }

    fn verdict(row: Value, known: &Known) -> Option<Match> {
        let Value::Object(row) = row else { panic!("an object") };
        matched(&row, known, known.phone.as_deref().map(compared_digits).as_deref())
    }

    #[test]
    fn the_same_customer_is_recognised() {
        let all = known(Some("131793916"), Some("+1 (809) 555-0123"), Some("info@nova.do"));
        for (row, want) in [
            (json!({"vat": "131-79391-6"}), Some(Match::Number)),
            (json!({"vat": "1-31-79391-6", "phone": "x"}), Some(Match::Number)),
            (json!({"phone": "809.555.0123"}), Some(Match::Phone)),
            (json!({"mobile": "18095550123"}), Some(Match::Phone)),
            (json!({"email": "INFO@nova.do"}), Some(Match::Email)),
            (json!({"vat": "101010632", "phone": "8095550123"}), Some(Match::OtherNumber)),
            (json!({"vat": "101010632", "email": "info@nova.do"}), Some(Match::OtherNumber)),
            (json!({"phone": "8095550124", "email": "info@nova.com"}), None),
            (json!({"vat": "131793917"}), None),
        ] {
            assert_eq!(verdict(row.clone(), &all), want, "{row}");
        }
        let unnumbered = known(None, Some("8095550123"), None);
        assert_eq!(verdict(json!({"vat": "101010632", "phone": "809-555-0123"}), &unnumbered), Some(Match::Phone));
        assert_eq!(verdict(json!({"vat": false, "phone": false}), &unnumbered), None);
    }

    #[test]
    fn phones_are_compared_by_their_end() {
        assert_eq!(compared_digits("+1 (809) 555-0123"), "8095550123");
        assert_eq!(compared_digits("555-0123"), "5550123");
    }
}
