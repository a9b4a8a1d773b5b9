//! Tables that fit a terminal: columns as wide as what stands in them, and where that is too much, the widest shortened.
//!
//! Cells are made visible here, so that no caller can forget it: most hold words that a receiver or sender chose.

use super::terminal::{visible, wrapped};

/// Between two columns.
const GAP: usize = 2;
/// No column is shortened below this.
const LEAST: usize = 6;
/// What belongs to a row and stands below it.
const INDENT: &str = "  ";

/// On which side the cells of a column are filled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table being made.
pub(super) struct Columns {
    sides: Vec<Side>,
    rows: Vec<(Vec<String>, Vec<String>)>,
}

impl Columns {
    /// A table of these columns and nothing in it yet.
    pub(super) fn new<const N: usize>(head: [(&str, Side); N]) -> Self {
        let names = head.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { sides: head.iter().map(|(_, side)| *side).collect(), rows: vec![(names, Vec::new())] }
    }

    /// The same where their number is only known now.
    pub(super) fn of(head: Vec<(String, Side)>) -> Self {
        let (names, sides) = head.into_iter().map(|(name, side)| (visible(&name), side)).unzip();
        Self { sides, rows: vec![(names, Vec::new())] }
    }

    /// Adds a row of as many cells as there are columns.
    pub(super) fn cells(&mut self, cells: &[String]) {
        self.rows.push((cells.iter().map(|cell| visible(cell)).collect(), Vec::new()));
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push((cells.iter().map(|cell| visible(cell)).collect(), Vec::new()));
    }

    /// Adds a line below the last row; it is cut where the terminal ends.
    pub(super) fn below(&mut self, text: &str) {
        if let Some((_, below)) = self.rows.last_mut() {
            below.push(visible(text));
        }
    }

    /// Whether there is nothing below the names of the columns.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The table, at most `width` characters wide if the terminal has that much room at all.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let mut out = String::new();
        for (cells, below) in &self.rows {
            let mut line = String::new();
            for ((cell, side), width) in cells.iter().zip(&self.sides).zip(&widths) {
                if !line.is_empty() {
                    line.push_str(&" ".repeat(GAP));
                }
                let cell = clipped(cell, *width);
                let fill = " ".repeat(width - cell.chars().count());
                line.push_str(&if *side == Side::Left { cell + &fill } else { fill + &cell });
            }
            out.push_str(line.trim_end());
            out.push('\n');
            for text in below {
                let text = format!("{INDENT}{text}");
                out.push_str(&width.map_or_else(|| text.clone(), |width| clipped(&text, width)));
                out.push('\n');
            }
        }
        out
    }

    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let widest = |column: usize| {
            self.rows.iter().filter_map(|(cells, _)| cells.get(column)).map(|cell| cell.chars().count()).max()
        };
        let mut widths: Vec<usize> = (0..self.sides.len()).map(|column| widest(column).unwrap_or_default()).collect();
        let Some(room) = room else { return widths };
        let room = room.saturating_sub(GAP * widths.len().saturating_sub(1));
        // Numbers stay whole: half of one is another.
        while widths.iter().sum::<usize>() > room
            && let Some((width, _)) = widths
                .iter_mut()
                .zip(&self.sides)
                .filter(|(width, side)| **side == Side::Left && **width > LEAST)
                .max_by_key(|(width, _)| **width)
        {
            *width -= 1;
        }
        widths
    }
}

/// `text`, or its beginning with `…` at the end where it is longer than `width`.
pub(super) fn clipped(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `text` made visible and wrapped, each line ended.
pub(super) fn paragraph(text: &str, width: Option<usize>) -> String {
    let text = visible(text);
    wrapped(&text, width.unwrap_or(usize::MAX)).into_iter().fold(String::new(), |out, line| out + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Columns {
        let mut table = Columns::new([("name", Side::Left), ("count", Side::Right), ("where", Side::Left)]);
        table.row(["a", "7", "site:mx1.example.net"]);
        table.below("550 no\u{1b}[2J, never ever again will this be taken");
        table.row(["größer\u{202e}", "1234567", "x"]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_they_need_where_nothing_has_to_fit() {
        assert_eq!(
            table().text(None),
            "name              count  where\n\
             a                     7  site:mx1.example.net\n\
             \x20 550 no\\u{1b}[2J, never ever again will this be taken\n\
             größer\\u{202e}  1234567  x\n"
        );
    }

    #[test]
    fn the_widest_are_shortened_and_numbers_never() {
        let shown = table().text(Some(30));
        assert!(shown.lines().all(|line| line.chars().count() <= 30), "{shown}");
        assert!(shown.contains("1234567") && shown.contains('…'), "{shown}");
        let narrow = table().text(Some(3));
        assert!(narrow.contains("1234567"), "a terminal of no use is no panic: {narrow}");
    }
}
