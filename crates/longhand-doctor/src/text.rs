//! Findings and rules as text.

use std::io::{self, Write};

use crate::{Finding, NotJudged, RULES, Severity};

/// Width that text is wrapped to, in characters.
const WIDTH: usize = 96;
const INDENT: &str = "    ";

/// A number for people: three digits that count.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if 100.0 <= size => 0,
        _ if 10.0 <= size => 1,
        _ if 1.0 <= size => 2,
        _ if 1e-3 <= size || size == 0.0 => 3,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Writes findings, three paragraphs each: what and where, the numbers, the advice.
///
/// # Errors
///
/// Where `out` cannot be written to.
pub fn write_findings(findings: &[Finding], out: &mut impl Write, colour: bool) -> io::Result<()> {
    if findings.is_empty() {
        writeln!(out, "Nothing found by {} rules.", RULES.len())?;
    }
    for (idx, finding) in findings.iter().enumerate() {
        if idx != 0 {
            writeln!(out)?;
        }
        let (name, code) = match finding.severity {
            Severity::Fault => ("fault", "1;31"),
            Severity::Warning => ("warning", "1;33"),
            Severity::Note => ("note", "1;36"),
        };
        let name = if colour {
            format!("\x1b[{code}m{name}\x1b[0m")
        } else {
            name.to_owned()
        };
        writeln!(out, "{name}: {}, {}", finding.rule, finding.steps)?;
        paragraph(out, &finding.evidence)?;
        paragraph(out, &finding.advice)?;
    }
    Ok(())
}

/// Writes which rules were not judged and why, in one line; nothing where all were.
///
/// # Errors
///
/// Where `out` cannot be written to.
pub fn write_not_judged(not_judged: &[NotJudged], out: &mut impl Write) -> io::Result<()> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for NotJudged { rule, why } in not_judged {
        match reasons.iter_mut().find(|(other, _)| other == why) {
            Some((_, rules)) => rules.push(rule),
            None => reasons.push((why, vec![rule])),
        }
    }
    let told: Vec<String> = reasons
        .iter()
        .map(|(why, rules)| format!("{} ({why})", rules.join(", ")))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(out, "not judged: {}", told.join("; "))
}

/// Writes the documentation of all rules.
///
/// # Errors
///
/// Where `out` cannot be written to.
pub fn write_rules(out: &mut impl Write) -> io::Result<()> {
    for (idx, rule) in RULES.iter().enumerate() {
        if idx != 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", rule.name)?;
        paragraph(out, rule.meaning)?;
        paragraph(out, &format!("Threshold: {}.", (rule.threshold)()))?;
        paragraph(out, &format!("Why: {}", rule.why))?;
        paragraph(out, &format!("Advice: {}", rule.advice))?;
    }
    Ok(())
}

/// A paragraph, indented and wrapped between words.
fn paragraph(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty()
            && WIDTH < INDENT.len() + line.chars().count() + 1 + word.chars().count()
        {
            writeln!(out, "{INDENT}{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{INDENT}{line}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::StepRange;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("text")
    }

    fn finding(severity: Severity, first: u64) -> Finding {
        Finding {
            rule: "dead-groups",
            severity,
            steps: StepRange { first, last: 9 },
            evidence: "0 % of the groups are live".to_owned(),
            advice: "Words ".repeat(20),
        }
    }

    #[test]
    fn findings_are_three_paragraphs() {
        let findings = [finding(Severity::Fault, 3), finding(Severity::Note, 9)];
        let words = format!(
            "    {}\n    {}\n",
            ["Words"; 15].join(" "),
            ["Words"; 5].join(" ")
        );
        assert_eq!(
            written(|out| write_findings(&findings, out, false)),
            format!(
                "fault: dead-groups, steps 3-9\n    0 % of the groups are live\n{words}\n\
                 note: dead-groups, step 9\n    0 % of the groups are live\n{words}"
            )
        );
        let coloured = written(|out| write_findings(&findings[..1], out, true));
        assert!(
            coloured.starts_with("\x1b[1;31mfault\x1b[0m: dead-groups"),
            "{coloured}"
        );
        let none = written(|out| write_findings(&[], out, true));
        assert_eq!(none, format!("Nothing found by {} rules.\n", RULES.len()));
    }

    #[test]
    fn rules_that_lack_the_same_are_told_together() {
        let lack = |rule, why: &str| NotJudged {
            rule,
            why: why.to_owned(),
        };
        let not_judged = [lack("a", "short"), lack("b", "absent"), lack("c", "short")];
        assert_eq!(
            written(|out| write_not_judged(&not_judged, out)),
            "not judged: a, c (short); b (absent)\n"
        );
        assert_eq!(written(|out| write_not_judged(&[], out)), "");
    }

    #[test]
    fn every_rule_is_documented_under_its_own_name() {
        let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        let text = written(write_rules);
        for rule in RULES {
            assert!(text.contains(&format!("{}\n    ", rule.name)));
            for part in [rule.meaning, rule.why, rule.advice] {
                assert!(part.ends_with('.'), "{}: {part}", rule.name);
            }
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (1234.5, "1234"),
            (99.96, "100"),
            (12.34, "12.3"),
            (0.5, "0.5"),
            (-0.01234, "-0.012"),
            (2.4e-6, "2.4e-6"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
