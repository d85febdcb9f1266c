//! Tests of the XML-RPC codec: round trips, Odoo's own shapes, and documents made to hurt.

use super::super::limits::{DecodeError, DecodeLimits};
use super::{Fault, decode_answer, decode_call, encode_answer, encode_call, encode_fault};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const LIMITS: DecodeLimits = DecodeLimits { depth_max: 16, values_max: 1000 };

fn answer_of(inner: &str) -> Result<Result<Value, Fault>, DecodeError> {
    let document = format!("<?xml version=\"1.0\"?><methodResponse><params><param>{inner}</param></params></methodResponse>");
    decode_answer(document.as_bytes(), &LIMITS)
}

#[test]
fn a_call_comes_back_as_it_was() {
    let params = vec![
        json!("odoo"),
        json!(7),
        json!([[["name", "ilike", "Peña <&> \r\n\t\"ñ\" 漢字 😀"]]]),
        json!({"limit": 2, "fields": [], "none": null, "big": 5_000_000_000_i64, "f": 1180.0, "no": false}),
    ];
    let (method, back) = decode_call(&encode_call("execute_kw", &params), &LIMITS).unwrap();
    assert_eq!(method, "execute_kw");
    assert_eq!(back, params);
}

#[test]
fn whole_numbers_take_the_width_they_need() {
    let text = String::from_utf8(encode_call("m", &[json!(2_147_483_647), json!(2_147_483_648_i64), json!(0.5), json!(u64::MAX)])).unwrap();
    assert!(text.contains("<int>2147483647</int>"), "{text}");
    assert!(text.contains("<i8>2147483648</i8>"), "{text}");
    assert!(text.contains("<double>0.5</double>"), "{text}");
    assert!(text.contains("<i8>18446744073709551615</i8>"), "{text}");
}

#[test]
fn null_is_nil_in_a_call_and_false_in_an_answer() {
    assert!(String::from_utf8(encode_call("m", &[Value::Null])).unwrap().contains("<nil/>"));
    assert_eq!(decode_answer(&encode_answer(&json!({"a": null})), &LIMITS).unwrap().unwrap(), json!({"a": false}));
}

#[test]
fn characters_that_xml_cannot_carry_are_left_out() {
    let (_, back) = decode_call(&encode_call("m", &[json!("a\u{0}b\u{b}c\u{1f}d\u{ffff}")]), &LIMITS).unwrap();
    assert_eq!(back, vec![json!("abcd")]);
}

#[test]
fn a_fault_comes_back() {
    let fault = decode_answer(&encode_fault(3, "Access Denied"), &LIMITS).unwrap().unwrap_err();
    assert_eq!(fault, Fault { code: 3, text: "Access Denied".to_owned() });
    let worded = "<methodResponse><fault><value><struct><member><name>faultCode</name><value>AccessDenied</value></member></struct></value></fault></methodResponse>";
    assert_eq!(decode_answer(worded.as_bytes(), &LIMITS).unwrap().unwrap_err().code, 0);
}

#[test]
fn every_type_is_read() {
    for (inner, want) in [
        ("<value>bare &amp; <![CDATA[<b>]]>&#241;</value>", json!("bare & <b>ñ")),
        ("<value></value>", json!("")),
        ("<value/>", json!("")),
        ("<value>\n <string/>\n</value>", json!("")),
        ("<value><string>a<!-- c -->b</string></value>", json!("ab")),
        ("<value><i4>-3</i4></value>", json!(-3)),
        ("<value><i8>9007199254740993</i8></value>", json!(9_007_199_254_740_993_i64)),
        ("<value><boolean>1</boolean></value>", json!(true)),
        ("<value><double>123456789012.345</double></value>", json!(123_456_789_012.345)),
        ("<value><double>nan</double></value>", Value::Null),
        ("<value><nil/></value>", Value::Null),
        ("<value><dateTime.iso8601>20261121T10:11:12</dateTime.iso8601></value>", json!("20261121T10:11:12")),
        ("<value><base64>aG9s\n YQ==</base64></value>", json!("aG9sYQ==")),
        ("<value><array><data/></array></value>", json!([])),
        ("<value><struct/></value>", json!({})),
    ] {
        assert_eq!(answer_of(inner), Ok(Ok(want)), "{inner}");
    }
}

#[test]
fn bombs_are_refused() {
    let laughs = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><methodResponse><params><param><value>&lol2;</value></param></params></methodResponse>";
    assert_eq!(decode_answer(laughs.as_bytes(), &LIMITS), Err(DecodeError::Refused("a DOCTYPE")));
    let external = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><methodResponse/>";
    assert_eq!(decode_answer(external.as_bytes(), &LIMITS), Err(DecodeError::Refused("a DOCTYPE")));
    assert_eq!(answer_of("<value>&lol;</value>"), Err(DecodeError::Refused("an entity")));
    let attributes = (0..200).fold(String::new(), |acc, n| format!("{acc} a{n}=\"x\""));
    assert_eq!(answer_of(&format!("<value{attributes}>1</value>")), Err(DecodeError::Refused("a tag with long attributes")));
}

#[test]
fn depth_and_number_of_values_have_limits() {
    let nested = |n: usize| format!("{}<value/>{}", "<value><array><data>".repeat(n), "</data></array></value>".repeat(n));
    assert!(answer_of(&nested(15)).is_ok());
    assert_eq!(answer_of(&nested(16)), Err(DecodeError::TooDeep(16)));
    // A limit set too high by mistake must not let the stack run out.
    let deep = format!("<methodResponse><params><param>{}", "<value><array><data>".repeat(100_000));
    assert_eq!(decode_answer(deep.as_bytes(), &DecodeLimits { depth_max: usize::MAX, values_max: 1 << 30 }), Err(DecodeError::TooDeep(127)));
    let wide = format!("<value><array><data>{}</data></array></value>", "<value/>".repeat(1000));
    assert_eq!(answer_of(&wide), Err(DecodeError::TooManyValues(1000)));
}

#[test]
fn what_is_no_answer_is_an_error() {
    for bad in [
        "",
        "<html><body>hola</body></html>",
        "<methodResponse>",
        "<methodResponse></methodResponse>",
        "<methodResponse><params/></methodResponse>",
        "<methodCall/>",
        "not xml",
        "<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
        "<methodResponse><params><param><value><int>99999999999999999999</int></value></param></params></methodResponse>",
        "<methodResponse><params><param><value><blob/></value></param></params></methodResponse>",
        "<methodResponse><params><param><value>a</value></param></params></methodResponse><methodResponse/>",
        "<methodResponse><params><param><value><string>cut",
    ] {
        assert!(decode_answer(bad.as_bytes(), &LIMITS).is_err(), "{bad}");
    }
    assert_eq!(decode_answer(b"\xff\xfe", &LIMITS), Err(DecodeError::NotUtf8));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e12..1.0e12_f64).prop_map(Value::from),
        "[ -~áéñ\\r\\n\\t<>&\"']{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec(("[a-z_.<&]{1,6}", inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_survives(value in values()) {
        prop_assert_eq!(decode_answer(&encode_answer(&value), &LIMITS), Ok(Ok(value.clone())));
        prop_assert_eq!(decode_call(&encode_call("m", std::slice::from_ref(&value)), &LIMITS), Ok(("m".to_owned(), vec![value])));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a-z&;! \\[\\]\"=?-]{0,200}") {
        let _ = decode_answer(&bytes, &LIMITS);
        let _ = decode_call(text.as_bytes(), &LIMITS);
    }
}
