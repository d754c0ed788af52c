//! Results: the rows of a set, what is computed from them, and the JSON file that keeps them.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::cases::{Case, Contender, Program};
use super::machine::Machine;

/// One program at one precision in one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// The program's name.
    pub program: String,
    /// The precision as the program names it.
    pub precision: String,
    /// What the values count: `s` or `tokens/s`.
    pub unit: String,
    /// The figure of each repetition, in order of measuring.
    pub values: Vec<f64>,
    /// Each repetition as it was printed, and the system's load before it.
    pub raw: Vec<Value>,
    /// Why it was not measured, or not to the end.
    pub missing: Option<String>,
}

impl Row {
    /// A row without values.
    #[must_use]
    pub fn new(case: &Case, contender: &Contender) -> Self {
        Self {
            case: case.name(),
            program: contender.program.name().to_owned(),
            precision: contender.precision.to_owned(),
            unit: case.unit().to_owned(),
            values: Vec::new(),
            raw: Vec::new(),
            missing: None,
        }
    }

    /// The median of the values; none where nothing was measured.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    fn peak_bytes(&self) -> Option<f64> {
        let peaks: Vec<f64> = self
            .raw
            .iter()
            .filter_map(|raw| raw["printed"]["peak_rss_bytes"].as_f64())
            .collect();
        median(&peaks)
    }
}

/// One run of one set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetRecord {
    /// The set's name; with `-peers` after it where others took part.
    pub set: String,
    /// When it was finished, in UTC.
    pub date: String,
    /// The commit that was measured.
    pub commit: String,
    /// Where it was measured.
    pub machine: Machine,
    /// Processes per row.
    pub n_repetitions: usize,
    /// The rows, ours first in each case.
    pub rows: Vec<Row>,
}

impl SetRecord {
    /// The file's content, held against `previous`, the last file of this set.
    #[must_use]
    pub fn to_json(&self, previous: Option<&Value>) -> Value {
        let machine = self.machine.to_json();
        // Another machine's numbers say nothing about these.
        let previous = previous.filter(|previous| previous["machine"] == machine);
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| self.row_to_json(row, previous))
            .collect();
        json!({
            "set": self.set,
            "date": self.date,
            "commit": self.commit,
            "machine": machine,
            "repetitions": self.n_repetitions,
            "previous": previous.map(|previous| json!({
                "date": previous["date"],
                "commit": previous["commit"],
            })),
            "rows": rows,
        })
    }

    fn row_to_json(&self, row: &Row, previous: Option<&Value>) -> Value {
        let before = previous
            .and_then(|previous| previous["rows"].as_array())
            .into_iter()
            .flatten()
            .find(|before| {
                before["case"] == row.case
                    && before["program"] == row.program
                    && before["precision"] == row.precision
                    && before["unit"] == row.unit
            })
            .and_then(|before| before["median"].as_f64());
        let own_speed = self
            .rows
            .iter()
            .filter(|own| own.program == Program::Longhand.name() && own.case == row.case)
            .filter_map(|own| {
                let times = speed_ratio(&row.unit, own.median()?, row.median()?);
                Some((own.precision.clone(), json!(times)))
            });
        let longhand: Map<String, Value> = if row.program == Program::Longhand.name() {
            Map::new()
        } else {
            own_speed.collect()
        };
        json!({
            "case": row.case,
            "program": row.program,
            "precision": row.precision,
            "unit": row.unit,
            "median": row.median(),
            "values": row.values,
            "peak_rss_bytes": row.peak_bytes(),
            "speed_against_previous": row.median().zip(before)
                .map(|(now, before)| speed_ratio(&row.unit, now, before)),
            "longhand_speed_against_this": longhand,
            "missing": row.missing,
            "raw": row.raw,
        })
    }
}

/// How many times as fast `figure` is as `other`, both positive: fewer seconds or more tokens a second are faster.
#[must_use]
pub fn speed_ratio(unit: &str, figure: f64, other: f64) -> f64 {
    match unit {
        "s" => other / figure,
        _ => figure / other,
    }
}

/// The middle value, or the mean of the two in the middle; none of no values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// The result at `path`; none where there is no file.
///
/// # Errors
///
/// A file that cannot be read, or holds no JSON.
pub fn read(path: &Path) -> Result<Option<Value>, String> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| format!("{} holds no result: {error}", path.display()))
}

/// All results in `folder`, by the names of their files.
///
/// # Errors
///
/// A folder or file that cannot be read.
pub fn read_all(folder: &Path) -> Result<Vec<Value>, String> {
    let entries = fs::read_dir(folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let results: Result<Vec<Option<Value>>, String> = paths.iter().map(|path| read(path)).collect();
    Ok(results?.into_iter().flatten().collect())
}

/// Writes `document` to `path`, over what was there.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(path: &Path, document: &Value) -> Result<(), String> {
    fs::write(path, format!("{document:#}\n"))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of one case with `ours` seconds at both precisions and `theirs` by a peer.
    pub(in crate::bench) fn record(
        n_threads: usize,
        ours: [&[f64]; 2],
        theirs: &[f64],
    ) -> SetRecord {
        let row = |program: &str, precision: &str, values: &[f64]| {
            Row {
            case: "step 8x512+64".to_owned(),
            program: program.to_owned(),
            precision: precision.to_owned(),
            unit: "s".to_owned(),
            values: values.to_vec(),
            raw: values
                .iter()
                .map(|value| json!({ "load_before": value, "printed": { "step_s": value, "peak_rss_bytes": 1 << 30 } }))
                .collect(),
            missing: values.is_empty().then(|| "no such package".to_owned()),
        }
        };
        SetRecord {
            set: "step-peers".to_owned(),
            date: "2026-01-01T00:00:00Z".to_owned(),
            commit: "abc".to_owned(),
            machine: Machine::from_cpu_info("model name: A\nflags: avx2 fma", n_threads),
            n_repetitions: 3,
            rows: vec![
                row("longhand", "f32", ours[0]),
                row("longhand", "auto", ours[1]),
                row("trl", "f32", theirs),
            ],
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn faster_is_more_than_one_in_either_unit() {
        assert_eq!(speed_ratio("s", 2.0, 6.0), 3.0);
        assert_eq!(speed_ratio("tokens/s", 6.0, 2.0), 3.0);
    }

    #[test]
    fn ours_is_held_against_each_peer_and_not_against_itself() {
        let document = record(2, [&[10.0, 8.0, 9.0], &[5.0]], &[45.0, 30.0]).to_json(None);
        let rows = &document["rows"];
        assert_eq!(rows[0]["median"], 9.0);
        assert_eq!(rows[0]["peak_rss_bytes"], (1_u64 << 30) as f64);
        assert_eq!(rows[0]["longhand_speed_against_this"], json!({}));
        assert_eq!(
            rows[2]["longhand_speed_against_this"],
            json!({ "f32": 37.5 / 9.0, "auto": 7.5 })
        );
        assert_eq!(rows[2]["raw"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn what_was_not_measured_has_no_ratio() {
        let document = record(2, [&[10.0], &[]], &[]).to_json(None);
        assert_eq!(document["rows"][1]["median"], Value::Null);
        assert_eq!(document["rows"][1]["missing"], "no such package");
        assert_eq!(
            document["rows"][2]["longhand_speed_against_this"],
            json!({})
        );
    }

    #[test]
    fn only_the_same_machine_is_a_previous_run() {
        let previous = record(2, [&[10.0], &[8.0]], &[40.0]).to_json(None);
        let now = record(2, [&[5.0], &[]], &[44.0]).to_json(Some(&previous));
        let ratio = |row: usize| &now["rows"][row]["speed_against_previous"];
        assert_eq!((ratio(0), ratio(1)), (&json!(2.0), &Value::Null));
        assert_eq!(ratio(2), &json!(40.0 / 44.0));
        assert_eq!(now["previous"]["commit"], "abc");

        let elsewhere = record(4, [&[5.0], &[5.0]], &[44.0]).to_json(Some(&previous));
        assert_eq!(elsewhere["previous"], Value::Null);
        assert_eq!(elsewhere["rows"][0]["speed_against_previous"], Value::Null);
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("longhand-record-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        assert_eq!(read(&folder.join("b.json")), Ok(None));
        let [first, second] = [2, 4].map(|n| record(n, [&[1.5], &[1.0]], &[3.0]).to_json(None));
        write(&folder.join("b.json"), &second).expect("written");
        write(&folder.join("a.json"), &first).expect("written");
        fs::write(folder.join("README.md"), "no result").expect("written");
        assert_eq!(read_all(&folder), Ok(vec![first, second]));
        fs::write(folder.join("c.json"), "{").expect("written");
        assert!(read_all(&folder).is_err());
        fs::remove_dir_all(&folder).expect("remove");
    }
}
