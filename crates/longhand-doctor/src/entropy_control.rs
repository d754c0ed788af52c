//! Rules about what keeps entropy up: penalties that cannot act, and targets that are not met.

use crate::Severity::Warning;
use crate::series::{Judged, Series, Sign, WINDOW, steps, values};
use crate::statistics::mean;
use crate::text::number;

/// Mean |log ratio| up to which ratios are 1 but for rounding.
pub(crate) const NO_RATIO: f64 = 1e-6;

/// Times the target between whose inverse and which an entropy has met it.
pub(crate) const OFF_TIMES: f64 = 2.0;
/// Steps from which a controller has had its time.
pub(crate) const CONTROL_STEPS: usize = 5 * WINDOW;
/// Share of the distance to the target that is an approach, if lost since the middle of the run.
pub(crate) const APPROACH: f64 = 0.1;

pub(crate) fn idle_entropy_control(series: &Series<'_>) -> Judged {
    let [selected, ratios] = series.all(&["selected_tokens", "abs_log_ratio"], WINDOW)?;
    let largest = values(&ratios).into_iter().fold(0.0, f64::max);
    let share = mean(&values(&selected));
    // STARE, which alone has a weight, scales gradients: it needs no ratio.
    let is_weighed = !series.optional("control_weight").is_empty();
    if is_weighed || share == 0.0 || NO_RATIO < largest {
        return Ok(Vec::new());
    }
    let updates = series.optional("n_updates");
    let updates = if updates.is_empty() {
        String::new()
    } else {
        format!("; {} updates a step", number(mean(&values(&updates))))
    };
    Ok(vec![Sign {
        severity: Warning,
        steps: steps(&ratios),
        evidence: format!(
            "entropy control selects {} % of the trained tokens, and |log ratio| is at most {} in all of {} \
             steps{updates}",
            number(100.0 * share),
            number(largest),
            ratios.len()
        ),
    }])
}

pub(crate) fn entropy_off_target(series: &Series<'_>) -> Judged {
    let [entropies, targets] = series.all(&["token_entropy", "entropy_target"], CONTROL_STEPS)?;
    let level = |from: usize| {
        let window = from..from + WINDOW;
        (
            mean(&values(&entropies[window.clone()])),
            mean(&values(&targets[window])),
        )
    };
    let last = entropies.len() - WINDOW;
    let (entropy, target) = level(last);
    let (middle, middle_target) = level(last / 2);
    let distance = (entropy - target).abs();
    let is_met = target / OFF_TIMES <= entropy && entropy <= OFF_TIMES * target;
    let is_near = distance < (1.0 - APPROACH) * (middle - middle_target).abs();
    if is_met || is_near {
        return Ok(Vec::new());
    }
    let range = steps(&entropies[last..]);
    let within = |key: &'static str| -> Option<f64> {
        let points = series.optional(key);
        let from = points.partition_point(|point| point.step < range.first);
        (from < points.len()).then(|| mean(&values(&points[from..])))
    };
    let gate = within("entropy_gate")
        .map(|share| format!("; the gate is open in {} % of them", number(100.0 * share)));
    let weight = within("control_weight").map(|weight| format!("; weight {}", number(weight)));
    let coef = within("entropy_coef").map(|coef| format!("; coefficient {}", number(coef)));
    let told: Vec<String> = [gate, weight, coef].into_iter().flatten().collect();
    Ok(vec![Sign {
        severity: Warning,
        steps: range,
        evidence: format!(
            "entropy {} nats a token in the last {WINDOW} steps, {} in the middle of the run, with a target of \
             {}{}",
            number(entropy),
            number(middle),
            number(target),
            told.concat()
        ),
    }])
}
