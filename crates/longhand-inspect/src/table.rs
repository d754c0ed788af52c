//! A table for the terminal whose last column is wrapped.

use std::io::{self, Write};

use crate::paint::{Ink, Style, wrap};

/// Fewest characters that the last column is wrapped to.
const NARROWEST: usize = 16;

/// A line of a table.
pub(crate) enum Line {
    /// Its cells in a colour.
    Row(Ink, Vec<String>),
    /// A heading over the rows that follow.
    Heading(String),
}

/// Columns padded to their widest cell. A column in which no row has anything but `-` is left out,
/// the first and the last one excepted.
pub(crate) fn write_table(
    out: &mut impl Write,
    style: &Style,
    header: &[&str],
    lines: &[Line],
) -> io::Result<()> {
    let rows = || {
        lines.iter().filter_map(|line| match line {
            Line::Row(_, cells) => Some(cells),
            Line::Heading(_) => None,
        })
    };
    let last = header.len() - 1;
    let is_kept = |column: &usize| {
        *column == 0 || *column == last || rows().any(|cells| cells[*column] != "-")
    };
    let kept: Vec<usize> = (0..header.len()).filter(is_kept).collect();
    let widths: Vec<usize> = kept
        .iter()
        .map(|column| {
            let cells = rows().map(|cells| cells[*column].chars().count());
            cells.max().unwrap_or(0).max(header[*column].len())
        })
        .collect();

    let row = |ink: Ink, cells: &[&str]| -> String {
        let padded: Vec<String> = kept
            .iter()
            .zip(&widths)
            .filter(|(column, _)| **column != last)
            .map(|(column, width)| format!("{:<width$}  ", cells[*column]))
            .collect();
        let before = format!("  {}", padded.concat());
        let indent = before.chars().count();
        let fitting = style.columns().saturating_sub(indent).max(NARROWEST);
        let parts = wrap(cells[last], fitting);
        let line = |(idx, part): (usize, &String)| {
            let line = match idx {
                0 => format!("{before}{part}"),
                _ => format!("{}{part}", " ".repeat(indent)),
            };
            format!("{}\n", style.paint(ink, line.trim_end()))
        };
        parts.iter().enumerate().map(line).collect()
    };
    write!(out, "{}", row(Ink::Heading, header))?;
    let rules: Vec<String> = header
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let place = kept.iter().position(|kept| *kept == column);
            let width = place.map_or(0, |place| widths[place]);
            "-".repeat(if column == last { name.len() } else { width })
        })
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    write!(out, "{}", row(Ink::Plain, &rules))?;
    for line in lines {
        match line {
            Line::Row(ink, cells) => {
                let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
                write!(out, "{}", row(*ink, &cells))?;
            }
            Line::Heading(text) => {
                for part in wrap(text, style.columns()) {
                    writeln!(out, "{}", style.paint(Ink::Heading, &part))?;
                }
            }
        }
    }
    Ok(())
}
