//! Inserting many rows at once.

/// Where rows go and what happens to those that are there.
pub(crate) struct Insert {
    /// The table.
    pub(crate) table: &'static str,
    /// Its columns, in the order of the values.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// What follows the values: `ON CONFLICT …`.
    pub(crate) then: &'static str,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers.
    Int,
    /// Texts without NUL.
    Text,
    /// Texts a person typed.
    Free,
    /// Bytes.
    Bytes,
    /// Yes or no.
    Flag,
}

impl Insert {
    /// The columns' names, as they stand in the statement.
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// With the values of so many rows written out.
    pub(crate) fn of_rows(&self, count: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        format!("INSERT INTO {} ({}) VALUES {} {}", self.table, self.names(), vec![row; count].join(", "), self.then)
    }

    /// With one array for each column. In the order of the rows, so that locks are taken in that order.
    pub(crate) fn of_arrays(&self) -> String {
        let arrays: Vec<_> = self
            .columns
            .iter()
            .zip(1..)
            .map(|((_, kind), n)| {
                let array = match kind {
                    Kind::Int => "BIGINT[]",
                    Kind::Text => "TEXT[]",
                    Kind::Free | Kind::Bytes => "BYTEA[]",
                    Kind::Flag => "BOOLEAN[]",
                };
                format!("${n}::{array}")
            })
            .collect();
        format!(
            "INSERT INTO {} ({}) SELECT * FROM UNNEST({}) {}",
            self.table,
            self.names(),
            arrays.join(", "),
            self.then
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_list_the_columns_in_one_order() {
        let into =
            Insert { table: "t", columns: &[("a", Kind::Int), ("b", Kind::Free)], then: "ON CONFLICT DO NOTHING" };
        assert_eq!(into.of_rows(2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
        assert_eq!(
            into.of_arrays(),
            "INSERT INTO t (a, b) SELECT * FROM UNNEST($1::BIGINT[], $2::BYTEA[]) ON CONFLICT DO NOTHING"
        );
    }
}
