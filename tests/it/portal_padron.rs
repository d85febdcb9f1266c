//! The padrón in the portal: the official zip is uploaded and taken; anything else is refused before it touches the listing; going back.

use dunet::dgii::TaxpayerId;
use dunet::dgii::sample::{SampleOptions, write_zips};
use http::StatusCode;

use crate::support::portal::Page;
use crate::support::{TestApp, until};

const PATH: &str = "/admin/padron";
const IMPORT: &str = "/admin/padron/import";

/// The official zip of that day, made up.
async fn zip(app: &TestApp, cutoff: &str) -> Vec<u8> {
    let (folder, cutoff) = (app.folder.path().join(cutoff), cutoff.parse().unwrap());
    tokio::task::spawn_blocking(move || std::fs::read(write_zips(&folder, &SampleOptions { rows: 40, seed: 1, cutoff, defects: false }).unwrap().txt).unwrap()).await.unwrap()
}

fn cutoff(app: &TestApp) -> Option<String> {
    app.state.padron.status().active.map(|info| info.cutoff.to_string())
}

async fn imported(app: &TestApp) {
    until("the import ends", || async { !app.state.padron_imports.is_running() }).await;
}

fn is_refused(page: &Page, status: StatusCode, said: &str) -> bool {
    page.status == status && page.text.contains(said) && page.text.contains("aria-invalid")
}

#[tokio::test]
async fn a_listing_is_uploaded_and_rolled_back() {
    TestApp::everywhere_with(&["--padron-rows-min", "3"], |app| async move {
        let operator = app.operator().await;
        let page = operator.get(PATH).await;
        assert!(page.text.contains("enctype=\"multipart/form-data\""), "{}", page.text);
        let csrf = page.hidden("csrf");
        for day in ["2026-11-14", "2026-11-21"] {
            let zip = zip(&app, day).await;
            let page = operator.upload(IMPORT, &[("csrf", None, csrf.as_bytes()), ("zip", Some("DGII_RNC.zip"), &zip)]).await;
            assert!(page.status == StatusCode::SEE_OTHER && page.location() == PATH, "{} {}", page.status, page.text);
            imported(&app).await;
            assert_eq!(cutoff(&app).as_deref(), Some(day));
        }
        let page = operator.get(PATH).await;
        assert!(page.text.contains("21 nov 2026") && page.text.contains("14 nov 2026") && page.text.contains("operador@dunet.do"), "{}", page.text);
        // Older than the active one: told so, unless it is meant.
        let older = zip(&app, "2026-11-07").await;
        let page = operator.upload(IMPORT, &[("csrf", None, csrf.as_bytes()), ("zip", Some("DGII_RNC.zip"), &older)]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.text.contains("aria-invalid"), "{} {}", page.status, page.text);

        let ask = operator.get("/admin/padron/rollback").await;
        let (csrf, offered) = (ask.hidden("csrf"), ask.hidden("cutoff"));
        assert_eq!(offered, "2026-11-14");
        let stale = operator.post_bare("/admin/padron/rollback", &[("csrf", &csrf), ("cutoff", "2026-11-07")]).await;
        assert_eq!((stale.status, cutoff(&app).as_deref()), (StatusCode::CONFLICT, Some("2026-11-21")));
        assert_eq!(operator.post_bare("/admin/padron/rollback", &[("csrf", &csrf), ("cutoff", &offered)]).await.status, StatusCode::SEE_OTHER);
        assert_eq!(cutoff(&app).as_deref(), Some("2026-11-14"));
        assert!(operator.get("/admin/audit").await.text.contains("14 nov 2026"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_the_official_zip_never_touches_the_listing() {
    TestApp::everywhere_with(&["--padron-rows-min", "3", "--padron-upload-bytes-max", "200000"], |app| async move {
        app.padron(40).await;
        let operator = app.operator().await;
        let csrf = operator.get(PATH).await.hidden("csrf");
        let (before, good) = (cutoff(&app), zip(&app, "2026-11-22").await);
        let damaged = &good[..good.len() / 2];
        let large = vec![b'x'; 250_000];
        for (content, status, said) in [
            (&b"<html>Request Rejected</html>"[..], StatusCode::UNPROCESSABLE_ENTITY, "es una p\u{e1}gina web"),
            (b"GIF89a nada", StatusCode::UNPROCESSABLE_ENTITY, "no es un zip"),
            (damaged, StatusCode::UNPROCESSABLE_ENTITY, "zip"),
            (b"", StatusCode::UNPROCESSABLE_ENTITY, "Elija al menos un archivo"),
            (&large, StatusCode::PAYLOAD_TOO_LARGE, "zip"),
        ] {
            let page = operator.upload(IMPORT, &[("csrf", None, csrf.as_bytes()), ("zip", Some("../../DGII_RNC.zip"), content)]).await;
            assert!(is_refused(&page, status, said), "{said}: {} {}", page.status, page.text);
            assert!(cutoff(&app) == before && !app.state.padron_imports.is_running(), "{said}");
        }
        let one = ("zip", Some("a.zip"), &good[..]);
        let page = operator.upload(IMPORT, &[("csrf", None, csrf.as_bytes()), one, one, one]).await;
        assert!(is_refused(&page, StatusCode::UNPROCESSABLE_ENTITY, "archivos"), "{} {}", page.status, page.text);
        let page = operator.upload(IMPORT, &[("csrf", None, csrf.as_bytes()), ("role", None, b"operator"), one]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        // The refusals are in the history, and what answers is what did.
        assert!(operator.get(PATH).await.text.contains("no es un zip"));
        let id = TaxpayerId::parse("131793916").unwrap();
        assert!(app.state.padron.lookup(&id).unwrap().taxpayer.is_some());
        // Nothing of them is left.
        let left = std::fs::read_dir(app.folder.path()).unwrap().filter_map(Result::ok).any(|entry| entry.file_name() == "DGII_RNC.zip");
        assert!(!left, "a path that the sender chose");
    })
    .await;
}

#[tokio::test]
async fn a_form_with_files_is_ours_or_nothing() {
    TestApp::everywhere_with(&["--padron-rows-min", "3"], |app| async move {
        let operator = app.operator().await;
        let other = app.operator_named("otra@dunet.do").await;
        let (own, foreign) = (operator.get(PATH).await.hidden("csrf"), other.get(PATH).await.hidden("csrf"));
        let zip = zip(&app, "2026-11-21").await;
        let file = ("zip", Some("DGII_RNC.zip"), &zip[..]);
        for parts in [
            vec![file],
            vec![("csrf", None, &b""[..]), file],
            vec![("csrf", None, foreign.as_bytes()), file],
            // The token after the file, or as one, is none.
            vec![file, ("csrf", None, own.as_bytes())],
            vec![("csrf", Some("a"), own.as_bytes()), file],
        ] {
            let page = operator.upload(IMPORT, &parts).await;
            assert!(page.status == StatusCode::FORBIDDEN && page.text.contains("class=\"error-page\""), "{}", page.status);
        }
        assert!(cutoff(&app).is_none() && !app.state.padron_imports.is_running());
        assert!(operator.get(PATH).await.text.contains("Sin importaciones todavía"), "nothing in its history");
    })
    .await;
}
