//! The customer's page of a quotation: a small HTML page, and a PDF of one or more pages written by hand with the
//! fonts every reader has. Shown to whoever holds the quotation's token.

use serde_json::Value;

use super::compute::{display_name, text};
use super::store::{Row, Store};

/// What the page shows.
pub(super) struct Quotation {
    pub(super) number: String,
    company: String,
    company_vat: String,
    customer: String,
    date: String,
    valid_until: String,
    lines: Vec<[String; 4]>,
    totals: [(&'static str, String); 3],
}

/// The order, when the token is its own.
pub(super) fn quotation(store: &Store, id: i64, token: &str) -> Option<Quotation> {
    let order = store.get("sale.order", id).filter(|row| !token.is_empty() && text(row, "access_token") == token)?;
    let related = |field: &str| order.get(field).and_then(Value::as_i64).unwrap_or_default();
    let company = store.get("res.company", related("company_id"))?;
    let symbol = store.raw("res.currency", related("currency_id"), "symbol").as_str().unwrap_or_default().to_owned();
    let amount = |row: &Row, field: &str| format!("{symbol} {}", money(row.get(field).and_then(Value::as_f64).unwrap_or_default()));
    let lines = store.rows("sale.order.line").map(|(_, row)| row).filter(|row| row.get("order_id").and_then(Value::as_i64) == Some(id));
    Some(Quotation {
        number: text(order, "name").to_owned(),
        company: text(company, "name").to_owned(),
        company_vat: text(company, "vat").to_owned(),
        customer: display_name(store, "res.partner", related("partner_id")),
        date: text(order, "date_order").chars().take(10).collect(),
        valid_until: text(order, "validity_date").to_owned(),
        lines: lines
            .map(|row| {
                if text(row, "display_type").is_empty() {
                    let quantity = row.get("product_uom_qty").and_then(Value::as_f64).unwrap_or_default();
                    [text(row, "name").to_owned(), format!("{quantity}"), amount(row, "price_unit"), amount(row, "price_subtotal")]
                } else {
                    [text(row, "name").to_owned(), String::new(), String::new(), String::new()]
                }
            })
            .collect(),
        totals: [("Subtotal", amount(order, "amount_untaxed")), ("ITBIS", amount(order, "amount_tax")), ("Total", amount(order, "amount_total"))],
    })
}

/// `1234567.5` as `1,234,567.50`.
fn money(amount: f64) -> String {
    let plain = format!("{:.2}", amount.abs());
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, "00"));
    let grouped: Vec<&str> = whole.as_bytes().rchunks(3).rev().filter_map(|chunk| std::str::from_utf8(chunk).ok()).collect();
    format!("{}{}.{cents}", if amount < 0.0 { "-" } else { "" }, grouped.join(","))
}

/// Text as HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The page.
pub(super) fn html(quotation: &Quotation) -> String {
    let lines: Vec<String> = quotation.lines.iter().map(|cells| format!("<tr>{}</tr>\n", cells.each_ref().map(|cell| format!("<td>{}</td>", escape(cell))).concat())).collect();
    let lines = lines.concat();
    let totals = quotation.totals.each_ref().map(|(label, amount)| format!("<tr><th colspan=3>{label}</th><td>{}</td></tr>\n", escape(amount))).concat();
    format!(
        "<!doctype html>\n<html lang=es>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n<title>Cotización {number}</title>\n<style>body{{font:16px/1.4 \
         sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}table{{width:100%;border-collapse:collapse}}td,th{{padding:.4rem;border-bottom:1px solid #ccc;text-align:right}}td:first-child,thead \
         th:first-child{{text-align:left}}</style>\n<h1>Cotización {number}</h1>\n<p><b>{company}</b> · RNC {vat}<br>Cliente: {customer}<br>Fecha: {date} · Válida hasta: \
         {valid}</p>\n<table>\n<thead><tr><th>Descripción<th>Cantidad<th>Precio<th>Importe</tr></thead>\n<tbody>\n{lines}</tbody>\n<tfoot>\n{totals}</tfoot>\n</table>\n<p><small>Datos de muestra.</small></p>\n",
        number = escape(&quotation.number),
        company = escape(&quotation.company),
        vat = escape(&quotation.company_vat),
        customer = escape(&quotation.customer),
        date = escape(&quotation.date),
        valid = escape(&quotation.valid_until),
    )
}

/// Lines of text on one PDF page.
const PDF_PAGE_LINES: usize = 48;

/// Longer descriptions are cut in the PDF.
const PDF_DESCRIPTION_CHARS: usize = 48;

/// The PDF: text only, in the reader's own Courier, so that columns line up without measuring.
pub(super) fn pdf(quotation: &Quotation) -> Vec<u8> {
    let mut text = vec![
        format!("COTIZACIÓN {}", quotation.number),
        String::new(),
        format!("{} - RNC {}", quotation.company, quotation.company_vat),
        format!("Cliente: {}", quotation.customer),
        format!("Fecha: {}   Válida hasta: {}", quotation.date, quotation.valid_until),
        String::new(),
    ];
    for [name, quantity, price, amount] in &quotation.lines {
        let name: String = name.lines().next().unwrap_or_default().chars().take(PDF_DESCRIPTION_CHARS).collect();
        text.push(format!("{name:<PDF_DESCRIPTION_CHARS$} {quantity:>6} {price:>14} {amount:>16}"));
    }
    text.push(String::new());
    text.extend(quotation.totals.iter().map(|(label, amount)| format!("{label:>70} {amount:>16}")));
    write_pdf(&text.chunks(PDF_PAGE_LINES).map(<[String]>::to_vec).collect::<Vec<_>>())
}

fn write_pdf(pages: &[Vec<String>]) -> Vec<u8> {
    // Objects 1 catalogue, 2 page tree, 3 font, then a page and its content for each page.
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let mut objects: Vec<Vec<u8>> = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()).into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>".to_vec(),
    ];
    for (page, lines) in pages.iter().enumerate() {
        let content = 5 + 2 * page;
        objects.push(format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> /Contents {content} 0 R >>").into_bytes());
        let mut stream = b"BT /F1 9.5 Tf 40 790 Td 15 TL\n".to_vec();
        for line in lines {
            stream.push(b'(');
            stream.extend(line.chars().flat_map(pdf_bytes));
            stream.extend_from_slice(b") Tj T*\n");
        }
        stream.extend_from_slice(b"ET");
        let mut object = format!("<< /Length {} >>\nstream\n", stream.len()).into_bytes();
        object.extend(stream);
        object.extend_from_slice(b"\nendstream");
        objects.push(object);
    }
    let mut file = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut offsets = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend(format!("{} 0 obj\n", at + 1).into_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for offset in offsets {
        file.extend(format!("{offset:010} 00000 n \n").into_bytes());
    }
    file.extend(format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).into_bytes());
    file
}

/// A character inside a PDF string, in Windows-1252: Latin-1 covers Spanish.
fn pdf_bytes(character: char) -> Vec<u8> {
    match u8::try_from(u32::from(character)) {
        Ok(byte @ (b'(' | b')' | b'\\')) => vec![b'\\', byte],
        Ok(byte) if byte >= 0x20 && !(0x7f..0xa0).contains(&byte) => vec![byte],
        _ => vec![b'?'],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Quotation {
        Quotation {
            number: "S00001".into(),
            company: "Ñoño & Hijos <SRL>".into(),
            company_vat: "145000014".into(),
            customer: "Peña (padre)".into(),
            date: "2026-11-22".into(),
            valid_until: "2026-12-22".into(),
            lines: (0..60).map(|at| [format!("Línea {at}"), "2".into(), "RD$ 1.00".into(), "RD$ 2.00".into()]).collect(),
            totals: [("Subtotal", "RD$ 1.00".into()), ("ITBIS", "RD$ 0.18".into()), ("Total", "RD$ 1.18".into())],
        }
    }

    #[test]
    fn money_is_grouped() {
        assert_eq!(money(1_234_567.5), "1,234,567.50");
        assert_eq!(money(999.999), "1,000.00");
        assert_eq!(money(-1234.0), "-1,234.00");
        assert_eq!(money(0.0), "0.00");
    }

    #[test]
    fn the_page_escapes_what_people_typed() {
        let page = html(&sample());
        assert!(page.contains("Ñoño &amp; Hijos &lt;SRL&gt;") && !page.contains("<SRL>"));
    }

    #[test]
    fn every_offset_of_the_pdf_leads_to_its_object() {
        let file = pdf(&sample());
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        let start: usize = text.trim_end().lines().rev().nth(1).unwrap().parse().unwrap();
        assert!(text[..].chars().skip(start).take(4).eq("xref".chars()));
        let entries: Vec<usize> = text.lines().filter(|line| line.ends_with(" 00000 n ")).map(|line| line[..10].parse().unwrap()).collect();
        assert_eq!(entries.len(), 3 + 2 * 2, "60 lines take two pages");
        for (at, offset) in entries.into_iter().enumerate() {
            assert!(file[offset..].starts_with(format!("{} 0 obj", at + 1).as_bytes()));
        }
        assert!(text.contains("(COTIZACI\u{d3}N S00001)") && text.contains("Pe\u{f1}a \\(padre\\)"));
    }
}
