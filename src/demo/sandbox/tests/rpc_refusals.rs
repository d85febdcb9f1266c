//! Faults and errors of XML-RPC and JSON-RPC, against the texts of a real Odoo 19.

use super::*;

#[tokio::test]
async fn xmlrpc_faults() {
    let sandbox = sandbox();
    let login = |database: &str, password: &str| json!([database, sandbox.login(), password, {}]);
    assert_eq!(xml(&sandbox, "common", "authenticate", login(sandbox.database(), sandbox.password())).await, Ok(json!(2)));
    assert_eq!(xml(&sandbox, "common", "authenticate", login(sandbox.database(), sandbox.api_key())).await, Ok(json!(2)));
    assert_eq!(xml(&sandbox, "common", "authenticate", login(sandbox.database(), "no")).await, Ok(json!(false)), "no fault");
    let fault = xml(&sandbox, "common", "authenticate", login("otra", "no")).await.unwrap_err();
    assert!(fault.code == 1 && fault.text.trim_end().ends_with("FATAL:  database \"otra\" does not exist"));
    let call = |uid: i64, secret: &str| json!([sandbox.database(), uid, secret, "res.partner", "search_count", [[]]]);
    assert_eq!(xml(&sandbox, "object", "execute_kw", call(2, "no")).await, Err(Fault { code: 3, text: "Access Denied".into() }));
    let gone = "Record does not exist or has been deleted.\n(Record: res.users(999,), User: 999)";
    assert_eq!(xml(&sandbox, "object", "execute_kw", call(999, sandbox.password())).await, Err(Fault { code: 2, text: gone.into() }));
    for (model, method, arguments, keywords, code, last) in [
        ("no.model", "search", json!([[]]), json!({}), 2, "Object no.model doesn't exist"),
        ("res.partner", "nothing", json!([[]]), json!({}), 1, "AttributeError: The method 'res.partner.nothing' does not exist"),
        ("res.partner", "_write", json!([[]]), json!({}), 4, "Private methods (such as 'res.partner._write') cannot be called remotely."),
        ("res.partner", "search", json!([[["nofield", "=", 1]]]), json!({}), 1, "ValueError: Invalid field res.partner.nofield in condition ('nofield', '=', 1)"),
        ("res.partner", "write", json!([[1]]), json!({}), 1, "TypeError: BaseModel.write() missing 1 required positional argument: 'vals'"),
        ("res.partner", "read", json!([[1], ["name"], 1, 2, 3]), json!({}), 1, "TypeError: BaseModel.read() takes from 1 to 3 positional arguments but 5 were given"),
        ("res.partner", "read", json!([]), json!({}), 1, "IndexError: list index out of range"),
        ("res.partner", "web_search_read", json!([[], {}]), json!({"nokw": 1}), 1, "TypeError: Base.web_search_read() got an unexpected keyword argument 'nokw'"),
        ("res.partner", "create", json!([{"email": "x"}]), json!({}), 2, "The operation cannot be completed: Contacts require a name"),
    ] {
        let fault = execute(&sandbox, model, method, arguments, keywords).await.unwrap_err();
        assert_eq!((fault.code, fault.text.trim_end().lines().last().unwrap_or_default()), (code, last), "{method}");
    }
    let request = Request::post("/xmlrpc/2/common").body(Body::from("<no")).unwrap();
    let answer = xmlrpc::decode_answer(&send(&sandbox, request).await.2, &DecodeLimits::default()).unwrap();
    assert!(answer.unwrap_err().text.contains("xml.parsers.expat.ExpatError"));
    assert_eq!(send(&sandbox, Request::get("/xmlrpc/2/common").body(Body::empty()).unwrap()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_method_without_an_answer_is_done_all_the_same() {
    let sandbox = sandbox();
    let fault = execute(&sandbox, "sale.order", "action_quotation_sent", json!([[2]]), json!({})).await.unwrap_err();
    assert!(fault.code == 1 && fault.text.contains("TypeError: cannot marshal None unless allow_none is enabled"));
    assert_eq!(execute(&sandbox, "sale.order", "read", json!([[2], ["state"]]), json!({})).await, Ok(json!([{"id": 2, "state": "sent"}])));
    let params = json!({"service": "object", "method": "execute_kw", "args": [sandbox.database(), 2, sandbox.api_key(), "sale.order", "action_quotation_sent", [[3]]]});
    let (_, _, body) = send(&sandbox, post("/jsonrpc", json!({"jsonrpc": "2.0", "id": 7, "params": params}).to_string())).await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"jsonrpc": "2.0", "id": 7}));
}

#[tokio::test]
async fn jsonrpc_errors() {
    let sandbox = sandbox();
    let call = |service: &str, method: &str, arguments: Value| post("/jsonrpc", json!({"id": 1, "params": {"service": service, "method": method, "args": arguments}}).to_string());
    let object = |model: &str, method: &str, arguments: Value| json!([sandbox.database(), 2, sandbox.api_key(), model, method, arguments]);
    for (request, name) in [
        (call("object", "execute_kw", object("no.model", "search", json!([[]]))), "odoo.exceptions.UserError"),
        (call("object", "execute_kw", object("res.partner", "nothing", json!([[]]))), "builtins.AttributeError"),
        (call("object", "execute_kw", object("res.company", "unlink", json!([[1]]))), "odoo.exceptions.AccessError"),
        (call("object", "execute_kw", json!([sandbox.database(), 2, "no", "res.partner", "search", [[]]])), "odoo.exceptions.AccessDenied"),
        (call("common", "authenticate", json!(["otra", "x", "y", {}])), "psycopg2.OperationalError"),
        (call("nothing", "x", json!([])), "builtins.KeyError"),
    ] {
        let (status, _, body) = send(&sandbox, request).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), &answer["error"]["code"], answer["error"]["data"]["name"].as_str()), (200, &json!(0), Some(name)), "{answer}");
    }
    let (status, _, body) = send(&sandbox, post("/jsonrpc", "{")).await;
    assert_eq!((status.as_u16(), body.as_slice()), (400, b"Invalid JSON data".as_slice()));
    assert_eq!(send(&sandbox, post("/jsonrpc", "[]")).await.2, b"Invalid JSON-RPC data");
}
