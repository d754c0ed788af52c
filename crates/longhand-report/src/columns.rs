//! Lines of JSON as columns: every number of a key, beside where it stands along the axis.
//!
//! A page asks for the same keys many times; looking each up in each of a hundred thousand lines
//! again would take minutes.

use std::collections::BTreeMap;

use serde_json::Value;

/// The numbers of some lines, by key; a number inside an object by `object/name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    n_lines: usize,
    by_key: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Columns {
    /// Of lines by step, the last of each step, in rising order; lines without a step are passed over.
    pub(crate) fn by_step<'a>(lines: impl Iterator<Item = &'a Value>) -> Self {
        let mut by_step = BTreeMap::new();
        for line in lines {
            if let Some(step) = line.get("step").and_then(Value::as_u64) {
                by_step.insert(step, line);
            }
        }
        let placed = by_step.into_iter().map(|(step, line)| (step as f64, line));
        Self::of(placed)
    }

    /// Of lines by their order, from 0.
    pub(crate) fn by_order<'a>(lines: impl Iterator<Item = &'a Value>) -> Self {
        Self::of(lines.enumerate().map(|(idx, line)| (idx as f64, line)))
    }

    fn of<'a>(lines: impl Iterator<Item = (f64, &'a Value)>) -> Self {
        let mut columns = Self::default();
        for (at, line) in lines {
            columns.n_lines += 1;
            for (key, value) in line.as_object().into_iter().flatten() {
                columns.push(key, at, value);
                for (name, value) in value.as_object().into_iter().flatten() {
                    columns.push(&format!("{key}/{name}"), at, value);
                }
            }
        }
        columns
    }

    /// Adds a finite number; what is true counts as 1.
    fn push(&mut self, key: &str, at: f64, value: &Value) {
        let value = value.as_f64().or_else(|| value.as_bool().map(f64::from));
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return;
        };
        match self.by_key.get_mut(key) {
            Some(points) => points.push((at, value)),
            None => {
                self.by_key.insert(key.to_owned(), vec![(at, value)]);
            }
        }
    }

    /// How many lines there are.
    pub(crate) fn n_lines(&self) -> usize {
        self.n_lines
    }

    /// Where a key's numbers stand, and the numbers; empty for a key that no line has.
    pub(crate) fn points(&self, key: &str) -> &[(f64, f64)] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// A key's numbers added up.
    pub(crate) fn sum(&self, key: &str) -> f64 {
        self.points(key).iter().map(|(_, value)| value).sum()
    }

    /// Keys with a number in any line.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// A key's numbers at these places, which rise; 0 where there is none.
    pub(crate) fn at(&self, places: &[f64], key: &str) -> Vec<f64> {
        let mut points = self.points(key).iter().peekable();
        let value_at = |place: &f64| {
            while points.next_if(|(at, _)| at < place).is_some() {}
            let found = points.next_if(|(at, _)| at == place);
            found.map_or(0.0, |(_, value)| *value)
        };
        places.iter().map(value_at).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_line_of_a_step_counts() {
        let lines = [
            json!({"step": 1, "a": 1.0}),
            json!({"step": 0, "a": 2, "b": "x"}),
            json!({"a": 9.0}),
            json!({"step": 1, "a": 3.0, "c": null}),
        ];
        let columns = Columns::by_step(lines.iter());
        assert_eq!(columns.n_lines(), 2);
        assert_eq!(columns.points("a"), [(0.0, 2.0), (1.0, 3.0)]);
        assert_eq!(columns.points("b"), []);
        assert_eq!(columns.keys().collect::<Vec<_>>(), ["a", "step"]);
        assert_eq!(columns.sum("a"), 5.0);
    }

    #[test]
    fn objects_and_truths_have_numbers_too() {
        let lines = [
            json!({"a": {"x-y": 1.5, "z": "no", "deep": {"er": 1}}, "b": true}),
            json!({"a": 2.0, "b": false}),
        ];
        let columns = Columns::by_order(lines.iter());
        assert_eq!(columns.points("a/x-y"), [(0.0, 1.5)]);
        assert_eq!(columns.points("b"), [(0.0, 1.0), (1.0, 0.0)]);
        assert_eq!(columns.keys().collect::<Vec<_>>(), ["a", "a/x-y", "b"]);
    }

    #[test]
    fn lines_without_steps_stand_in_their_order() {
        let lines = [json!({"a": 5}), json!({}), json!({"a": 7})];
        let columns = Columns::by_order(lines.iter());
        assert_eq!(columns.points("a"), [(0.0, 5.0), (2.0, 7.0)]);
        assert_eq!(columns.at(&[0.0, 1.0, 2.0, 3.0], "a"), [5.0, 0.0, 7.0, 0.0]);
    }
}
