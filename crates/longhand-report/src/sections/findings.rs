//! What the doctor's rules say about the run.

use longhand_doctor::{Examination, RULES, Severity};

use crate::html::Html;
use crate::numbers::count;
use crate::sections::Pair;

/// Findings with their evidence and advice, the worst first.
pub(crate) fn section(pair: Pair<'_>) -> Html {
    let run = pair.run;
    let examination = Examination::of(&run.metrics, &run.timings);
    let mut html = Html::new();
    html.raw("<section id=\"findings\"><h2>Findings");
    if pair.against.is_some() {
        html.raw(" in ").text(&run.label);
    }
    html.raw("</h2>");
    if examination.findings.is_empty() {
        let n_judged = RULES.len() - examination.not_judged.len().min(RULES.len());
        if n_judged == 0 {
            html.raw("<p>No rule could be judged.</p>");
        } else {
            html.raw("<p>")
                .text(count(n_judged, "rule was", "rules were"));
            html.raw(" judged, and nothing was found.</p>");
        }
    } else {
        html.raw("<ul class=\"findings\">");
        for finding in &examination.findings {
            let (class, word) = match finding.severity {
                Severity::Note => ("<li class=\"note\">", "Note"),
                Severity::Warning => ("<li class=\"warn\">", "Warning"),
                Severity::Fault => ("<li class=\"fault\">", "Fault"),
            };
            html.raw(class)
                .raw("<h3>")
                .raw(word)
                .raw(": ")
                .text(finding.rule)
                .raw("</h3><p>");
            html.text(&finding.evidence)
                .raw(" <small>")
                .text(finding.steps)
                .raw("</small></p>");
            html.wrap("<p class=\"advice\">", &finding.advice, "</p>")
                .raw("</li>");
        }
        html.raw("</ul>");
    }
    if !examination.not_judged.is_empty() {
        html.raw("<details><summary>")
            .text(count(examination.not_judged.len(), "rule", "rules"));
        html.raw(" could not be judged</summary><ul>");
        for rule in &examination.not_judged {
            html.raw("<li><b>")
                .text(rule.rule)
                .raw("</b>: ")
                .text(&rule.why)
                .raw("</li>");
        }
        html.raw("</ul></details>");
    }
    html.raw("</section>");
    html
}
