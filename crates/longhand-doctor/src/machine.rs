//! Rules about the machine: memory and time.

use crate::Severity::{Note, Warning};
use crate::series::{Judged, Lack, Point, Series, Sign, WINDOW, steps, values};
use crate::statistics::{median, quantile};
use crate::text::number;

/// Steps after which buffers have their size.
pub(crate) const WARM_STEPS: usize = 50;
/// Steps that memory is judged over: less is too little to tell growth from warming.
pub(crate) const MEMORY_STEPS: usize = 100;
/// Growth per 100 steps that is a leak, as in the soak test.
pub(crate) const GROWTH: f64 = 0.03;

/// Times the median from which a step is slow.
pub(crate) const SLOW_TIMES: f64 = 5.0;
/// Steps at the beginning that may be: kernels are compiled and buffers made.
pub(crate) const COLD_STEPS: usize = 3;
/// Share of a run's time that, lost to slow steps, is worth a warning.
pub(crate) const SLOW_SHARE: f64 = 0.1;

pub(crate) fn memory_growth(series: &Series<'_>) -> Judged {
    let [resident] = series.all(&["resident_bytes"], WARM_STEPS + MEMORY_STEPS)?;
    let warm = &resident[WARM_STEPS..];
    let third = warm.len() / 3;
    let (early, late) = (&warm[..third], &warm[warm.len() - third..]);
    let (before, after) = (median(&values(early)), median(&values(late)));
    let distance = (warm.len() - third) as f64;
    if before <= 0.0 {
        return Err(Lack::Keys(vec!["resident_bytes"]));
    }
    let growth = (after / before - 1.0) * 100.0 / distance;
    // Where the two thirds overlap, the level goes up and down.
    let is_apart = quantile(&values(early), 0.75) < quantile(&values(late), 0.25);
    if growth <= GROWTH || !is_apart {
        return Ok(Vec::new());
    }
    let mebibytes = |bytes: f64| number(bytes / f64::from(1 << 20));
    Ok(vec![Sign {
        severity: Warning,
        steps: steps(warm),
        evidence: format!(
            "resident memory grew from {} to {} MiB (medians of the first and the last third), {} % in \
             100 steps",
            mebibytes(before),
            mebibytes(after),
            number(100.0 * growth)
        ),
    }])
}

pub(crate) fn slow_steps(series: &Series<'_>) -> Judged {
    let [seconds] = series.all(&["seconds"], COLD_STEPS + WINDOW)?;
    let warm = &seconds[COLD_STEPS..];
    let typical = median(&values(warm));
    let slow: Vec<Point> = warm
        .iter()
        .filter(|point| SLOW_TIMES * typical < point.value)
        .copied()
        .collect();
    let Some(most) = slow.iter().max_by(|a, b| a.value.total_cmp(&b.value)) else {
        return Ok(Vec::new());
    };
    let lost = values(&slow).iter().sum::<f64>() / values(warm).iter().sum::<f64>();
    Ok(vec![Sign {
        severity: if SLOW_SHARE < lost { Warning } else { Note },
        steps: steps(&slow),
        evidence: format!(
            "step {} took {} s, {} times the median of {} s{}; {} slow steps took {} % of the time",
            most.step,
            number(most.value),
            number(most.value / typical),
            number(typical),
            slowest_phase(series, most.step),
            slow.len(),
            number(100.0 * lost)
        ),
    }])
}

/// The phase that most of a step's time went to, as the end of a sentence; empty where it is unknown.
fn slowest_phase(series: &Series<'_>, step: u64) -> String {
    let phases = [
        ("seconds_generate", "generation"),
        ("seconds_score", "scoring"),
        ("seconds_train", "training"),
    ];
    let of_step = |key: &str| {
        let all = series.optional(key);
        let found = all.iter().find(|point| point.step == step);
        found.map(|point| point.value)
    };
    phases
        .iter()
        .filter_map(|(key, name)| Some((of_step(key)?, name)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(seconds, name)| {
            format!(", {} s of it in {name}", number(seconds))
        })
}
