//! Statuses and bodies of JSON-2's refusals, against those of a real Odoo 19.

use super::*;

#[tokio::test]
async fn of_calls() {
    let sandbox = sandbox();
    for (path, body, status, name, message) in [
        ("no.model/search", json!({"domain": []}), 404, "werkzeug.exceptions.NotFound", "the model 'no.model' does not exist"),
        ("res.partner/no_method", json!({}), 404, "werkzeug.exceptions.NotFound", "The method 'res.partner.no_method' does not exist"),
        ("res.partner/action_confirm", json!({}), 404, "werkzeug.exceptions.NotFound", "The method 'res.partner.action_confirm' does not exist"),
        ("res.partner", json!({}), 404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?"),
        ("res.partner/_write", json!({}), 403, "odoo.exceptions.AccessError", "Private methods (such as 'res.partner._write') cannot be called remotely."),
        (
            "res.partner/search_count",
            json!({"domain": [], "context": {"allowed_company_ids": [9]}}),
            403,
            "odoo.exceptions.AccessError",
            "Access to unauthorized or invalid companies.",
        ),
        ("res.partner/write", json!({"ids": [1], "values": {}}), 422, "werkzeug.exceptions.UnprocessableEntity", "missing a required argument: 'vals'"),
        ("res.partner/create", json!([1, 2]), 422, "werkzeug.exceptions.UnprocessableEntity", "missing a required argument: 'vals_list'"),
        (
            "res.partner/web_search_read",
            json!({"domain": [], "specification": {}, "nokw": 1}),
            422,
            "werkzeug.exceptions.UnprocessableEntity",
            "got an unexpected keyword argument 'nokw'",
        ),
        ("res.partner/search_read", json!({"nokw": 1}), 500, "builtins.TypeError", "BaseModel._read_format() got an unexpected keyword argument 'nokw'"),
        ("res.partner/search_read", json!({"ids": [1], "fields": ["name"]}), 422, "werkzeug.exceptions.UnprocessableEntity", "cannot call res.partner.search_read with ids"),
        (
            "res.partner/create",
            json!({"vals_list": [{"email": "x@example.com"}]}),
            422,
            "odoo.exceptions.ValidationError",
            "The operation cannot be completed: Contacts require a name",
        ),
        ("res.partner/create", json!({"vals_list": [{"name": "x", "nofield": 1}]}), 500, "builtins.ValueError", "Invalid field 'nofield' in 'res.partner'"),
        ("res.partner/create", json!({"vals_list": [{"name": "x", "color": 3_000_000_000_i64}]}), 500, "psycopg2.errors.NumericValueOutOfRange", "integer out of range\n"),
        ("res.partner/create", json!({"vals_list": [{"name": "x", "type": "zzz"}]}), 500, "builtins.ValueError", "Wrong value for res.partner.type: 'zzz'"),
        (
            "res.partner/search_read",
            json!({"domain": [["nofield", "=", 1]], "fields": ["name"]}),
            500,
            "builtins.ValueError",
            "Invalid field res.partner.nofield in condition ('nofield', '=', 1)",
        ),
        ("res.partner/search_read", json!({"domain": [], "fields": ["nofield"]}), 500, "builtins.ValueError", "Invalid field 'nofield' on 'res.partner'"),
        ("res.partner/web_search_read", json!({"domain": [], "specification": {"nof": {}}}), 500, "builtins.ValueError", "Invalid field 'nof' on 'res.partner'"),
        (
            "res.partner/write",
            json!({"ids": [9999], "vals": {}}),
            404,
            "odoo.exceptions.MissingError",
            "Record does not exist or has been deleted.\n(Record: res.partner(9999,), User: 2)",
        ),
        (
            "sale.order/write",
            json!({"ids": [1], "vals": {"date_order": "2026-11-21T10:11:12"}}),
            500,
            "builtins.ValueError",
            "time data '2026-11-21T10:11:12' does not match format '%Y-%m-%d %H:%M:%S'",
        ),
        ("sale.order/action_confirm", json!({"ids": [1]}), 422, "odoo.exceptions.UserError", "Algunas órdenes no se encuentran en un estado que necesite confirmación."),
    ] {
        let (got, answer) = json2(&sandbox, path, body.clone()).await;
        assert_eq!((got, answer["name"].as_str().unwrap(), answer["message"].as_str().unwrap()), (status, name, message), "{path} {body}");
        assert!(answer["arguments"][0] == message && answer["context"] == json!({}) && answer["debug"].is_string());
    }
    for (path, body, part) in [
        ("res.company/write", json!({"ids": [1], "vals": {"name": "x"}}), "No puede modificar registros 'Companies' (res.company)."),
        ("ir.config_parameter/search", json!({"domain": []}), "No puede acceder a los registros 'System Parameter' (ir.config_parameter)."),
        ("res.partner/search_read", json!({"limit": 1}), "Failed to read field res.partner.rtc_session_ids"),
    ] {
        let (status, answer) = json2(&sandbox, path, body).await;
        assert!(status == 403 && answer["message"].as_str().unwrap().starts_with(part), "{answer}");
    }
}

#[tokio::test]
async fn before_the_call() {
    let sandbox = sandbox();
    let count = json!({"domain": []});
    let with = |header: &'static str, value: &str| {
        let mut request = keyed(&sandbox, "res.partner/search_count", &count);
        request.headers_mut().insert(header, value.parse().unwrap());
        request
    };
    for (request, status, message) in [
        (with("authorization", "Basic YXBpOmFwaQ=="), 401, "User not authenticated, use an API Key with a Bearer Authorization header."),
        (with("authorization", &format!("bearer {}", sandbox.password())), 401, "Invalid apikey"),
    ] {
        let (got, _, body) = send(&sandbox, request).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((got.as_u16(), answer["name"].as_str(), answer["message"].as_str()), (status, Some("werkzeug.exceptions.Unauthorized"), Some(message)));
    }
    for (request, status) in [(with("x-odoo-database", "otra"), 404), (with("content-type", "text/plain"), 415)] {
        let (got, content_type, _) = send(&sandbox, request).await;
        assert_eq!((got.as_u16(), content_type.as_str()), (status, "text/html; charset=utf-8"));
    }
    let mut request = keyed(&sandbox, "res.partner/search_count", &count);
    *request.body_mut() = Body::from("{\"domain\": [");
    let (status, _, body) = send(&sandbox, request).await;
    assert!(status == StatusCode::BAD_REQUEST && String::from_utf8(body).unwrap().contains("could not parse the body as json"));
    let mut request = keyed(&sandbox, "res.partner/search_count", &count);
    request.headers_mut().remove("x-odoo-database");
    request.headers_mut().insert("authorization", format!("Bearer {}", sandbox.api_key()).parse().unwrap());
    assert_eq!(send(&sandbox, request).await.0, StatusCode::OK, "one database needs no header; the scheme's case does not matter");
    let (status, _, _) = send(&sandbox, post("/json/2/res.partner/search_count", vec![b'x'; 5 * 1024 * 1024])).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}
