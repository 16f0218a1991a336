//! Rows with several items each, as parameters of one statement.

/// Where each row's items stand in an array that holds those of all rows, since an array of arrays
/// would have to be rectangular: a statement takes `items[first:last]`. As Postgres has it, the
/// first item is 1 and the last one is included.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// By row.
    pub firsts: Vec<i32>,
    /// By row; one before the first for a row without items.
    pub lasts: Vec<i32>,
}

impl Slices {
    /// Room for so many rows.
    pub fn with_capacity(rows: usize) -> Self {
        Self { firsts: Vec::with_capacity(rows), lasts: Vec::with_capacity(rows) }
    }

    /// Adds a row of so many items.
    pub fn push(&mut self, items: usize) {
        let end = self.lasts.last().copied().unwrap_or(0);
        self.firsts.push(end + 1);
        self.lasts.push(end + i32::try_from(items).expect("a statement has thousands of items"));
    }
}

#[cfg(test)]
mod tests {
    use super::Slices;

    #[test]
    fn each_row_begins_where_the_one_before_ends() {
        let mut slices = Slices::default();
        [1, 3, 0, 2].into_iter().for_each(|items| slices.push(items));
        assert_eq!(slices, Slices { firsts: vec![1, 2, 5, 5], lasts: vec![1, 4, 4, 6] });
    }
}
