//! The table: what, how much, how it was measured.

use std::fmt;

#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 3]>,
}

impl Table {
    pub fn row(&mut self, what: &str, value: String, how: String) {
        self.rows.push([what.to_owned(), value, how]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (first, second) = (width(0), width(1));
        for [what, value, how] in &self.rows {
            writeln!(f, "{what:first$}  {value:second$}  {how}")?;
        }
        Ok(())
    }
}
