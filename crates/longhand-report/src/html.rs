//! Markup under construction, in which what came from a run cannot become markup.
//!
//! [`Html::raw`] takes only text that stands in this crate's source; everything else goes through
//! [`Html::text`], which escapes. So a page is safe by its types, not by its authors' care.

use std::fmt::{Display, Write as _};

use crate::escape::escape;

/// A piece of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html {
    markup: String,
}

impl Html {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends markup from this crate's source.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.markup.push_str(markup);
        self
    }

    /// Appends a value as text, fit for the inside of an element or of a quoted attribute.
    pub(crate) fn text(&mut self, value: impl Display) -> &mut Self {
        escape(&value.to_string(), &mut self.markup);
        self
    }

    /// Appends a number as SVG wants it: no exponent, at most two decimals.
    pub(crate) fn coordinate(&mut self, value: f64) -> &mut Self {
        let rounded = (value * 100.0).round() / 100.0 + 0.0;
        // Writing to a string cannot fail.
        let _ = write!(self.markup, "{rounded}");
        self
    }

    /// Appends another piece.
    pub(crate) fn add(&mut self, other: &Html) -> &mut Self {
        self.markup.push_str(&other.markup);
        self
    }

    /// Appends `<open>value</close>`; both tags are markup from this crate's source.
    pub(crate) fn wrap(
        &mut self,
        open: &'static str,
        value: impl Display,
        close: &'static str,
    ) -> &mut Self {
        self.raw(open).text(value).raw(close)
    }

    /// Whether nothing was appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.markup.is_empty()
    }

    /// The markup.
    pub(crate) fn into_string(self) -> String {
        self.markup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_source_text_is_markup() {
        let mut inner = Html::new();
        inner.wrap("<b>", "</b><script>", "</b>");
        let mut html = Html::new();
        html.raw("<p title=\"").text("\" onclick=\"x").raw("\">");
        html.add(&inner).raw("</p>");
        assert_eq!(
            html.into_string(),
            "<p title=\"&quot; onclick=&quot;x\"><b>&lt;/b&gt;&lt;script&gt;</b></p>"
        );
    }

    #[test]
    fn coordinates_are_short_and_plain() {
        let mut html = Html::new();
        for value in [0.0, -0.001, 12.345_678, 100.0, 1e-9] {
            html.coordinate(value).raw(" ");
        }
        assert_eq!(html.into_string(), "0 0 12.35 100 0 ");
    }
}
