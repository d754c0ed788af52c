//! Rules about updates: how far they go, and whether they train what was sampled.

use crate::Severity;
use crate::Severity::{Fault, Warning};
use crate::StepRange;
use crate::groups::LIVE;
use crate::series::{Judged, Lack, Point, Series, Sign, WINDOW, longest_stretch, steps, values};
use crate::statistics::{mean, median};
use crate::text::number;

/// KL in nats a token between the policy before a step and after it.
pub(crate) const UPDATE_KL: f64 = 0.1;
pub(crate) const UPDATE_KL_FAULT: f64 = 1.0;
/// A jump from a lower level than this is none.
pub(crate) const UPDATE_KL_FLOOR: f64 = 0.02;
/// KL in nats a token to the reference.
pub(crate) const REFERENCE_KL: f64 = 1.0;
pub(crate) const REFERENCE_KL_FAULT: f64 = 10.0;
pub(crate) const REFERENCE_KL_FLOOR: f64 = 0.2;
/// Times the median of the steps before from which a KL has jumped.
pub(crate) const JUMP_TIMES: f64 = 10.0;

/// Difference of log-probabilities that rounding does not explain, where the sampler is the policy.
pub(crate) const LOGPROB_SAME: f64 = 1e-4;
/// The same where it is a copy with fewer bits.
pub(crate) const LOGPROB_COPY: f64 = 0.5;
/// No rounding of any device explains this one.
pub(crate) const LOGPROB_FAULT: f64 = 0.1;
/// Deviation of the first ratio from 1, likewise.
pub(crate) const FIRST_RATIO: f64 = 1e-3;
pub(crate) const FIRST_RATIO_FAULT: f64 = 0.1;

/// Share of trained tokens that the clip acts on.
pub(crate) const CLIPPED: f64 = 0.3;
/// Times the median of the steps before from which a gradient is a spike.
pub(crate) const SPIKE_TIMES: f64 = 10.0;
/// Steps before, at most, that the median is taken over.
pub(crate) const SPIKE_MEMORY: usize = 20;
/// Steps in a row without a learning rate.
pub(crate) const RATELESS_STEPS: usize = 3;

pub(crate) fn update_kl(series: &Series<'_>) -> Judged {
    let [kl] = series.all(&["approx_kl"], 1)?;
    let what = "KL(before ‖ after the updates)";
    Ok(kl_blow_up(
        &kl,
        what,
        [UPDATE_KL_FLOOR, UPDATE_KL, UPDATE_KL_FAULT],
    ))
}

pub(crate) fn reference_kl(series: &Series<'_>) -> Judged {
    let [kl] = series.all(&["ref_kl"], 1)?;
    let what = "KL(policy ‖ reference)";
    Ok(kl_blow_up(
        &kl,
        what,
        [REFERENCE_KL_FLOOR, REFERENCE_KL, REFERENCE_KL_FAULT],
    ))
}

/// Steps whose KL is above the second level, or above the first one and far above those before.
fn kl_blow_up(kl: &[Point], what: &str, [floor, level, fault]: [f64; 3]) -> Vec<Sign> {
    let out: Vec<Point> = kl
        .iter()
        .enumerate()
        .filter(|(idx, point)| {
            let before = &kl[idx.saturating_sub(WINDOW)..*idx];
            let jumped = before.len() == WINDOW
                && floor < point.value
                && JUMP_TIMES * median(&values(before)) < point.value;
            level < point.value || jumped
        })
        .map(|(_, point)| *point)
        .collect();
    let typical = number(median(&values(kl)));
    worst(&out, |most| {
        let severity = if fault < most.value { Fault } else { Warning };
        let evidence = format!(
            "{what} is {} nats a token in step {}, median {typical}; {} too high",
            number(most.value),
            most.step,
            n_steps(out.len())
        );
        (severity, evidence)
    })
}

pub(crate) fn logprob_mismatch(series: &Series<'_>) -> Judged {
    let [differences] = series.all(&["max_logprob_difference"], 1)?;
    let importance = series.optional("importance");
    // Only CPUs name the digest of their weights; there, both sides are the same operations.
    let on_cpu = !series.texts("weights_digest").is_empty();
    let is_policy = |step: u64| {
        importance
            .binary_search_by_key(&step, |point| point.step)
            .is_ok_and(|idx| importance[idx].value == 1.0)
    };
    let level = |step: u64| {
        if is_policy(step) {
            LOGPROB_SAME
        } else {
            LOGPROB_COPY
        }
    };
    let out: Vec<Point> = differences
        .into_iter()
        .filter(|point| level(point.step) < point.value)
        .collect();
    Ok(worst(&out, |most| {
        let is_policy = is_policy(most.step);
        let (sampler, severity) = match is_policy {
            true if on_cpu || LOGPROB_FAULT < most.value => ("the policy itself", Fault),
            true => ("the policy itself", Warning),
            false => ("other weights than the policy's", Warning),
        };
        let evidence = format!(
            "a log-probability differs by {} between sampling and training in step {}, where the sampler \
             is {sampler}; {} too high",
            number(most.value),
            most.step,
            n_steps(out.len())
        );
        (severity, evidence)
    }))
}

pub(crate) fn first_ratio(series: &Series<'_>) -> Judged {
    let [deviations] = series.all(&["first_ratio_deviation"], 1)?;
    let out: Vec<Point> = deviations
        .into_iter()
        .filter(|point| FIRST_RATIO < point.value)
        .collect();
    Ok(worst(&out, |most| {
        let severity = if FIRST_RATIO_FAULT < most.value {
            Fault
        } else {
            Warning
        };
        let evidence = format!(
            "the ratio is {} away from 1 on the first update of step {}; {} too far",
            number(most.value),
            most.step,
            n_steps(out.len())
        );
        (severity, evidence)
    }))
}

pub(crate) fn clipped_share(series: &Series<'_>) -> Judged {
    let [low, high] = series.all(&["clip_low", "clip_high"], WINDOW)?;
    let clipped: Vec<Point> = low
        .iter()
        .zip(&high)
        .map(|(low, high)| Point {
            step: low.step,
            value: low.value + high.value,
        })
        .collect();
    let Some(stretch) = longest_stretch(&clipped, WINDOW, |point| CLIPPED < point.value) else {
        return Ok(Vec::new());
    };
    let of = |points: &[Point]| number(100.0 * mean(&values(&points[stretch.clone()])));
    Ok(vec![Sign {
        severity: Warning,
        steps: steps(&clipped[stretch.clone()]),
        evidence: format!(
            "the clip acts on {} % of the trained tokens, {} % at the lower bound and {} % at the upper",
            of(&clipped),
            of(&low),
            of(&high)
        ),
    }])
}

pub(crate) fn gradient_spikes(series: &Series<'_>) -> Judged {
    let [norms] = series.all(&["grad_norm"], WINDOW + 1)?;
    // Steps of dead groups have no gradient, and would make any other one a spike.
    let norms: Vec<Point> = norms.into_iter().filter(|norm| 0.0 < norm.value).collect();
    let typical = median(&values(&norms));
    let out: Vec<Point> = norms
        .iter()
        .enumerate()
        .filter(|(idx, norm)| {
            let before = &norms[idx.saturating_sub(SPIKE_MEMORY)..*idx];
            WINDOW <= before.len()
                && SPIKE_TIMES * median(&values(before)).max(typical) < norm.value
        })
        .map(|(_, norm)| *norm)
        .collect();
    Ok(worst(&out, |most| {
        let evidence = format!(
            "the gradient's norm is {} in step {}, {} times the median {}; {} like it",
            number(most.value),
            most.step,
            number(most.value / typical),
            number(typical),
            n_steps(out.len())
        );
        (Warning, evidence)
    }))
}

pub(crate) fn no_gradient(series: &Series<'_>) -> Judged {
    let [norms, live] = series.all(&["grad_norm", "live_groups"], WINDOW)?;
    let dead: Vec<Point> = norms
        .iter()
        .zip(&live)
        .map(|(norm, live)| Point {
            step: norm.step,
            value: f64::from(norm.value == 0.0 && LIVE <= live.value),
        })
        .collect();
    let Some(stretch) = longest_stretch(&dead, WINDOW, |point| point.value == 1.0) else {
        return Ok(Vec::new());
    };
    Ok(vec![Sign {
        severity: Fault,
        steps: steps(&dead[stretch.clone()]),
        evidence: format!(
            "the gradient is 0 over {} steps in a row, although {} % of the groups are live",
            stretch.len(),
            number(100.0 * mean(&values(&live[stretch])))
        ),
    }])
}

pub(crate) fn learning_rate_zero(series: &Series<'_>) -> Judged {
    let [rates] = series.all(&["lr"], RATELESS_STEPS)?;
    let Some(stretch) = longest_stretch(&rates, RATELESS_STEPS, |point| point.value == 0.0) else {
        return Ok(Vec::new());
    };
    Ok(vec![Sign {
        severity: Fault,
        steps: steps(&rates[stretch.clone()]),
        evidence: format!(
            "the learning rate is 0 over {} steps in a row",
            stretch.len()
        ),
    }])
}

pub(crate) fn weights_unchanged(series: &Series<'_>) -> Judged {
    let [norms, rates] = series.all(&["grad_norm", "lr"], 2)?;
    let digests = series.texts("weights_digest");
    if digests.is_empty() {
        return Err(Lack::Keys(vec!["weights_digest"]));
    }
    let moved = |step: u64| {
        let at = norms.binary_search_by_key(&step, |norm| norm.step);
        at.is_ok_and(|idx| 0.0 < norms[idx].value && 0.0 < rates[idx].value)
    };
    let same: Vec<(u64, &str)> = digests
        .windows(2)
        .filter(|pair| {
            let [(step, digest), (next_step, next)] = [pair[0], pair[1]];
            step + 1 == next_step && digest == next && moved(step)
        })
        .map(|pair| pair[1])
        .collect();
    let [first, ..] = same.as_slice() else {
        return Ok(Vec::new());
    };
    Ok(vec![Sign {
        severity: Fault,
        steps: StepRange {
            first: first.0,
            last: same[same.len() - 1].0,
        },
        evidence: format!(
            "step {} samples with the weights {} of the step before, which had a gradient and a learning \
             rate; {} like it",
            first.0,
            first.1,
            n_steps(same.len())
        ),
    }])
}

/// One sign for all points, told of the highest one; none of none.
fn worst(points: &[Point], tell: impl Fn(&Point) -> (Severity, String)) -> Vec<Sign> {
    let most = points.iter().max_by(|a, b| a.value.total_cmp(&b.value));
    let sign = |most| {
        let (severity, evidence) = tell(most);
        Sign {
            severity,
            steps: steps(points),
            evidence,
        }
    };
    most.map(sign).into_iter().collect()
}

fn n_steps(n: usize) -> String {
    match n {
        1 => "1 step is".to_owned(),
        n => format!("{n} steps are"),
    }
}
