//! The parts of the page, in its order; each takes runs and returns markup.

pub(crate) mod attempts;
pub(crate) mod collapse;
pub(crate) mod curves;
pub(crate) mod findings;
pub(crate) mod lengths;
pub(crate) mod retention;
pub(crate) mod rewards;
pub(crate) mod settings;
pub(crate) mod summary;
pub(crate) mod times;

use crate::load::Loaded;

/// A run, and the one it is held against if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) run: &'a Loaded,
    pub(crate) against: Option<&'a Loaded>,
}

impl<'a> Pair<'a> {
    /// The runs, the first with `false`, the other with `true`.
    pub(crate) fn runs(self) -> impl Iterator<Item = (&'a Loaded, bool)> {
        let against = self.against.map(|run| (run, true));
        std::iter::once((self.run, false)).chain(against)
    }

    /// A line's name: what it shows, and of which run where there are two.
    pub(crate) fn name(self, what: &str, run: &Loaded) -> String {
        match self.against {
            Some(_) if what.is_empty() => run.label.clone(),
            Some(_) => format!("{what}, {}", run.label),
            None => what.to_owned(),
        }
    }
}
