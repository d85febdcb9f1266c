//! The guard's tables: every range, every odd way to write an address.

use super::super::config::AddressPolicy::{AllowPrivate, PublicOnly};
use super::super::config::{AddressPolicy, OdooConfig, OdooLimits, ProtocolChoice};
use super::super::error::OdooErrorKind;
use super::super::http::Http;
use super::super::meter::CallMeter;
use super::super::wire::call::Outgoing;
use super::{GuardedResolver, allowed, check_url, is_public};
use reqwest::dns::Resolve;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

#[test]
fn every_range_that_is_not_public() {
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "169.254.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.31.196.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.128.5",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:808:808::1",
        "2620:4f:8000::1",
        "3fff::1",
        "2600:3c00::5efe:7f00:1",
        "2600:3c00::200:5efe:a00:1",
        "fe80::5efe:a00:1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
        "5f00::1",
        "1::1",
    ] {
        assert!(!is_public(text.parse::<IpAddr>().unwrap()), "{text} must be refused");
    }
}

#[test]
fn what_is_public() {
    for text in [
        "8.8.8.8",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4003::1",
        "2600:3c00::f03c:91ff:fe00:1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
    ] {
        assert!(is_public(text.parse::<IpAddr>().unwrap()), "{text} is public");
    }
}

#[test]
fn an_address_of_this_machine_is_not_public() {
    // The only address that every machine has; a public one of its own is told in the same way.
    assert!(super::is_ours("127.0.0.1".parse().unwrap()));
    for text in ["8.8.8.8", "1.1.1.1", "192.0.2.1", "2606:4700:4700::1111", "2001:db8::1"] {
        assert!(!super::is_ours(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn addresses_are_refused_however_they_are_written() {
    for text in [
        "https://127.0.0.1",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://0x7f.0.0.0x1",
        "https://017700000001",
        "https://0",
        "https://127.0.0.1.",
        "https://１２７.0.0.1",
        "https://127。0。0。1",
        "https://%31%32%37.0.0.1",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166",
        "https://0xa9fea9fe",
        "https://10.0.0.5:8069",
        "https://192.168.1.10",
        "https://[::1]",
        "https://[::]",
        "https://[::ffff:127.0.0.1]",
        "https://[::ffff:7f00:1]",
        "https://[64:ff9b::7f00:1]",
        "https://[fe80::1]",
        "https://[fd00::1]",
        "https://[2002:7f00:1::]",
        "https://[0:0:0:0:0:ffff:a9fe:a9fe]",
        "http://example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "unix:/run/odoo.sock",
        "data:text/plain,x",
        "gopher://example.com",
        "https://user@example.com",
        "https://user:pw@example.com",
        "https://:pw@example.com",
        "https://example.com@127.0.0.1",
        "https://example.com:22",
        "https://example.com:25",
        "https://example.com:80",
        "https://example.com:0",
        "https://example.com:5432",
        "https://example.com:6379",
    ] {
        // What does not parse as a URL never gets here; that is refused too.
        if let Ok(url) = Url::parse(text) {
            let error = check_url(&url, PublicOnly).expect_err(text);
            assert_eq!(error.kind, OdooErrorKind::AddressRefused, "{text}");
            assert!(!error.message.contains("pw") && !error.cause.contains("pw"), "{text}");
        }
    }
}

#[test]
fn good_addresses_are_taken_and_tidied() {
    for (text, want) in [
        ("https://acme.odoo.com", "https://acme.odoo.com/"),
        ("https://acme.odoo.com/web?debug=1#action=5", "https://acme.odoo.com/"),
        ("https://acme.odoo.com/odoo/sales/5", "https://acme.odoo.com/"),
        ("https://acme.com/erp", "https://acme.com/erp/"),
        ("https://acme.com/erp/web/login", "https://acme.com/erp/"),
        ("https://acme.com:8069/", "https://acme.com:8069/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://ñandú.do", "https://xn--and-6ma2c.do/"),
    ] {
        assert_eq!(check_url(&Url::parse(text).unwrap(), PublicOnly).unwrap().as_str(), want);
    }
    for text in ["http://127.0.0.1:18069", "http://odoo.lan:8069", "https://192.168.1.5", "http://[::1]:80"] {
        assert!(check_url(&Url::parse(text).unwrap(), AllowPrivate).is_ok(), "{text}");
    }
    assert!(check_url(&Url::parse("http://u:p@127.0.0.1").unwrap(), AllowPrivate).is_err());
    assert!(check_url(&Url::parse("file:///etc").unwrap(), AllowPrivate).is_err());
}

#[test]
fn a_name_keeps_only_its_allowed_addresses() {
    let found = || vec!["127.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap(), "[fd00::1]:0".parse().unwrap()];
    assert_eq!(allowed(found(), PublicOnly).unwrap(), vec!["8.8.8.8:0".parse().unwrap()]);
    assert_eq!(allowed(found(), AllowPrivate).unwrap().len(), 3);
    assert_eq!(allowed(vec!["127.0.0.1:0".parse().unwrap()], PublicOnly).unwrap_err().found, 1);
}

/// A name whose answer changes: `answers[n]` at the n-th look-up, the last one ever after.
fn changing(policy: AddressPolicy, answers: Vec<Vec<SocketAddr>>) -> (GuardedResolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let resolver = GuardedResolver::asking(policy, move |_| {
        let turn = counter.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found = answers[turn].clone();
        Box::pin(async move { Ok(found) })
    });
    (resolver, asked)
}

fn config(url: &str, addresses: AddressPolicy) -> OdooConfig {
    OdooConfig {
        url: Url::parse(url).unwrap(),
        database: "db".into(),
        login: "ana".into(),
        secret: "clave".into(),
        protocol: ProtocolChoice::Auto,
        limits: OdooLimits { connect_timeout_ms: 1_000, request_timeout_ms: 2_000, ..OdooLimits::default() },
        addresses,
    }
}

async fn post(http: &Http) -> Result<u16, OdooErrorKind> {
    let outgoing = Outgoing { path: "x".into(), content_type: "application/json", body: b"{}".to_vec(), in_headers: false };
    http.post(&outgoing, None, crate::odoo::gate::Turn::default(), true, &CallMeter::default()).await.map(|answer| answer.status).map_err(|error| error.kind)
}

/// Answers every request with an empty page and closes, and counts.
async fn closing_server(listener: tokio::net::TcpListener, status: u16) -> (SocketAddr, Arc<AtomicUsize>, tokio::task::JoinSet<()>) {
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            // A client that is gone is no matter here.
            drop(stream.read(&mut request).await);
            drop(stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await);
        }
    });
    (address, taken, tasks)
}

/// A name that was public when it was looked at and leads inside when it is connected to gains nothing.
#[tokio::test]
async fn a_name_that_turns_private_is_refused_at_the_connect() {
    let (inside, taken, _tasks) = closing_server(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), 200).await;
    let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
    for private in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0", "169.254.169.254:0", "10.1.2.3:0"] {
        let (resolver, asked) = changing(PublicOnly, vec![vec![public], vec![private.parse().unwrap()]]);
        // The check before: public.
        let looked: Vec<SocketAddr> = resolver.resolve("rebind.example".parse().unwrap()).await.unwrap().collect();
        assert_eq!(looked, [public]);
        let url = format!("https://rebind.example:{}", inside.port());
        let http = Http::with_resolver(&config(&url, PublicOnly), None, resolver).unwrap();
        for turn in 2..4 {
            assert_eq!(post(&http).await, Err(OdooErrorKind::AddressRefused), "{private}");
            assert_eq!(asked.load(Ordering::SeqCst), turn, "{private}: asked again at every connect");
        }
    }
    assert_eq!(taken.load(Ordering::SeqCst), 0, "nothing was connected to");
}

/// The resolver is asked at every connect, and what it answers is what is connected to: no answer is remembered.
#[tokio::test]
async fn every_connect_goes_where_the_name_leads_then() {
    let (one, at_one, _first) = closing_server(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), 200).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.2", one.port())).await;
    let Ok(listener) = listener else { return }; // no second loopback address on this machine
    let (_, at_other, _second) = closing_server(listener, 404).await;
    let (resolver, asked) = changing(AllowPrivate, vec![vec!["127.0.0.1:0".parse().unwrap()], vec!["127.0.0.2:0".parse().unwrap()]]);
    let http = Http::with_resolver(&config(&format!("http://moves.example:{}", one.port()), AllowPrivate), None, resolver).unwrap();
    assert_eq!((post(&http).await, post(&http).await), (Ok(200), Ok(404)));
    assert_eq!((at_one.load(Ordering::SeqCst), at_other.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (1, 1, 2));
}
