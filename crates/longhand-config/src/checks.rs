//! Collects what is wrong across keys, each complaint placed where its key was written.

use crate::node::Node;
use crate::place::Problem;

/// The tree, for places, and the complaints so far.
pub(crate) struct Checks<'a> {
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl<'a> Checks<'a> {
    pub(crate) fn new(tree: &'a Node) -> Self {
        Self {
            tree,
            problems: Vec::new(),
        }
    }

    /// Complains about the value at a dotted path.
    pub(crate) fn fail(&mut self, key: &str, message: impl Into<String>) {
        let place = self.tree.place_of(key);
        self.problems.push(Problem {
            place,
            key: key.into(),
            message: message.into(),
        });
    }

    /// Complains unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, key: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.fail(key, message());
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
