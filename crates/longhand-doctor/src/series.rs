//! A run as series: values by step, and accuracies on held-out documents.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::statistics::{mean, share_error};
use crate::{Severity, StepRange};

/// Steps that a level is taken over: one step alone is mostly noise.
pub(crate) const WINDOW: usize = 10;

/// A value of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) step: u64,
    pub(crate) value: f64,
}

/// What a rule saw; the rule's name and advice make it a finding.
#[derive(Debug)]
pub(crate) struct Sign {
    pub(crate) severity: Severity,
    pub(crate) steps: StepRange,
    pub(crate) evidence: String,
}

/// Why a rule cannot be judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// There are no steps of reinforcement learning.
    NoSteps,
    /// No step has these keys.
    Keys(Vec<&'static str>),
    /// Too few steps have them.
    Steps { needed: usize, present: usize },
    /// Too few measurements on held-out documents.
    HeldOut,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSteps => write!(f, "the run has no steps of reinforcement learning"),
            Self::Keys(keys) => write!(f, "the run records no {}", keys.join(", ")),
            Self::Steps { needed, present } => {
                write!(f, "needs {needed} steps, there are {present}")
            }
            Self::HeldOut => write!(
                f,
                "needs two measurements on held-out documents of one length"
            ),
        }
    }
}

/// Of what several series lack, what tells most: too few steps before no key at all.
pub(crate) fn most_telling(lacks: Vec<Lack>) -> Lack {
    let mut keys = Vec::new();
    for lack in lacks {
        match lack {
            Lack::Keys(more) => keys.extend(more),
            other => return other,
        }
    }
    Lack::Keys(keys)
}

pub(crate) type Judged = Result<Vec<Sign>, Lack>;

/// Accuracy on held-out documents after some steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldOut {
    /// Steps taken before it.
    pub(crate) step: u64,
    /// `(accuracy, documents)` by the length asked for.
    by_length: BTreeMap<u64, (f64, f64)>,
}

/// An accuracy at one length after some steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HeldOutPoint {
    pub(crate) step: u64,
    pub(crate) accuracy: f64,
    pub(crate) n_documents: f64,
}

/// How an accuracy changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// Standard error of the difference, were the documents drawn anew.
    pub(crate) error: f64,
}

impl HeldOut {
    /// The change from `self` to `later`, over the lengths that both measured.
    fn change(&self, later: &HeldOut) -> Option<Change> {
        let both: Vec<_> = self
            .by_length
            .iter()
            .filter_map(|(length, before)| Some((before, later.by_length.get(length)?)))
            .collect();
        let over = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            both.iter()
                .map(|(before, after)| f(before.0, after.0))
                .collect()
        };
        let variances: f64 = both
            .iter()
            .flat_map(|(before, after)| [before, after])
            .map(|(share, n)| share_error(*share, *n).powi(2))
            .sum();
        (!both.is_empty()).then(|| Change {
            before: mean(&over(&|before, _| before)),
            after: mean(&over(&|_, after| after)),
            error: variances.sqrt() / both.len() as f64,
        })
    }
}

/// The steps of reinforcement learning and the measurements of a run.
pub(crate) struct Series<'a> {
    /// By step: its line of the metrics, then of the timings.
    steps: BTreeMap<u64, [Option<&'a Value>; 2]>,
    /// In their order, all of one temperature.
    held_out: Vec<HeldOut>,
}

impl<'a> Series<'a> {
    pub(crate) fn new(metrics: &'a [Value], timings: &'a [Value]) -> Self {
        let mut steps: BTreeMap<u64, [Option<&'a Value>; 2]> = BTreeMap::new();
        for (idx, lines) in [metrics, timings].into_iter().enumerate() {
            for line in lines.iter().filter(|line| line["stage"] == "rl") {
                if let Some(step) = line["step"].as_u64() {
                    steps.entry(step).or_default()[idx] = Some(line);
                }
            }
        }
        // A time without its step is of a step whose line was not written any more.
        steps.retain(|_, [metrics, _]| metrics.is_some());
        Self {
            steps,
            held_out: held_out(metrics),
        }
    }

    /// The number that a step recorded under a key, or under `object/name`; what is true is 1.
    fn number(&self, step: u64, key: &str) -> Option<f64> {
        let lines = self.steps.get(&step)?;
        lines.iter().flatten().find_map(|line| {
            let value = match key.split_once('/') {
                Some((object, name)) => &line[object][name],
                None => &line[key],
            };
            value.as_f64().or_else(|| value.as_bool().map(f64::from))
        })
    }

    /// The key of entropy, exact where the run recorded it, beside that of the reward.
    pub(crate) fn entropy_key(&self) -> &'static [&'static str; 2] {
        if self.optional("token_entropy").is_empty() {
            &["entropy", "reward"]
        } else {
            &["token_entropy", "reward"]
        }
    }

    /// The text that every step recorded under a key.
    pub(crate) fn texts(&self, key: &str) -> Vec<(u64, &'a str)> {
        let text = |(step, lines): (&u64, &[Option<&'a Value>; 2])| {
            Some((*step, lines[0]?.get(key)?.as_str()?))
        };
        self.steps.iter().filter_map(text).collect()
    }

    /// A value of every step that recorded it.
    pub(crate) fn optional(&self, key: &str) -> Vec<Point> {
        self.of_steps(|number| number(key))
    }

    /// What `f` makes of every step's numbers, where they are there.
    fn of_steps(&self, f: impl Fn(&dyn Fn(&str) -> Option<f64>) -> Option<f64>) -> Vec<Point> {
        self.steps
            .keys()
            .filter_map(|step| {
                let value = f(&|key| self.number(*step, key))?;
                Some(Point { step: *step, value })
            })
            .collect()
    }

    /// `[keys][steps]` The values of the steps that recorded all of the keys.
    ///
    /// # Errors
    ///
    /// No such step, or fewer than needed.
    pub(crate) fn all<const N: usize>(
        &self,
        keys: &'static [&'static str; N],
        needed: usize,
    ) -> Result<[Vec<Point>; N], Lack> {
        let whole: Vec<u64> = self
            .steps
            .keys()
            .copied()
            .filter(|step| keys.iter().all(|key| self.number(*step, key).is_some()))
            .collect();
        if self.steps.is_empty() {
            return Err(Lack::NoSteps);
        }
        if whole.is_empty() {
            let is_absent = |key: &&str| self.optional(key).is_empty();
            let absent: Vec<_> = keys.iter().copied().filter(is_absent).collect();
            return Err(Lack::Keys(if absent.is_empty() {
                keys.to_vec()
            } else {
                absent
            }));
        }
        if whole.len() < needed {
            return Err(Lack::Steps {
                needed,
                present: whole.len(),
            });
        }
        Ok(keys.map(|key| {
            let point = |step: &u64| {
                let value = self.number(*step, key)?;
                Some(Point { step: *step, value })
            };
            whole.iter().filter_map(point).collect()
        }))
    }

    /// How held-out accuracy changed from the first measurement to the last.
    pub(crate) fn held_out_change(&self) -> Option<Change> {
        let [first, .., last] = self.held_out.as_slice() else {
            return None;
        };
        first.change(last)
    }

    /// The accuracies of each length in their order, of the temperature that the others are of.
    pub(crate) fn held_out_by_length(&self) -> BTreeMap<u64, Vec<HeldOutPoint>> {
        let mut all: BTreeMap<u64, Vec<HeldOutPoint>> = BTreeMap::new();
        for one in &self.held_out {
            for (length, (accuracy, n_documents)) in &one.by_length {
                all.entry(*length).or_default().push(HeldOutPoint {
                    step: one.step,
                    accuracy: *accuracy,
                    n_documents: *n_documents,
                });
            }
        }
        all
    }

    /// From the best measurement to the last: their steps and the change.
    ///
    /// # Errors
    ///
    /// Fewer than two measurements that share a length.
    pub(crate) fn held_out_from_best(&self) -> Result<(StepRange, Change), Lack> {
        let last = self.held_out.last().ok_or(Lack::HeldOut)?;
        let mut from_best: Option<(StepRange, Change)> = None;
        for earlier in self.held_out.iter().filter(|one| one.step < last.step) {
            let steps = StepRange {
                first: earlier.step,
                last: last.step,
            };
            if let Some(change) = earlier.change(last) {
                let fall = |change: &Change| change.before - change.after;
                if from_best
                    .as_ref()
                    .is_none_or(|(_, best)| fall(best) < fall(&change))
                {
                    from_best = Some((steps, change));
                }
            }
        }
        from_best.ok_or(Lack::HeldOut)
    }
}

/// The measurements of the temperature that was measured most often; of two, the lower.
fn held_out(metrics: &[Value]) -> Vec<HeldOut> {
    let mut by_temperature: Vec<(f64, Vec<HeldOut>)> = Vec::new();
    let is_of_rl = |line: &&Value| line["stage"] == "eval" && line["label"] != "warm-start";
    for line in metrics.iter().filter(is_of_rl) {
        let (Some(step), Some(temperature)) = (line["step"].as_u64(), line["temperature"].as_f64())
        else {
            continue;
        };
        let score = |length: &Value| {
            let target = length["target_tokens"].as_u64()?;
            let documents = length["n_documents"].as_f64().unwrap_or(0.0);
            Some((target, (length["accuracy"].as_f64()?, documents)))
        };
        let lengths = line["lengths"].as_array();
        let one = HeldOut {
            step,
            by_length: lengths.into_iter().flatten().filter_map(score).collect(),
        };
        match by_temperature
            .iter_mut()
            .find(|(other, _)| *other == temperature)
        {
            Some((_, all)) => all.push(one),
            None => by_temperature.push((temperature, vec![one])),
        }
    }
    let often_then_low = |(temperature, all): &(f64, Vec<HeldOut>)| (all.len(), -temperature);
    by_temperature
        .into_iter()
        .max_by(|a, b| {
            let (a, b) = (often_then_low(a), often_then_low(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
        .map_or_else(Vec::new, |(_, all)| all)
}

pub(crate) fn values(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.value).collect()
}

/// The value of a step, among points in rising steps.
pub(crate) fn at(points: &[Point], step: u64) -> Option<f64> {
    let idx = points
        .binary_search_by_key(&step, |point| point.step)
        .ok()?;
    Some(points[idx].value)
}

/// The steps of points.
///
/// # Panics
///
/// If there are none.
pub(crate) fn steps(points: &[Point]) -> StepRange {
    StepRange {
        first: points[0].step,
        last: points[points.len() - 1].step,
    }
}

/// The values of the first and of the last [`WINDOW`] points.
///
/// # Panics
///
/// If there are fewer points than that.
pub(crate) fn ends(points: &[Point]) -> (Vec<f64>, Vec<f64>) {
    let all = values(points);
    (all[..WINDOW].to_vec(), all[all.len() - WINDOW..].to_vec())
}

/// The longest run of consecutive points that all pass, if it has at least `min` points; the range
/// is into the points.
pub(crate) fn longest_stretch(
    points: &[Point],
    min: usize,
    passes: impl Fn(&Point) -> bool,
) -> Option<std::ops::Range<usize>> {
    let mut longest = 0..0;
    let mut start = 0;
    for (idx, point) in points.iter().enumerate() {
        if !passes(point) {
            start = idx + 1;
        } else if longest.len() < idx + 1 - start {
            longest = start..idx + 1;
        }
    }
    (min <= longest.len() && !longest.is_empty()).then_some(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn line(step: u64, reward: f64) -> Value {
        json!({"stage": "rl", "step": step, "reward": reward})
    }

    #[test]
    fn the_later_line_of_a_step_counts_and_times_join_their_steps() {
        let metrics = [
            line(0, 0.1),
            line(1, 0.2),
            line(1, 0.3),
            json!({"stage": "warm-start", "step": 2, "reward": 9.0}),
            json!({"stage": "rl", "reward": 9.0}),
        ];
        let timings = [
            json!({"stage": "rl", "step": 1, "seconds": 2.0}),
            json!({"stage": "rl", "step": 2, "seconds": 3.0}),
        ];
        let series = Series::new(&metrics, &timings);
        let [rewards] = series.all(&["reward"], 2).expect("two steps");
        assert_eq!(values(&rewards), [0.1, 0.3]);
        let [rewards, seconds] = series.all(&["reward", "seconds"], 1).expect("one step");
        assert_eq!((rewards[0].value, seconds[0].value), (0.3, 2.0));
        assert_eq!(series.optional("seconds").len(), 1);
    }

    #[test]
    fn numbers_inside_objects_and_truths_are_found() {
        let metrics = [
            json!({"stage": "rl", "step": 0, "gate": true, "columns": {"a-b": 0.5, "c": "x"}}),
            json!({"stage": "rl", "step": 1, "gate": false, "columns": 3.0}),
        ];
        let series = Series::new(&metrics, &[]);
        assert_eq!(values(&series.optional("gate")), [1.0, 0.0]);
        assert_eq!(values(&series.optional("columns/a-b")), [0.5]);
        assert_eq!(series.optional("columns/c"), []);
        let points = series.optional("gate");
        assert_eq!((at(&points, 1), at(&points, 2)), (Some(0.0), None));
    }

    #[test]
    fn what_lacks_is_named() {
        let metrics = [line(0, 0.1)];
        let series = Series::new(&metrics, &[]);
        let lack = series
            .all(&["reward", "entropy"], 1)
            .expect_err("no entropy");
        assert_eq!(lack.to_string(), "the run records no entropy");
        let lack = series.all(&["reward"], 20).expect_err("short");
        assert_eq!(lack.to_string(), "needs 20 steps, there are 1");
        let lack = Series::new(&[], &[])
            .all(&["reward"], 2)
            .expect_err("empty");
        assert_eq!(lack, Lack::NoSteps);
        let short = || Lack::Steps {
            needed: 20,
            present: 1,
        };
        let absent = |key| Lack::Keys(vec![key]);
        assert_eq!(most_telling(vec![absent("a"), short()]), short());
        let both = Lack::Keys(vec!["a", "b"]);
        assert_eq!(most_telling(vec![absent("a"), absent("b")]), both);
    }

    fn eval(step: u64, temperature: f64, accuracies: &[(u64, f64)]) -> Value {
        let length = |(target, accuracy): &(u64, f64)| json!({"target_tokens": target, "accuracy": accuracy, "n_documents": 100});
        let lengths: Vec<Value> = accuracies.iter().map(length).collect();
        json!({"stage": "eval", "label": "during", "step": step, "temperature": temperature, "lengths": lengths})
    }

    #[test]
    fn accuracies_are_compared_over_the_lengths_they_share() {
        let metrics = [
            eval(0, 1.0, &[(100, 0.9)]),
            eval(0, 0.0, &[(100, 0.2), (400, 0.0)]),
            eval(5, 0.0, &[(100, 0.6)]),
            eval(9, 0.0, &[(100, 0.5), (400, 0.4)]),
            eval(9, 1.0, &[(100, 0.1)]),
        ];
        let series = Series::new(&metrics, &[]);
        let change = series.held_out_change().expect("two of temperature 0");
        assert!((change.before - 0.1).abs() < 1e-12 && (change.after - 0.45).abs() < 1e-12);
        let (steps, change) = series.held_out_from_best().expect("three");
        assert_eq!((steps.first, steps.last), (5, 9));
        assert_eq!((change.before, change.after), (0.6, 0.5));
        // sqrt(.6 * .4 / 100 + .5 * .5 / 100)
        assert!((change.error - 0.07).abs() < 1e-12, "{}", change.error);
        assert_eq!(
            Series::new(&metrics[..2], &[]).held_out_from_best(),
            Err(Lack::HeldOut)
        );
    }

    proptest! {
        #[test]
        fn the_longest_stretch_is_found(passing in prop::collection::vec(any::<bool>(), 0..30), min in 1..5_usize) {
            let points: Vec<Point> = passing.iter().enumerate()
                .map(|(idx, passes)| Point { step: idx as u64, value: f64::from(*passes) }).collect();
            let is_whole = |range: &std::ops::Range<usize>| passing[range.clone()].iter().all(|passes| *passes);
            let longest = (0..=points.len())
                .flat_map(|start| (start..=points.len()).map(move |end| start..end))
                .filter(is_whole)
                .map(|range| range.len())
                .max()
                .unwrap_or(0);
            match longest_stretch(&points, min, |point| point.value == 1.0) {
                Some(found) => {
                    prop_assert!(is_whole(&found));
                    prop_assert_eq!(found.len(), longest);
                }
                None => prop_assert!(longest < min),
            }
        }
    }
}
