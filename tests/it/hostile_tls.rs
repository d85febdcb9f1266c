//! Certificates: only one that is in date, for the right name and signed by somebody trusted lets a secret out.
//!
//! Through the binary itself, which is told by the environment (`SSL_CERT_FILE`) whom to trust.

use std::sync::Arc;

use dunet::demo::sandbox::SandboxOdoo;
use dunet::odoo::ProtocolChoice;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::support::hostile::over_tls;
use crate::support::mcp::McpClient;
use crate::support::odoo::settings;
use crate::support::process::Process;
use crate::support::{Backend, TestApp, serve};

/// Signed by that authority, or by itself.
fn certificate(name: &str, until: Option<(i32, u8, u8)>, issuer: Option<&Issuer<'static, KeyPair>>) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if let Some((year, month, day)) = until {
        params.not_after = date_time_ymd(year, month, day);
    }
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    (vec![certificate.expect("signed").der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_good_certificate_is_believed() {
    let mut app = TestApp::start(Backend::Sqlite, &[]).await;
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let file = app.folder.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();

    let sandbox = Arc::new(SandboxOdoo::dominican_sample("Segura"));
    let (plain, _server) = serve(Arc::clone(&sandbox).router()).await;
    let mut tasks = JoinSet::new();
    let mut cases = Vec::new();
    for (what, (chain, key), code) in [
        ("a good one", certificate("localhost", None, Some(&issuer)), None),
        ("expired", certificate("localhost", Some((2024, 1, 1)), Some(&issuer)), Some("odoo_tls")),
        ("for another name", certificate("otra.example", None, Some(&issuer)), Some("odoo_tls")),
        ("self-signed", certificate("localhost", None, None), Some("odoo_tls")),
    ] {
        cases.push((what, format!("https://localhost:{}", over_tls(&mut tasks, &plain, chain, key).await), code));
    }
    cases.push(("plain text on the port", plain.replace("http://127.0.0.1", "https://localhost"), Some("odoo_tls")));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cases.push(("silence in the handshake", format!("https://localhost:{}", silent.local_addr().unwrap().port()), Some("odoo_lento")));

    let environment = [("SSL_CERT_FILE", file.to_str().unwrap()), ("DUNET_CALL_DEADLINE_MS", "4000"), ("DUNET_ODOO_CONNECT_TIMEOUT_MS", "1000"), ("DUNET_DRAIN_MS", "100")];
    let service = Process::serve(&app, &environment).await;
    for (what, url, code) in cases {
        let (_, token) = app.tenant_at(what, settings(&sandbox, &url, ProtocolChoice::Auto)).await;
        let client = McpClient::legacy(&service.mcp_url(), &token);
        let search = json!({ "consulta": "Pérez" });
        match code {
            None => assert_eq!(client.call("buscar_cliente", search).await["total"], 4, "{what}"),
            Some(code) => {
                let error = client.fail("buscar_cliente", search).await;
                assert_eq!(error["codigo"], code, "{what}: {error}");
                assert_eq!(error["reintentable"], code == "odoo_lento", "{what}: {error}");
                assert!(!error.to_string().contains(sandbox.api_key()), "{what}: {error}");
            }
        }
    }
    app.stop().await;
}
