//! What tells of a collapse without labels: votes, exact entropy, certainty, repetition, length.

use crate::chart::Span;
use crate::html::Html;
use crate::load::Stage;
use crate::sections::Pair;
use crate::sections::curves::{Curve, Grid};

/// The section's charts; a run has those whose keys it recorded.
const CHARTS: &[Curve] = &[
    Curve {
        title: "Agreement",
        unit: "share of read answers in the largest cluster; share of majority labels that are right",
        keys: &[
            ("cluster_share", "largest cluster"),
            ("label_accuracy", "labels right"),
        ],
        span: Span::Share,
    },
    Curve {
        title: "Different answers",
        unit: "mean number in a group",
        keys: &[("distinct_answers", "answers")],
        span: Span::Linear,
    },
    Curve {
        title: "Entropy of the distributions",
        unit: "nats per sampled token, exact",
        keys: &[("token_entropy", "entropy"), ("entropy_target", "target")],
        span: Span::Measured,
    },
    Curve {
        title: "Self-certainty",
        unit: "KL(uniform ‖ policy) in nats per sampled token",
        keys: &[("self_certainty", "self-certainty")],
        span: Span::Linear,
    },
    Curve {
        title: "Length of an attempt",
        unit: "mean sampled tokens",
        keys: &[("response_tokens", "tokens")],
        span: Span::Measured,
    },
    Curve {
        title: "Repetition",
        unit: "share of 4-grams that the attempt had before",
        keys: &[("repetition", "repetition")],
        span: Span::Share,
    },
    Curve {
        title: "Tokens under entropy control",
        unit: "share of trained tokens",
        keys: &[("selected_tokens", "share")],
        span: Span::Measured,
    },
    Curve {
        title: "Log-ratio",
        unit: "mean |ln ratio|, which KL-Cov penalises",
        keys: &[("abs_log_ratio", "|ln ratio|")],
        span: Span::Measured,
    },
    Curve {
        title: "Gate of entropy control",
        unit: "1 where it is open",
        keys: &[("entropy_gate", "open")],
        span: Span::Share,
    },
    Curve {
        title: "Weight of entropy control",
        unit: "factor of selected tokens",
        keys: &[("control_weight", "weight")],
        span: Span::Linear,
    },
    Curve {
        title: "Coefficient of the entropy bonus",
        unit: "of the step's updates",
        keys: &[("entropy_coef", "coefficient")],
        span: Span::Linear,
    },
];

/// The charts; nothing where no key of theirs was recorded.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    let mut grid = Grid::new(pair);
    for curve in CHARTS {
        grid.curve(Stage::Rl, curve);
    }
    let charts = grid.finish();
    if charts.is_empty() {
        return html;
    }
    html.raw("<section id=\"collapse\"><h2>Votes, entropy and texts</h2>")
        .raw("<p class=\"how\">What tells of a collapse where no label does.</p>")
        .add(&charts)
        .raw("</section>");
    html
}

/// Whether a chart here shows a key.
pub(crate) fn shows(key: &str) -> bool {
    let mut keys = CHARTS.iter().flat_map(|curve| curve.keys);
    keys.any(|(shown, _)| *shown == key)
}
