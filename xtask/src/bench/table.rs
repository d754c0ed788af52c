//! The page of all results: one Markdown table a set, made from the JSON files alone.

use serde_json::Value;

const HEAD: &str = "\
# Measurements

Written by `cargo xtask bench`, and with `--peers` for the sets that end in `-peers`, in which all programs took
turns on the same machine. A case is a phase and its shape: sequences x prompt + generated tokens. The model has
SmolLM2-135M's shape and random weights; llama.cpp reads a quantized file of that shape. Figures are medians, with
the lowest and the highest beside them; `x` is how many times as fast, so more than 1 is faster. Every repetition
is in the JSON file of the set. Only numbers of one run on one machine can be compared, and only where nothing else
ran: the load is the system's own average over the minute before a repetition, so about the threads of a program
once the first has run.
";

/// The page for `results`, which are the contents of result files.
#[must_use]
pub fn page(results: &[Value]) -> String {
    let mut page = HEAD.to_owned();
    for result in results {
        page.push_str(&section(result));
    }
    page
}

fn section(result: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let machine = &result["machine"];
    let instruction_sets: Vec<&str> = machine["instruction_sets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let previous = match &result["previous"] {
        Value::Null => "no earlier run on such a machine".to_owned(),
        previous => format!(
            "the run before: {}, commit {}",
            word(&previous["date"]),
            word(&previous["commit"])
        ),
    };
    let mut text = format!(
        "\n## {}\n\n{} ({}), {} threads; {}, commit {}, {} repetitions; load up to {}; {previous}.\n\n",
        word(&result["set"]),
        word(&machine["cpu"]),
        instruction_sets.join(" "),
        machine["threads"],
        word(&result["date"]),
        word(&result["commit"]),
        result["repetitions"],
        highest_load(result).map_or("unknown".to_owned(), |load| format!("{load:.1}")),
    );
    text.push_str(
        "| case | program | precision | median | range | peak memory | against the run before | \
         longhand f32 against it | longhand auto against it |\n|---|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = cells(row);
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// The highest load before any repetition of the set.
fn highest_load(result: &Value) -> Option<f64> {
    let rows = result["rows"].as_array()?;
    rows.iter()
        .filter_map(|row| row["raw"].as_array())
        .flatten()
        .filter_map(|raw| raw["load_before"].as_f64())
        .reduce(f64::max)
}

fn cells(row: &Value) -> Vec<String> {
    let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let times = |value: &Value| {
        value
            .as_f64()
            .map_or(String::new(), |times| format!("{times:.2}x"))
    };
    let values: Vec<f64> = row["values"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    let lowest = values.iter().copied().reduce(f64::min);
    let highest = values.iter().copied().reduce(f64::max);
    let median = match (row["median"].as_f64(), row["missing"].as_str()) {
        (Some(median), None) => format!("{} {}", figure(median), word("unit")),
        (Some(median), Some(reason)) => {
            format!(
                "{} {}, then: {}",
                figure(median),
                word("unit"),
                cell(reason)
            )
        }
        (None, reason) => format!("not measured: {}", cell(reason.unwrap_or("no value"))),
    };
    let range = lowest
        .zip(highest)
        .map_or(String::new(), |(lowest, highest)| {
            format!("{} to {}", figure(lowest), figure(highest))
        });
    let peak = row["peak_rss_bytes"]
        .as_f64()
        .map_or(String::new(), |bytes| {
            format!("{:.2} GiB", bytes / (1_u64 << 30) as f64)
        });
    let longhand = &row["longhand_speed_against_this"];
    vec![
        word("case"),
        word("program"),
        word("precision"),
        median,
        range,
        peak,
        times(&row["speed_against_previous"]),
        times(&longhand["f32"]),
        times(&longhand["auto"]),
    ]
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    fn lines(page: &str) -> Vec<&str> {
        page.lines()
            .filter(|line| line.starts_with("| step"))
            .collect()
    }

    #[test]
    fn a_row_shows_medians_ranges_and_ratios() {
        let previous = record(2, [&[18.0], &[5.0]], &[50.0]).to_json(None);
        let now = record(2, [&[10.0, 8.0, 9.0], &[5.0]], &[45.0]).to_json(Some(&previous));
        let page = page(&[now]);
        assert!(page.contains("A (avx2 fma), 2 threads; 2026-01-01T00:00:00Z, commit abc"));
        assert!(page.contains("load up to 45.0;"), "{page}");
        assert_eq!(
            lines(&page),
            [
                "| step 8x512+64 | longhand | f32 | 9.00 s | 8.00 to 10.0 | 1.00 GiB | 2.00x |  |  |",
                "| step 8x512+64 | longhand | auto | 5.00 s | 5.00 to 5.00 | 1.00 GiB | 1.00x |  |  |",
                "| step 8x512+64 | trl | f32 | 45.0 s | 45.0 to 45.0 | 1.00 GiB | 1.11x | 5.00x | 9.00x |",
            ]
        );
    }

    #[test]
    fn what_is_missing_says_why() {
        let mut record = record(2, [&[10.0], &[]], &[]);
        record.rows[2].missing = Some("exit status 1: a | b".to_owned());
        let page = page(&[record.to_json(None)]);
        assert!(page.contains("no earlier run on such a machine"));
        assert_eq!(
            lines(&page)[1..],
            [
                "| step 8x512+64 | longhand | auto | not measured: no such package |  |  |  |  |  |",
                "| step 8x512+64 | trl | f32 | not measured: exit status 1: a \\| b |  |  |  |  |  |",
            ]
        );
    }

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!(
            [0.5, 9.5, 42.25, 812.4].map(figure),
            ["0.50", "9.50", "42.2", "812"]
        );
    }
}
