//! Name search: exact, then all words, then the last word as a beginning, then one typo.
//!
//! Rows are stored in order of merit, so each step takes the first rows that match and stops; it never ranks all of
//! the forty thousand names that hold COMERCIAL. A later step runs only while there is room, the typo step only
//! when nothing at all was found.

use std::fmt::Write;

use chrono::NaiveDate;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::error::PadronError;
use super::padron::PadronLimits;
use super::read::{Index, SELECT_BY_ROW, Taxpayer, taxpayer};
use super::text::{fold, is_particle, name_hash, without_legal_form};

/// Shortest last word that is also tried as a beginning; shorter ones match half the listing.
const PREFIX_CHARS_MIN: usize = 3;
/// Shortest word in which a typo is looked for.
const TYPO_CHARS_MIN: usize = 4;
/// Longest word in which a typo is looked for: the candidates grow with its length.
const TYPO_CHARS_MAX: usize = 24;
/// Words that may replace a mistyped one, the most frequent first.
const TYPO_WORDS_MAX: usize = 8;

/// Known words that are taken for a typo in turn, when all words are known but no name has them together.
const TYPO_SUSPECTS_MAX: usize = 4;

/// A question for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameQuery {
    /// What somebody typed or said; case, accents, punctuation and the legal form do not matter.
    pub text: String,
    /// How many are wanted; [`PadronLimits::hits_max`] is the upper bound.
    pub limit: usize,
    /// Only taxpayers whose status is ACTIVO.
    pub only_active: bool,
}

/// The answer: the best ones, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameHits {
    /// Best first: exact, all words, beginning of the last word; active ones first within each.
    pub hits: Vec<Taxpayer>,
    /// How many taxpayers match at the widest step that was needed.
    pub total: u64,
    /// [`Self::total`] stopped counting at its limit: there are at least that many.
    pub total_is_capped: bool,
    /// Nothing matched as written; these match with one letter changed.
    pub approximate: bool,
    /// The day the data are of.
    pub cutoff: NaiveDate,
}

/// Rows found so far, best first.
#[derive(Default)]
struct Found {
    rows: Vec<i64>,
    total: usize,
}

struct Search<'a> {
    db: &'a Connection,
    limit: usize,
    total_max: usize,
    last_row: i64,
}

pub(super) fn search(index: &Index, limits: &PadronLimits, cutoff: NaiveDate, query: &NameQuery) -> Result<NameHits, PadronError> {
    let too_long = || PadronError::QueryTooLong { chars_max: limits.query_chars_max, words_max: limits.query_words_max };
    if query.text.chars().count() > limits.query_chars_max {
        return Err(too_long());
    }
    let folded = fold(&query.text);
    let words = without_legal_form(&folded);
    if words.len() > limits.query_words_max {
        return Err(too_long());
    }
    if !words.iter().any(|w| w.len() >= 2) {
        return Err(PadronError::QueryTooShort);
    }
    index.with(|db| {
        let last_row = if query.only_active { index.active_rows } else { index.rows };
        let search = Search { db, limit: query.limit.clamp(1, limits.hits_max), total_max: limits.total_max, last_row: i64::try_from(last_row).unwrap_or(i64::MAX) };
        let (found, approximate) = search.run(&words)?;
        let mut select = db.prepare_cached(SELECT_BY_ROW)?;
        let hits = found.rows.iter().map(|row| select.query_row([row], |r| taxpayer(r, &index.labels))).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(NameHits { hits, total: u64::try_from(found.total).expect("a count fits in 64 bits"), total_is_capped: found.total >= limits.total_max, approximate, cutoff })
    })
}

impl Search<'_> {
    fn run(&self, words: &[&str]) -> rusqlite::Result<(Found, bool)> {
        let mut found = Found::default();
        self.exact(words, &mut found)?;
        self.matching(&all_of(words, false), &mut found)?;
        let prefix = words.last().is_some_and(|w| w.len() >= PREFIX_CHARS_MIN);
        if found.rows.len() < self.limit && prefix {
            self.matching(&all_of(words, true), &mut found)?;
        }
        // "Comercial de la Vega" for COMERCIAL LA VEGA.
        let telling: Vec<&str> = words.iter().copied().filter(|w| !is_particle(w)).collect();
        if found.rows.is_empty() && telling.len() < words.len() && telling.iter().any(|w| w.len() >= 2) {
            self.matching(&all_of(&telling, telling.last().is_some_and(|w| w.len() >= PREFIX_CHARS_MIN)), &mut found)?;
        }
        if found.rows.is_empty() {
            self.one_typo(&telling, &mut found)?;
            let approximate = !found.rows.is_empty();
            return Ok((found, approximate));
        }
        Ok((found, false))
    }

    /// Rows whose name or trade name is the query, legal form aside.
    fn exact(&self, words: &[&str], found: &mut Found) -> rusqlite::Result<()> {
        let mut select =
            self.db.prepare_cached("SELECT e.row, t.name, t.trade FROM exact e JOIN taxpayer t USING (row) WHERE e.hash = ?1 AND e.row <= ?2 ORDER BY e.row LIMIT ?3")?;
        let mut rows = select.query(params![name_hash(words), self.last_row, count(self.limit)])?;
        while let Some(row) = rows.next()? {
            let same = |text: String| without_legal_form(&fold(&text)) == words;
            if same(row.get(1)?) || row.get::<_, Option<String>>(2)?.is_some_and(same) {
                found.rows.push(row.get(0)?);
            }
        }
        found.total = found.rows.len();
        Ok(())
    }

    /// The first rows that match an FTS expression, and how many match it, up to the limit of counting.
    fn matching(&self, expression: &str, found: &mut Found) -> rusqlite::Result<()> {
        let mut select = self.db.prepare_cached("SELECT rowid FROM name WHERE name MATCH ?1 AND rowid <= ?2 ORDER BY rowid LIMIT ?3")?;
        let mut rows = select.query(params![expression, self.last_row, count(self.total_max)])?;
        let mut total = 0;
        while let Some(row) = rows.next()? {
            total += 1;
            if found.rows.len() < self.limit {
                let row: i64 = row.get(0)?;
                if !found.rows.contains(&row) {
                    found.rows.push(row);
                }
            }
        }
        found.total = found.total.max(total);
        Ok(())
    }

    /// Replaces words that no name has by words one letter away; if every word occurs somewhere, each in turn.
    fn one_typo(&self, words: &[&str], found: &mut Found) -> rusqlite::Result<()> {
        let mut by_rarity = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            by_rarity.push((self.rows_with(word)?.unwrap_or(0), at));
        }
        by_rarity.sort_unstable();
        let suspects: Vec<usize> = match by_rarity.iter().filter(|(rows, _)| *rows == 0).count() {
            // The rarest ones first: a typo that is a word by chance is seldom a common one.
            0 => by_rarity.iter().take(TYPO_SUSPECTS_MAX).map(|(_, at)| *at).collect(),
            1 => vec![by_rarity[0].1],
            // Two unknown words are two typos: not this step's business.
            _ => return Ok(()),
        };
        for at in suspects {
            let near = self.near_words(words[at])?;
            if near.is_empty() {
                continue;
            }
            let mut expression = all_of(&words.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, w)| *w).collect::<Vec<_>>(), false);
            let any: Vec<String> = near.iter().map(|w| format!("\"{w}\"")).collect();
            write!(expression, "{}({})", if expression.is_empty() { "" } else { " AND " }, any.join(" OR ")).expect("writing to a string cannot fail");
            self.matching(&expression, found)?;
            if found.rows.len() >= self.limit {
                break;
            }
        }
        Ok(())
    }

    /// Words of the listing one edit away (a letter changed, missing, added, or two swapped), frequent ones first.
    fn near_words(&self, word: &str) -> rusqlite::Result<Vec<String>> {
        if !(TYPO_CHARS_MIN..=TYPO_CHARS_MAX).contains(&word.len()) {
            return Ok(Vec::new());
        }
        let mut known = Vec::new();
        for candidate in one_edit_away(&word.to_ascii_lowercase()) {
            if let Some(rows) = self.rows_with(&candidate)? {
                known.push((std::cmp::Reverse(rows), candidate));
            }
        }
        known.sort_unstable();
        known.dedup();
        known.truncate(TYPO_WORDS_MAX);
        Ok(known.into_iter().map(|(_, word)| word).collect())
    }

    fn rows_with(&self, word: &str) -> rusqlite::Result<Option<i64>> {
        self.db.prepare_cached("SELECT rows FROM word WHERE text = ?1")?.query_row([word.to_ascii_lowercase()], |r| r.get(0)).optional()
    }
}

/// An FTS5 expression: all words, the last one optionally as a beginning. Folded words hold only `A–Z 0–9`, so
/// quoting them is enough.
fn all_of(words: &[&str], last_as_prefix: bool) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    format!("{}{}", quoted.join(" AND "), if last_as_prefix { "*" } else { "" })
}

/// Every text one edit away, duplicates included: about 74 per letter, each one point look-up.
fn one_edit_away(word: &str) -> Vec<String> {
    let alphabet = || (b'a'..=b'z').chain(b'0'..=b'9').map(char::from);
    let mut out = Vec::with_capacity(word.len() * 74 + 36);
    for at in 0..=word.len() {
        let (head, tail) = word.split_at(at);
        out.extend(alphabet().map(|c| format!("{head}{c}{tail}")));
        let mut rest = tail.chars();
        let Some(first) = rest.next() else { continue };
        let after = rest.as_str();
        out.push(format!("{head}{after}"));
        out.extend(alphabet().filter(|c| *c != first).map(|c| format!("{head}{c}{after}")));
        if let Some(second) = rest.next() {
            out.push(format!("{head}{second}{first}{}", rest.as_str()));
        }
    }
    out
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_every_kind() {
        let near = one_edit_away("abc");
        for wanted in ["bc", "ac", "ab", "xabc", "abcx", "axbc", "xbc", "bac", "acb", "ab0"] {
            assert!(near.iter().any(|w| w == wanted), "{wanted}");
        }
        assert!(!near.iter().any(|w| w == "cba" || w == "abcde"));
    }

    #[test]
    fn expressions_quote_every_word() {
        assert_eq!(all_of(&["OR", "NEAR"], true), "\"OR\" AND \"NEAR\"*");
        assert_eq!(all_of(&["A"], false), "\"A\"");
        assert_eq!(all_of(&[], false), "");
    }
}
