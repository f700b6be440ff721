//! Statements that are as long as what they are about: lists of ids, many rows at once.
//!
//! They are sent as text, with every value as a number or in hexadecimal. Prepared statements would
//! not pay: each length is a statement of its own, and one that is closed after its use costs
//! 40 ms (the server does not answer to closing, so its acknowledgement comes late, and the driver
//! leaves Nagle's algorithm on, which waits for it before it sends the next statement).

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, FromRow, mysql::MySqlRow, raw_sql};

use super::{error::Outcome, tx::Tx};

/// A statement under construction. Its SQL is made of constants and of literals without quotes in
/// them.
pub(super) struct Statement(String);

impl Statement {
    pub(super) fn new(sql: &'static str) -> Self {
        Self(sql.to_owned())
    }

    /// Goes on with SQL.
    pub(super) fn sql(mut self, sql: &'static str) -> Self {
        self.0.push_str(sql);
        self
    }

    /// Goes on with a number.
    pub(super) fn number(mut self, number: i64) -> Self {
        write_to(&mut self.0, format_args!("{number}"));
        self
    }

    /// Goes on with bytes.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        Row(&mut self.0).literal(bytes);
        self
    }

    /// Goes on with text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.push_str("_utf8mb4 ");
        self.bytes(text.as_bytes())
    }

    /// Goes on with a list in parentheses; one without items contains nothing.
    pub(super) fn list<'a>(mut self, items: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let start = self.0.len();
        for item in items {
            Row(&mut self.0).bytes(item);
        }
        if self.0.len() == start {
            self.0.push_str(", NULL");
        }
        self.0.replace_range(start..=start, "(");
        self.0.push(')');
        self
    }

    /// Goes on with rows: what stands after VALUES.
    pub(super) fn rows<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        fill: impl Fn(&mut Row<'_>, T),
    ) -> Self {
        let mut separator = "";
        for item in items {
            self.0.push_str(separator);
            let start = self.0.len();
            fill(&mut Row(&mut self.0), item);
            self.0.replace_range(start..=start, "(");
            self.0.push(')');
            separator = ", ";
        }
        self
    }

    /// Runs it; how many rows it found.
    pub(super) async fn execute(self, tx: &mut Tx<'_>) -> Outcome<u64> {
        let done = raw_sql(AssertSqlSafe(self.0)).execute(&mut *tx.conn).await;
        Ok(done?.rows_affected())
    }

    /// Runs it and reads what it answers.
    pub(super) async fn fetch<T>(self, tx: &mut Tx<'_>) -> Outcome<Vec<T>>
    where
        T: for<'r> FromRow<'r, MySqlRow>,
    {
        let rows = raw_sql(AssertSqlSafe(self.0)).fetch_all(&mut *tx.conn);
        let rows = rows.await?;
        Ok(rows.iter().map(T::from_row).collect::<sqlx::Result<_>>()?)
    }
}

/// Values, each with a comma before it.
pub(super) struct Row<'s>(&'s mut String);

impl Row<'_> {
    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        write_to(self.0, format_args!(", {number}"));
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.push_str(", ");
        self.literal(bytes);
        self
    }

    /// NULL when there are none.
    pub(super) fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => {
                self.0.push_str(", NULL");
                self
            }
        }
    }

    /// For columns of text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(", _utf8mb4 ");
        self.literal(text.as_bytes());
        self
    }

    /// Hexadecimal: nothing in it can end it.
    fn literal(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0.push_str("x'");
        self.0.extend(bytes.iter().flat_map(|byte| {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            [digit(byte >> 4), digit(byte & 15)]
        }));
        self.0.push('\'');
    }
}

/// Writing to memory does not fail.
fn write_to(sql: &mut String, value: std::fmt::Arguments<'_>) {
    let _ = sql.write_fmt(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_rows() {
        let list = |items: &[&[u8]]| {
            let sql = Statement::new("IN ").list(items.iter().copied());
            sql.sql(" LIMIT ").number(-3).0
        };
        assert_eq!(list(&[]), "IN ( NULL) LIMIT -3");
        assert_eq!(list(&[b"'\xff"]), "IN ( x'27ff') LIMIT -3");
        assert_eq!(list(&[b"", b"\0"]), "IN ( x'', x'00') LIMIT -3");
        let rows = Statement::new("VALUES ").rows(["a'", ""], |row, text| {
            row.number(1).text(text).optional(None);
        });
        assert_eq!(
            rows.0,
            "VALUES ( 1, _utf8mb4 x'6127', NULL), ( 1, _utf8mb4 x'', NULL)"
        );
    }
}
