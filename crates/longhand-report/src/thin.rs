//! Long curves made short enough to draw, and noisy ones light enough to read.

/// Columns of a drawn curve: charts are seldom wider in pixels.
pub(crate) const N_COLUMNS: usize = 400;
/// Fewer points than this are not smoothed.
const FEWEST_SMOOTHED: usize = 25;

/// At most two points per column, the lowest and the highest, and the ends; points in rising `x`.
/// A curve that is short enough stays as it is.
pub(crate) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if !is_thinned(points.len()) {
        return points.to_vec();
    }
    let n_points = points.len();
    let mut kept = vec![0, n_points - 1];
    for column in 0..N_COLUMNS {
        let range = column * n_points / N_COLUMNS..(column + 1) * n_points / N_COLUMNS;
        let by_value = |a: &usize, b: &usize| points[*a].1.total_cmp(&points[*b].1);
        kept.extend(range.clone().min_by(by_value));
        kept.extend(range.max_by(by_value));
    }
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|idx| points[idx]).collect()
}

/// Whether a curve of so many points is drawn with fewer.
pub(crate) fn is_thinned(n_points: usize) -> bool {
    2 * N_COLUMNS < n_points
}

/// How many points on each side of a point its smoothed value takes in; 0 for short curves.
pub(crate) fn reach(n_points: usize) -> usize {
    if n_points < FEWEST_SMOOTHED {
        0
    } else {
        (n_points / 40).max(2)
    }
}

/// Straight lines fitted to the points around each point, read there, at [`N_COLUMNS`] points at
/// most, evenly spread. Away from the ends that is the mean of the window; at an end, where the window
/// has one side only, a line neither delays a trend as a mean would, nor follows each jump.
pub(crate) fn smooth(points: &[(f64, f64)], reach: usize) -> Vec<(f64, f64)> {
    let n_points = points.len();
    if n_points == 0 {
        return Vec::new();
    }
    let n_kept = n_points.min(N_COLUMNS);
    let place = |kept: usize| kept * (n_points - 1) / (n_kept - 1).max(1);
    (0..n_kept)
        .map(|kept| {
            let at = place(kept);
            let first = at.saturating_sub(reach);
            let window = &points[first..(at + reach + 1).min(n_points)];
            (points[at].0, fitted(window, at - first))
        })
        .collect()
}

/// The value at one place of the line that fits a window best, its points taken as equally far apart.
fn fitted(window: &[(f64, f64)], at: usize) -> f64 {
    let n = window.len() as f64;
    let mean: f64 = window.iter().map(|(_, y)| y / n).sum();
    let middle = (n - 1.0) / 2.0;
    let (mut along, mut spread) = (0.0, 0.0);
    for (idx, (_, y)) in window.iter().enumerate() {
        let offset = idx as f64 - middle;
        along += offset * (y - mean);
        spread += offset * offset;
    }
    let value = mean + (at as f64 - middle) * along / spread;
    // A window of one point has no slope, and the largest numbers overflow.
    if value.is_finite() { value } else { mean }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_peak_survives_thinning() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), 0.0)).collect();
        points[77_777].1 = 9.0;
        points[5].1 = -4.0;
        let thinned = thin(&points);
        assert!(thinned.len() <= 2 * N_COLUMNS + 2);
        assert!(thinned.contains(&(77_777.0, 9.0)) && thinned.contains(&(5.0, -4.0)));
        assert_eq!(thinned[0].0, 0.0);
        assert_eq!(thinned.last().map(|point| point.0), Some(99_999.0));
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn smoothing_leaves_a_straight_line_alone() {
        let line: Vec<(f64, f64)> = (0..90)
            .map(|x| (f64::from(x), 2.0 * f64::from(x)))
            .collect();
        for (smoothed, point) in smooth(&line, reach(line.len())).iter().zip(&line) {
            assert_eq!(smoothed.0, point.0);
            assert!((smoothed.1 - point.1).abs() < 1e-9, "{smoothed:?}");
        }
        let zigzag: Vec<(f64, f64)> = (0..90).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        let middle = smooth(&zigzag, 2)[45].1;
        assert!((middle - 0.6).abs() < 1e-12, "{middle}");
    }

    #[test]
    fn short_curves_are_neither_thinned_nor_smoothed() {
        let points = [(0.0, 1.0), (3.0, 2.0)];
        assert_eq!(thin(&points), points);
        assert_eq!(reach(24), 0);
        assert_eq!(reach(25), 2);
        assert_eq!(smooth(&[], 2), []);
        assert_eq!(smooth(&points[..1], 2), points[..1]);
    }

    proptest! {
        #[test]
        fn extremes_survive(ys in prop::collection::vec(-1e9..1e9_f64, 1..4000)) {
            let points: Vec<(f64, f64)> = ys.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
            let thinned = thin(&points);
            let ends = |points: &[(f64, f64)]| {
                points.iter().fold((f64::MAX, f64::MIN), |(low, high), (_, y)| (low.min(*y), high.max(*y)))
            };
            prop_assert_eq!(ends(&thinned), ends(&points));
            prop_assert!(thinned.len() <= 2 * N_COLUMNS + 2);
        }
    }
}
