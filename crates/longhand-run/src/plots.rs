//! The plots of a run: what is drawn, and where it is stored.

use std::path::{Path, PathBuf};

use crate::atomic_file::write_file_atomic;
use crate::error::RunError;
use crate::figure::{Axis, Curve, Figure};
use crate::run_dir::{RunDir, is_plain};
use crate::ticks::{round_ticks, with_thousands};

/// Most points that are marked one by one; more of them would hide the line.
const MOST_MARKED: usize = 60;

/// One line of a learning curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// `(x, y)` in the order in which they are joined. What was not measured is left out.
    pub points: Vec<(f64, f64)>,
}

/// One line of a plot of accuracy against document length.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthSeries {
    /// Its name in the legend.
    pub name: String,
    /// One point per length, in the order in which they are joined.
    pub points: Vec<LengthPoint>,
}

/// The accuracy at one length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthPoint {
    /// Document length in tokens, at least 1.
    pub length: usize,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
    /// Lower bound of the accuracy.
    pub low: f64,
    /// Upper bound of the accuracy.
    pub high: f64,
}

/// What stands around a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below the horizontal axis.
    pub x: &'a str,
    /// Beside the vertical axis.
    pub y: &'a str,
}

/// The files of one plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlotFiles {
    /// As lines and text, to be scaled.
    pub svg: PathBuf,
    /// As 900 by 560 pixels.
    pub png: PathBuf,
}

impl RunDir {
    /// Draws values against steps, or against anything else, as `plots/NAME.svg` and `.png`. A plot
    /// of the same name is replaced. Without any point the plot says so.
    ///
    /// # Errors
    ///
    /// A name that cannot be a file's, a number that is not finite, or files that cannot be written.
    pub fn plot_learning_curve(
        &self,
        name: &str,
        labels: &Labels<'_>,
        series: &[Series],
    ) -> Result<PlotFiles, RunError> {
        let files = self.plot_files(name)?;
        for line in series {
            for (point_idx, &(x, y)) in line.points.iter().enumerate() {
                for (what, value) in [("x", x), ("y", y)] {
                    if !value.is_finite() {
                        return Err(RunError::BadPoint {
                            path: files.svg,
                            series: line.name.clone(),
                            point_idx,
                            what,
                            value,
                            mend: "leave out what was not measured",
                        });
                    }
                }
            }
        }
        let points = || series.iter().flat_map(|line| &line.points);
        let whole = points().all(|(x, _)| x.fract() == 0.0);
        let (x_low, x_high) = span(points().map(|(x, _)| *x));
        let (y_low, y_high) = roomy(span(points().map(|(_, y)| *y)));
        let curves = series.iter().map(|line| Curve {
            name: &line.name,
            points: line.points.clone(),
            whiskers: Vec::new(),
            is_marked: line.points.len() <= MOST_MARKED,
        });
        let figure = Figure {
            title: labels.title,
            x: Axis {
                label: labels.x,
                low: x_low,
                high: x_high,
                ticks: round_ticks(x_low, x_high, 10, whole),
            },
            y: Axis {
                label: labels.y,
                low: y_low,
                high: y_high,
                ticks: round_ticks(y_low, y_high, 8, false),
            },
            curves: curves.collect(),
        };
        store(&figure, files)
    }

    /// Draws accuracy against document length, on an axis of doublings, with the bounds as whiskers,
    /// as `plots/NAME.svg` and `.png`. A plot of the same name is replaced.
    ///
    /// # Errors
    ///
    /// A name that cannot be a file's, a length of 0, numbers that are not `0 <= low <= accuracy <=
    /// high <= 1`, or files that cannot be written.
    pub fn plot_by_length(
        &self,
        name: &str,
        series: &[LengthSeries],
    ) -> Result<PlotFiles, RunError> {
        draw_by_length(self.plot_files(name)?, series)
    }

    fn plot_files(&self, name: &str) -> Result<PlotFiles, RunError> {
        if !is_plain(name) {
            return Err(RunError::BadName {
                name: name.to_owned(),
                what: "a plot",
                except: "",
            });
        }
        let path = |extension| self.plots_folder().join(format!("{name}.{extension}"));
        Ok(PlotFiles {
            svg: path("svg"),
            png: path("png"),
        })
    }
}

/// As [`RunDir::plot_by_length`], as `STEM.svg` and `STEM.png` anywhere; the folder must be there.
///
/// # Errors
///
/// As there.
pub fn plot_by_length(stem: &Path, series: &[LengthSeries]) -> Result<PlotFiles, RunError> {
    let path = |extension: &str| {
        let mut path = stem.as_os_str().to_owned();
        path.push(".");
        path.push(extension);
        PathBuf::from(path)
    };
    draw_by_length(
        PlotFiles {
            svg: path("svg"),
            png: path("png"),
        },
        series,
    )
}

fn draw_by_length(files: PlotFiles, series: &[LengthSeries]) -> Result<PlotFiles, RunError> {
    for line in series {
        for (point_idx, point) in line.points.iter().enumerate() {
            if let Some((what, value, mend)) = fault(point) {
                return Err(RunError::BadPoint {
                    path: files.svg,
                    series: line.name.clone(),
                    point_idx,
                    what,
                    value,
                    mend,
                });
            }
        }
    }
    let octaves = |point: &LengthPoint| (point.length as f64).log2();
    let mut lengths: Vec<usize> = series
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.length))
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    let (low, high) = span(lengths.iter().map(|length| (*length as f64).log2()));
    let room = (high - low) / 16.0;
    let curves = series.iter().map(|line| Curve {
        name: &line.name,
        points: line
            .points
            .iter()
            .map(|point| (octaves(point), point.accuracy))
            .collect(),
        whiskers: line
            .points
            .iter()
            .map(|point| (point.low, point.high))
            .collect(),
        is_marked: true,
    });
    let figure = Figure {
        title: "Accuracy by document length",
        x: Axis {
            label: "document length in tokens",
            low: low - room,
            high: high + room,
            ticks: length_ticks(&lengths, (high - low) / 12.0),
        },
        y: Axis {
            label: "accuracy, with its confidence interval",
            // A little room, so that markers at 0 and 1 are whole.
            low: -0.03,
            high: 1.03,
            ticks: round_ticks(0.0, 1.0, 6, false),
        },
        curves: curves.collect(),
    };
    store(&figure, files)
}

fn store(figure: &Figure<'_>, files: PlotFiles) -> Result<PlotFiles, RunError> {
    let undrawable = |reason| RunError::Undrawable {
        path: files.svg.clone(),
        reason,
    };
    let (svg, png) = (
        figure.svg().map_err(undrawable)?,
        figure.png().map_err(undrawable)?,
    );
    write_file_atomic(&files.svg, svg.as_bytes())?;
    write_file_atomic(&files.png, &png)?;
    Ok(files)
}

/// What is wrong with a point, its value, and what is allowed.
fn fault(point: &LengthPoint) -> Option<(&'static str, f64, &'static str)> {
    let LengthPoint {
        length,
        accuracy,
        low,
        high,
    } = *point;
    if length == 0 {
        return Some((
            "the length",
            0.0,
            "a document that is drawn has at least 1 token",
        ));
    }
    if !(0.0..=1.0).contains(&accuracy) {
        return Some(("the accuracy", accuracy, "an accuracy lies in 0..1"));
    }
    if !(0.0..=accuracy).contains(&low) {
        return Some(("the lower bound", low, "it lies between 0 and the accuracy"));
    }
    if !(accuracy..=1.0).contains(&high) {
        return Some((
            "the upper bound",
            high,
            "it lies between the accuracy and 1",
        ));
    }
    None
}

/// Smallest and largest value, apart from each other even if they are one; 0..1 without any.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if high < low {
        return (0.0, 1.0);
    }
    if low < high {
        return (low, high);
    }
    let around = (low.abs() * 0.1).max(1.0);
    // Kept finite, and a range, even around the largest number there is.
    ((low - around).max(f64::MIN), (high + around).min(f64::MAX))
}

/// A range with room above and below, but not below zero where nothing is negative.
fn roomy((low, high): (f64, f64)) -> (f64, f64) {
    let room = high / 20.0 - low / 20.0;
    let floor = if 0.0 <= low { 0.0 } else { f64::MIN };
    ((low - room).max(floor), (high + room).min(f64::MAX))
}

/// Ticks at the lengths that were measured, leaving out those too close to the one before.
fn length_ticks(lengths: &[usize], least_octaves: f64) -> Vec<(f64, String)> {
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for length in lengths {
        let at = (*length as f64).log2();
        if ticks
            .last()
            .is_none_or(|(last, _)| last + least_octaves <= at)
        {
            ticks.push((at, with_thousands(&length.to_string())));
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LABELS: Labels<'_> = Labels {
        title: "Reward",
        x: "step",
        y: "mean reward",
    };

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        (root, run)
    }

    fn line(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    fn by_length(name: &str, points: &[LengthPoint]) -> LengthSeries {
        LengthSeries {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    fn point(length: usize, accuracy: f64, low: f64, high: f64) -> LengthPoint {
        LengthPoint {
            length,
            accuracy,
            low,
            high,
        }
    }

    fn svg(files: &PlotFiles) -> String {
        fs::read_to_string(&files.svg).expect("readable")
    }

    /// Rows of RGB pixels.
    fn pixels(files: &PlotFiles) -> (u32, u32, Vec<u8>) {
        let bytes = fs::read(&files.png).expect("readable");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("PNG");
        let mut buffer = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut buffer).expect("whole");
        (info.width, info.height, buffer)
    }

    #[test]
    fn a_learning_curve_has_its_labels_legend_and_both_forms() {
        let (_root, run) = run();
        let series = [
            line("TAMTRL", &[(0.0, 0.1), (50.0, 0.6), (100.0, 0.9)]),
            line(
                "group <of 8> & more",
                &[(0.0, 0.1), (50.0, 0.3), (100.0, 0.5)],
            ),
        ];
        let files = run
            .plot_learning_curve("reward", &LABELS, &series)
            .expect("drawn");
        assert_eq!(files.svg, run.path().join("plots/reward.svg"));
        let svg = svg(&files);
        for text in [
            "Reward",
            "step",
            "mean reward",
            "TAMTRL",
            "group &lt;of 8&gt; &amp; more",
            "100",
        ] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
        let (width, height, pixels) = pixels(&files);
        assert_eq!((width, height), (900, 560));
        // The first series is blue, the second vermilion: both are really there.
        let reddish = pixels
            .chunks_exact(3)
            .filter(|rgb| rgb[0] > 180 && rgb[2] < 60)
            .count();
        let bluish = pixels
            .chunks_exact(3)
            .filter(|rgb| rgb[2] > 150 && rgb[0] < 60)
            .count();
        assert!(
            300 < reddish && 300 < bluish,
            "{reddish} and {bluish} pixels"
        );
    }

    #[test]
    fn one_point_no_point_and_equal_points_are_drawn() {
        let (_root, run) = run();
        for points in [
            &[][..],
            &[(3.0, 0.5)],
            &[(1.0, 0.0), (2.0, 0.0)],
            &[(5.0, -2.0), (5.0, -2.0)],
        ] {
            let files = run
                .plot_learning_curve("p", &LABELS, &[line("a", points)])
                .expect("drawn");
            assert_eq!(
                svg(&files).contains("nothing was measured"),
                points.is_empty()
            );
        }
        run.plot_learning_curve("p", &LABELS, &[]).expect("drawn");
        run.plot_by_length("p", &[]).expect("drawn");
    }

    #[test]
    fn the_largest_numbers_are_drawn() {
        let (_root, run) = run();
        let extremes = [
            (f64::MIN, f64::MAX),
            (0.0, f64::MIN_POSITIVE),
            (f64::MAX, f64::MIN),
        ];
        run.plot_learning_curve("p", &LABELS, &[line("a", &extremes)])
            .expect("drawn");
        run.plot_learning_curve("p", &LABELS, &[line("a", &extremes[..1])])
            .expect("drawn");
    }

    #[test]
    fn a_number_that_is_not_finite_names_series_and_point() {
        let (_root, run) = run();
        let series = [
            line("a", &[(0.0, 1.0)]),
            line("kl", &[(0.0, 1.0), (1.0, f64::NAN)]),
        ];
        let error = run
            .plot_learning_curve("p", &LABELS, &series)
            .expect_err("NaN");
        assert!(
            error.to_string().contains("`kl`: point 1 has y NaN"),
            "{error}"
        );
        assert!(!run.path().join("plots/p.svg").exists());
    }

    #[test]
    fn lengths_are_ticks_on_an_axis_of_doublings() {
        let (_root, run) = run();
        let points = [
            point(512, 0.9, 0.86, 0.93),
            point(1024, 0.88, 0.84, 0.91),
            point(1030, 0.88, 0.84, 0.91),
            point(16384, 0.0, 0.0, 0.01),
        ];
        let files = run
            .plot_by_length("by-length", &[by_length("trained", &points)])
            .expect("drawn");
        let svg = svg(&files);
        for text in [
            "512",
            "1,024",
            "16,384",
            "0.8",
            "trained",
            "document length in tokens",
        ] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
        assert!(!svg.contains("1,030"), "too close to the tick before");
    }

    #[test]
    fn points_that_no_accuracy_can_have_are_refused() {
        let (_root, run) = run();
        for (bad, what) in [
            (point(0, 0.5, 0.4, 0.6), "the length 0"),
            (point(1, 1.5, 0.4, 0.6), "the accuracy 1.5"),
            (point(1, f64::NAN, 0.4, 0.6), "the accuracy NaN"),
            (point(1, 0.5, 0.6, 0.7), "the lower bound 0.6"),
            (point(1, 0.5, 0.4, 0.45), "the upper bound 0.45"),
            (point(1, 0.5, 0.4, f64::NAN), "the upper bound NaN"),
        ] {
            let good = point(2, 0.5, 0.4, 0.6);
            let error = run
                .plot_by_length("p", &[by_length("a", &[good, bad])])
                .expect_err("refused");
            assert!(
                error.to_string().contains(&format!("point 1 has {what}")),
                "{error}"
            );
        }
    }

    #[test]
    fn names_and_folders_that_do_not_work_are_refused() {
        let (_root, run) = run();
        let error = run.plot_by_length("a/b", &[]).expect_err("a path");
        assert!(error.to_string().contains("cannot name a plot"), "{error}");
        fs::remove_dir(run.path().join("plots")).expect("removed");
        fs::write(run.path().join("plots"), "a file").expect("written");
        let error = run.plot_by_length("p", &[]).expect_err("a file in the way");
        assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    }
}
