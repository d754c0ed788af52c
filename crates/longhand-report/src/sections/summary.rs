//! The head of the page: what the run is, how far it came, and the numbers that matter most.

use crate::html::Html;
use crate::load::{Loaded, Stage};
use crate::numbers::{bytes, count, date, duration, number, with_thousands};
use crate::sections::{Pair, lengths};

/// Steps at each end over which a noisy number is averaged.
const N_AVERAGED: usize = 10;

/// Name, description and state.
pub(crate) fn heading(pair: Pair<'_>) -> Html {
    let run = pair.run;
    let mut html = Html::new();
    html.raw("<header><p class=\"kicker\">Longhand run <b>")
        .text(&run.label)
        .raw("</b>");
    if let Some(against) = pair.against {
        html.raw(" against <b>").text(&against.label).raw("</b>");
    }
    html.raw("</p>").wrap("<h1>", &run.name, "</h1>");
    if !run.description.is_empty() {
        html.wrap("<p class=\"lede\">", &run.description, "</p>");
    }
    for (run, _) in pair.runs() {
        html.raw("<p class=\"state\">");
        if pair.against.is_some() {
            html.wrap("<b>", &run.label, "</b>: ");
        }
        html.text(state(run)).raw("</p>");
        troubles(run, &mut html);
    }
    html.raw("</header>");
    html
}

fn state(run: &Loaded) -> String {
    let n_warm_start = run.numbers(Stage::WarmStart).n_lines();
    let warm_start = if n_warm_start == 0 {
        String::new()
    } else {
        format!(
            ", after {} of warm start",
            count(n_warm_start, "step", "steps")
        )
    };
    let done = run.last_step().map_or(0, |step| step as usize + 1);
    let of_planned = match run.n_planned_steps {
        Some(planned) if 0 < planned => format!(" of {}", with_thousands(&planned.to_string())),
        _ => String::new(),
    };
    let steps = format!(
        "{}{of_planned} RL steps{warm_start}",
        with_thousands(&done.to_string())
    );
    let when = run_times(run).map(|(first, last)| (date(first), date(last)));
    let when = match when {
        Some((Some(first), Some(last))) if first == last => format!(" Written on {last}."),
        Some((Some(first), Some(last))) => format!(" Written from {first} to {last}."),
        _ => String::new(),
    };
    let resumed = match run.n_resumes {
        0 => String::new(),
        n => format!(" Resumed {}.", count(n, "time", "times")),
    };
    if run.is_finished {
        format!("Finished: {steps}.{resumed}{when}")
    } else {
        format!("Not finished: {steps} so far.{resumed}{when}")
    }
}

/// Lines that are torn, and steps that stopped the run.
fn troubles(run: &Loaded, html: &mut Html) {
    for failure in &run.failures {
        html.raw("<p class=\"warning\">A step stopped ")
            .text(&run.label);
        html.raw(": <code>longhand replay</code> runs failures/")
            .text(failure)
            .raw(" again.</p>");
    }
    for (is_torn, file) in [
        (run.is_metrics_torn, "metrics.jsonl"),
        (run.is_timings_torn, "timings.jsonl"),
    ] {
        if is_torn {
            html.raw("<p class=\"warning\">The last line of ")
                .text(file)
                .raw(" of ")
                .text(&run.label);
            html.raw(" is torn: the run was stopped while writing it, or is writing it now. It is left out here.</p>");
        }
    }
}

/// Earliest and latest time of the lines.
fn run_times(run: &Loaded) -> Option<(f64, f64)> {
    run.clocked("unix_seconds")
        .fold(None, |ends, time| match ends {
            None => Some((time, time)),
            Some((first, last)) => Some((first.min(time), last.max(time))),
        })
}

/// The numbers that matter most, side by side where there are two runs.
pub(crate) fn numbers(pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    html.raw("<section id=\"numbers\"><h2>Numbers</h2>");
    let (mine, theirs) = (headlines(pair.run), pair.against.map(headlines));
    match theirs {
        None => {
            html.raw("<dl class=\"numbers\">");
            for headline in &mine {
                html.raw("<div>")
                    .wrap("<dt>", &headline.what, "</dt>")
                    .raw("<dd>")
                    .text(&headline.value);
                html.wrap(" <small>", &headline.note, "</small>")
                    .raw("</dd></div>");
            }
            html.raw("</dl>");
        }
        Some(theirs) => {
            html.raw("<div class=\"scroll\"><table class=\"words beside\"><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">");
            html.text(&pair.run.label).raw("</th><th scope=\"col\">");
            html.text(pair.against.map_or("", |run| &run.label))
                .raw("</th></tr></thead><tbody>");
            let mut whats: Vec<&str> = mine.iter().map(|headline| headline.what.as_str()).collect();
            whats.extend(
                theirs
                    .iter()
                    .map(|headline| headline.what.as_str())
                    .filter(|what| mine.iter().all(|headline| headline.what != *what)),
            );
            for what in whats {
                html.raw("<tr>").wrap("<th scope=\"row\">", what, "</th>");
                for headlines in [&mine, &theirs] {
                    html.raw("<td>");
                    match headlines.iter().find(|headline| headline.what == what) {
                        Some(headline) => {
                            html.text(&headline.value)
                                .wrap(" <small>", &headline.note, "</small>")
                        }
                        None => html.raw("–"),
                    };
                    html.raw("</td>");
                }
                html.raw("</tr>");
            }
            html.raw("</tbody></table></div>");
        }
    }
    html.raw("</section>");
    html
}

struct Headline {
    what: String,
    value: String,
    note: String,
}

fn headlines(run: &Loaded) -> Vec<Headline> {
    let mut headlines = Vec::new();
    let mut say = |what: &str, value: String, note: String| {
        headlines.push(Headline {
            what: what.to_owned(),
            value,
            note,
        });
    };
    let rewards = run.numbers(Stage::Rl).points("reward");
    if let (Some(first), Some(last)) = (rewards.first(), rewards.last()) {
        let mean = |points: &[(f64, f64)]| {
            points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64
        };
        let averaged = |which: &str, points: &[(f64, f64)]| {
            if points.len() < N_AVERAGED {
                String::new()
            } else {
                format!(
                    "; mean of the {which} {N_AVERAGED}: {}",
                    number(mean(points))
                )
            }
        };
        let n_ends = rewards.len().min(N_AVERAGED);
        say(
            "First reward",
            number(first.1),
            format!(
                "step {}{}",
                number(first.0),
                averaged("first", &rewards[..n_ends])
            ),
        );
        say(
            "Last reward",
            number(last.1),
            format!(
                "step {}{}",
                number(last.0),
                averaged("last", &rewards[rewards.len() - n_ends..])
            ),
        );
        // Of equal ones the earliest.
        let best = rewards.iter().fold(
            *first,
            |best, point| if best.1 < point.1 { *point } else { best },
        );
        say(
            "Best reward",
            number(best.1),
            format!("step {}", number(best.0)),
        );
    }
    for (what, value, note) in lengths::headlines(run) {
        say(&what, value, note);
    }
    say(
        "RL steps",
        with_thousands(&run.numbers(Stage::Rl).n_lines().to_string()),
        planned(run),
    );
    if run.numbers(Stage::WarmStart).n_lines() != 0 {
        say(
            "Warm-start steps",
            with_thousands(&run.numbers(Stage::WarmStart).n_lines().to_string()),
            String::new(),
        );
    }
    for (what, key, note) in [
        ("Tokens sampled", "n_sampled", "in RL steps"),
        ("Tokens trained", "n_trained_tokens", "in RL steps"),
        ("Tokens run", "n_run_tokens", "for gradients, in RL steps"),
    ] {
        let total = run.numbers(Stage::Rl).sum(key);
        if 0.0 < total {
            say(what, number(total), note.to_owned());
        }
    }
    let seconds: f64 = run.clocked("seconds").sum();
    if 0.0 < seconds {
        let note = match run_times(run) {
            Some((first, last)) if first < last => format!(
                "in steps and measurements; {} from first to last line",
                duration(last - first)
            ),
            _ => "in steps and measurements".to_owned(),
        };
        say("Time", duration(seconds), note);
    }
    if let Some((peak, note)) = peak_memory(run) {
        say("Peak memory", bytes(peak), note.to_owned());
    }
    headlines
}

fn planned(run: &Loaded) -> String {
    match run.n_planned_steps {
        Some(planned) if 0 < planned => {
            format!("of {} planned", with_thousands(&planned.to_string()))
        }
        _ => String::new(),
    }
}

/// Largest resident memory, and how it was measured.
fn peak_memory(run: &Loaded) -> Option<(f64, &'static str)> {
    let largest = |key| run.clocked(key).max_by(f64::total_cmp);
    let peak = largest("peak_resident_bytes").map(|size| (size, "resident, as the system counted"));
    peak.or_else(|| Some((largest("resident_bytes")?, "resident, after steps")))
}
