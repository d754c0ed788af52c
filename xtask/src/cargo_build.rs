//! Builds in release, and where cargo put what it built.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::ci;

/// Builds in release and returns where cargo put the first program of a kind (`bin`, `example`).
pub(crate) fn build(root: &Path, words: &[&str], kind: &str) -> Result<PathBuf, String> {
    let mut command = ci::cargo(root, &["build", "--release"]);
    command.args(words);
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{}`: {}", ci::describe(&command), output.status));
    }
    program_in(&String::from_utf8_lossy(&output.stdout), kind)
        .ok_or_else(|| format!("cargo does not say where it put the {kind}"))
}

/// Reads cargo's messages, one JSON object a line.
fn program_in(messages: &str, kind: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| {
        let is_of_kind = message["target"]["kind"][0] == kind;
        let program = PathBuf::from(message["executable"].as_str()?);
        is_of_kind.then_some(program)
    });
    programs.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_cargo_says() {
        let messages = "\
            {\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"lib\"]},\"executable\":null}\n\
            not JSON\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"example\"],\"name\":\"logits\"},\
             \"executable\":\"/t/release/examples/logits\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        let place = PathBuf::from("/t/release/examples/logits");
        assert_eq!(program_in(messages, "example"), Some(place));
        assert_eq!(program_in(messages, "bin"), None);
        assert_eq!(program_in("", "example"), None);
    }
}
