//! Random formulas, held against an evaluation in floating point that knows nothing of the rules.
//!
//! What is judged equal must have the same value wherever it has one. For numbers without roots of sums
//! the reverse holds too.

use longhand_reward_outcome::{Budget, Verdict, equivalent};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Formula {
    Whole(i32),
    X,
    Add(Box<Formula>, Box<Formula>),
    Subtract(Box<Formula>, Box<Formula>),
    Multiply(Box<Formula>, Box<Formula>),
    Divide(Box<Formula>, Box<Formula>),
    Square(Box<Formula>),
    Root(Box<Formula>),
    CubeRoot(Box<Formula>),
}
use Formula::{Add, CubeRoot, Divide, Multiply, Root, Square, Subtract, Whole, X};

impl Formula {
    fn text(&self) -> String {
        match self {
            Whole(number) => number.to_string(),
            X => "x".to_owned(),
            Add(left, right) => format!("({}+{})", left.text(), right.text()),
            Subtract(left, right) => format!("({}-({}))", left.text(), right.text()),
            Multiply(left, right) => format!("({})({})", left.text(), right.text()),
            Divide(left, right) => format!("\\frac{{{}}}{{{}}}", left.text(), right.text()),
            Square(inner) => format!("({})^2", inner.text()),
            Root(inner) => format!("\\sqrt{{{}}}", inner.text()),
            CubeRoot(inner) => format!("({})^{{1/3}}", inner.text()),
        }
    }

    /// `None` where it has no real value.
    fn value(&self, x: f64) -> Option<f64> {
        Some(match self {
            Whole(number) => f64::from(*number),
            X => x,
            Add(left, right) => left.value(x)? + right.value(x)?,
            Subtract(left, right) => left.value(x)? - right.value(x)?,
            Multiply(left, right) => left.value(x)? * right.value(x)?,
            Divide(left, right) => {
                let below = right.value(x)?;
                if below.abs() < 1e-9 {
                    return None;
                }
                left.value(x)? / below
            }
            Square(inner) => inner.value(x)?.powi(2),
            Root(inner) => Some(inner.value(x)?)
                .filter(|value| -1e-12 < *value)?
                .max(0.0)
                .sqrt(),
            CubeRoot(inner) => Some(inner.value(x)?).filter(|value| 0.0 <= *value)?.cbrt(),
        })
    }
}

fn of(leaf: impl Strategy<Value = Formula> + 'static, depth: u32) -> BoxedStrategy<Formula> {
    let formula = leaf.prop_recursive(depth, 10, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        let boxed = |(l, r): (Formula, Formula)| (Box::new(l), Box::new(r));
        prop_oneof![
            two.clone().prop_map(boxed).prop_map(|(l, r)| Add(l, r)),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(l, r)| Subtract(l, r)),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(l, r)| Multiply(l, r)),
            two.prop_map(boxed).prop_map(|(l, r)| Divide(l, r)),
            inner.clone().prop_map(|f| Square(Box::new(f))),
            inner.clone().prop_map(|f| Root(Box::new(f))),
            inner.prop_map(|f| CubeRoot(Box::new(f))),
        ]
    });
    formula.boxed()
}

fn rational() -> BoxedStrategy<Formula> {
    (0..7, 1..4)
        .prop_map(|(over, under)| Divide(Box::new(Whole(over)), Box::new(Whole(under))))
        .boxed()
}

/// Sums, products and quotients of numbers and of roots of numbers.
fn number() -> BoxedStrategy<Formula> {
    let leaf = prop_oneof![
        (0..9).prop_map(Whole),
        rational().prop_map(|f| Root(Box::new(f))),
        rational().prop_map(|f| CubeRoot(Box::new(f))),
    ];
    let formula = leaf.prop_recursive(2, 6, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        let boxed = |(l, r): (Formula, Formula)| (Box::new(l), Box::new(r));
        prop_oneof![
            two.clone().prop_map(boxed).prop_map(|(l, r)| Add(l, r)),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(l, r)| Subtract(l, r)),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(l, r)| Multiply(l, r)),
            two.prop_map(boxed).prop_map(|(l, r)| Divide(l, r)),
            inner.prop_map(|f| Square(Box::new(f))),
        ]
    });
    formula.boxed()
}

fn is_near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-7 * (1.0 + left.abs())
}

fn verdict(left: &Formula, right: &Formula) -> Verdict {
    equivalent(&left.text(), &right.text(), &Budget::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn numbers_are_equal_exactly_when_their_values_are(left in number(), right in number()) {
        let (Some(value), Some(other)) = (left.value(0.0), right.value(0.0)) else {
            return Ok(());
        };
        match verdict(&left, &right) {
            Verdict::Equal => prop_assert!(is_near(value, other), "{} {}", left.text(), right.text()),
            Verdict::Different => prop_assert!(!is_near(value, other), "{} {}", left.text(), right.text()),
            Verdict::Unknown => {}
        }
    }

    #[test]
    fn equal_formulas_have_equal_values(
        left in of(prop_oneof![(0..4).prop_map(Whole), Just(X)], 3),
        right in of(prop_oneof![(0..4).prop_map(Whole), Just(X)], 3),
    ) {
        if verdict(&left, &right) == Verdict::Equal {
            for x in [0.5, 1.7, 3.0, 11.0] {
                if let (Some(value), Some(other)) = (left.value(x), right.value(x)) {
                    prop_assert!(is_near(value, other), "{} {} at {x}", left.text(), right.text());
                }
            }
        }
    }

    // The same formula times out and back: what is equal by the laws of arithmetic is found to be.
    #[test]
    fn the_laws_of_arithmetic_hold(
        a in of(prop_oneof![(0..4).prop_map(Whole), Just(X)], 2),
        b in of(prop_oneof![(0..4).prop_map(Whole), Just(X)], 2),
        c in of(prop_oneof![(1..4).prop_map(Whole), Just(X)], 1),
    ) {
        let [a, b, c] = [a, b, c].map(Box::new);
        if verdict(&a, &a) != Verdict::Equal {
            return Ok(());
        }
        let spread = Add(
            Box::new(Multiply(a.clone(), c.clone())),
            Box::new(Multiply(b.clone(), c.clone())),
        );
        let joined = Multiply(c, Box::new(Add(b, a)));
        // A division by zero inside is no value, and a deep root may cost more than the budget.
        let found = verdict(&spread, &joined);
        prop_assert!(found != Verdict::Different, "{} {}", spread.text(), joined.text());
        let more = Add(Box::new(spread), Box::new(Whole(1)));
        prop_assert!(verdict(&more, &joined) != Verdict::Equal, "{}", joined.text());
    }
}
