//! What a real Odoo 19 and a real Odoo 14 answered (`tests/fixtures/odoo/*.json`, written from captures, tracebacks cut
//! to a few lines), read by the decoders, one expected kind per row.

use super::classify::Subject;
use super::client::records_as_ids;
use super::error::{OdooError, OdooErrorKind as Kind};
use super::wire::limits::DecodeLimits;
use super::wire::page::Incoming;
use super::wire::xmlrpc_object::Outcome;
use super::wire::{json2, jsonrpc, xmlrpc_object};
use serde::Deserialize;
use serde_json::{Value, json};

const ODOO_19: &str = include_str!("../../tests/fixtures/odoo/odoo19.json");
const ODOO_14: &str = include_str!("../../tests/fixtures/odoo/odoo14.json");

#[derive(Deserialize)]
struct Case {
    capture: String,
    wire: String,
    model: String,
    method: String,
    uid: i64,
    status: u16,
    location: Option<String>,
    body: String,
    want: String,
}

impl Case {
    fn read(&self) -> Result<Outcome, OdooError> {
        let incoming = Incoming { status: self.status, location: self.location.clone(), body: self.body.clone().into_bytes(), retry_after_s: None };
        let subject = Subject { model: &self.model, method: &self.method, uid: self.uid, database: "no_such_db", writes: false };
        let limits = DecodeLimits::default();
        match self.wire.as_str() {
            "xmlrpc" => xmlrpc_object::answer(&incoming, &limits, &subject, false),
            "json2" => json2::answer(&incoming, &limits, &subject, false).map(Outcome::Value),
            "jsonrpc" => jsonrpc::answer(&incoming, &limits, &subject, false).map(|value| Outcome::Value(records_as_ids(value))),
            other => panic!("{other}"),
        }
    }
}

fn cases(text: &str) -> Vec<Case> {
    serde_json::from_str(text).unwrap()
}

fn value_of(text: &str, capture: &str) -> Value {
    match cases(text).iter().find(|case| case.capture == capture).unwrap().read().unwrap() {
        Outcome::Value(value) => value,
        Outcome::Unwritable => panic!("{capture}"),
    }
}

/// The name of a kind without its fields.
fn word(kind: &Kind) -> String {
    format!("{kind:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_captured_answer_has_its_kind() {
    let mut wrong = Vec::new();
    for (version, text, least) in [("19", ODOO_19, 110), ("14", ODOO_14, 60)] {
        let cases = cases(text);
        assert!(cases.len() >= least, "only {} cases of Odoo {version}", cases.len());
        for case in cases {
            let got = match case.read() {
                Ok(Outcome::Unwritable) => "committed".to_owned(),
                Ok(Outcome::Value(Value::Null)) => "null".to_owned(),
                Ok(Outcome::Value(value)) if case.want == "ids" && value.as_array().is_some_and(|ids| ids.iter().all(Value::is_i64)) => "ids".to_owned(),
                Ok(Outcome::Value(_)) => "ok".to_owned(),
                Err(error) => {
                    public(&case.capture, &error);
                    word(&error.kind)
                }
            };
            if got != case.want {
                wrong.push(format!("Odoo {version} {}: {got}, not {}", case.capture, case.want));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is shown: one clean line, nothing of the server.
fn public(capture: &str, error: &OdooError) {
    let message = &error.message;
    assert!(!message.is_empty() && message.chars().count() <= 500, "{capture}: {message}");
    for hidden in ["Traceback", "File \"", "/usr/", "/run/", ".py", "psycopg2", "\n", "<html", "<!doctype", "<title"] {
        assert!(!message.contains(hidden), "{capture}: {message}");
    }
}

#[test]
fn sentences_of_odoo_come_through() {
    let message = |text: &str, capture: &str| cases(text).iter().find(|case| case.capture == capture).unwrap().read().unwrap_err().message;
    for (text, capture, want) in [
        (
            ODOO_19,
            "x23b-validation-constraint",
            "Códigos de barras ya asignados: - Barcode \"DUP-1\" already assigned to product(s): A and B Nota: los productos a los que no tiene acceso no se mostrarán.",
        ),
        (ODOO_19, "k24-500-field", "Invalid field res.partner.nofield in condition ('nofield', '=', 1)"),
        (ODOO_19, "x24d-no-such-field", "Invalid field res.partner.nofield in condition ('nofield', '=', 1)"),
        (ODOO_19, "k22-404-model", "the model 'no.model' does not exist"),
        (ODOO_19, "x04-authenticate-wrong-db", "There is no database \"no_such_db\" on this server"),
        (ODOO_19, "k20d-password-as-bearer", "Odoo does not accept the login, password or API key"),
        (ODOO_14, "x24b-no-such-method", "type object 'res.partner' has no attribute 'no_such_method'"),
        (ODOO_14, "f08c-big-int", "A value is out of the range that Odoo can store"),
        (ODOO_14, "f10e-post-again", ""),
    ] {
        if !want.is_empty() {
            assert_eq!(message(text, capture), want, "{capture}");
        }
    }
    assert!(message(ODOO_19, "x22-access-error-create").starts_with("No puede crear registros 'Contact' (res.partner). Esta operación"));
}

#[test]
fn values_come_through() {
    let partner = value_of(ODOO_19, "x16-read");
    assert_eq!(partner[0]["name"], "Peña & Núñez <SRL> «ñ» 漢字 😀 \"q\"");
    assert_eq!(partner[0]["street"], "Línea 1\nLínea 2\ttab");
    assert_eq!(value_of(ODOO_19, "f08f-read")[0]["list_price"], json!(123_456_789_012.345));
    assert_eq!(value_of(ODOO_19, "f34-web_search_read"), json!({"length": 1, "records": [{"id": 55, "name": "Ferretería Ñ", "country_id": {"id": 61, "code": "DO"}}]}));
    assert_eq!(value_of(ODOO_19, "k33-context_get"), json!({"lang": "es_DO", "tz": "America/Santo_Domingo", "uid": 7}));
    assert_eq!(value_of(ODOO_14, "w04-post-jsonrpc"), json!([5]));
    assert_eq!(value_of(ODOO_14, "x02-authenticate"), json!(8));
    // The same record over two wires is the same value.
    let both = [value_of(ODOO_19, "x10-search_read"), value_of(ODOO_19, "k01-search_read")];
    for field in ["id", "name", "vat", "country_id", "category_id", "credit_limit"] {
        assert_eq!(both[0][0][field], both[1][0][field], "{field}");
    }
}

#[test]
fn odoo_online_without_the_api() {
    let subject = Subject { model: "res.partner", method: "search", uid: 2, database: "acme", writes: false };
    let page = |status: u16| Incoming { status, body: b"<html><title>403 Forbidden</title></html>".to_vec(), ..Incoming::default() };
    let limits = DecodeLimits::default();
    assert_eq!(jsonrpc::answer(&page(403), &limits, &subject, true).unwrap_err().kind, Kind::ApiNotInPlan);
    assert_eq!(jsonrpc::answer(&page(402), &limits, &subject, false).unwrap_err().kind, Kind::ApiNotInPlan);
    assert_eq!(jsonrpc::answer(&page(403), &limits, &subject, false).unwrap_err().kind, Kind::AccessDenied);
    assert_eq!(json2::answer(&page(404), &limits, &subject, true).unwrap_err().kind, Kind::ApiNotInPlan);
    let refusal = |text: &str| Incoming {
        status: 200,
        body: json!({"jsonrpc": "2.0", "error": {"data": {"name": "odoo.exceptions.AccessError", "message": text}}}).to_string().into_bytes(),
        ..Incoming::default()
    };
    assert_eq!(jsonrpc::answer(&refusal("External API is not part of your plan"), &limits, &subject, true).unwrap_err().kind, Kind::ApiNotInPlan);
    assert_eq!(jsonrpc::answer(&refusal("External API is not part of your plan"), &limits, &subject, false).unwrap_err().kind, Kind::AccessDenied);
    assert_eq!(jsonrpc::answer(&refusal("No puede acceder"), &limits, &subject, true).unwrap_err().kind, Kind::AccessDenied);
}

#[test]
fn statuses_of_a_proxy() {
    let subject = Subject::default();
    for (status, want) in [
        (429, Kind::Busy { retry_after_s: Some(7) }),
        (503, Kind::Busy { retry_after_s: Some(7) }),
        (502, Kind::ConnectionLost),
        (504, Kind::TimedOut { sent: true }),
        (522, Kind::Unreachable),
        (413, Kind::BadArguments),
        (301, Kind::NotOdoo),
        (401, Kind::AccessDenied),
        (404, Kind::VersionNotSupported),
        (500, Kind::ServerFault),
        (200, Kind::NotOdoo),
        (418, Kind::NotOdoo),
    ] {
        let answer = Incoming { status, retry_after_s: Some(7), body: b"<!DOCTYPE html><html>x</html>".to_vec(), location: None };
        let limits = DecodeLimits::default();
        assert_eq!(json2::answer(&answer, &limits, &subject, false).unwrap_err().kind, want, "{status} json2");
        assert_eq!(jsonrpc::answer(&answer, &limits, &subject, false).unwrap_err().kind, want, "{status} jsonrpc");
        assert_eq!(xmlrpc_object::answer(&answer, &limits, &subject, false).unwrap_err().kind, want, "{status} xmlrpc");
    }
}

#[test]
fn answers_that_break_off_or_unfold() {
    let subject = Subject::default();
    let limits = DecodeLimits { depth_max: 8, values_max: 100 };
    let of = |body: &str| Incoming { status: 200, body: body.as_bytes().to_vec(), ..Incoming::default() };
    assert_eq!(json2::answer(&of("[{\"id\": 1, \"na"), &limits, &subject, false).unwrap_err().kind, Kind::ConnectionLost);
    assert_eq!(jsonrpc::answer(&of(""), &limits, &subject, false).unwrap_err().kind, Kind::ConnectionLost);
    assert_eq!(xmlrpc_object::answer(&of("<?xml version=\"1.0\"?><methodResponse><par"), &limits, &subject, false).unwrap_err().kind, Kind::ConnectionLost);
    assert_eq!(json2::answer(&of(&"[".repeat(50)), &limits, &subject, false).unwrap_err().kind, Kind::AnswerTooLarge);
    assert_eq!(json2::answer(&of(&format!("[{}1]", "1,".repeat(200))), &limits, &subject, false).unwrap_err().kind, Kind::AnswerTooLarge);
    assert_eq!(xmlrpc_object::answer(&of("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><methodResponse/>"), &limits, &subject, false).unwrap_err().kind, Kind::NotOdoo);
    assert_eq!(jsonrpc::answer(&of("{\"hello\": \"world\"}"), &limits, &subject, false).unwrap_err().kind, Kind::NotOdoo);
}
