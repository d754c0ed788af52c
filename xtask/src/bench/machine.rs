//! The machine class, the moment and the commit that a result belongs to.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Instruction sets that matrix products care about, as Linux names them.
const TELLING_FLAGS: &[&str] = &[
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
];

/// What makes two results comparable: equal machines have equal fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name, or its architecture where the system does not tell.
    pub cpu: String,
    /// The instruction sets of [`TELLING_FLAGS`] that it has.
    pub instruction_sets: Vec<String>,
    /// Threads that every program was given.
    pub n_threads: usize,
}

impl Machine {
    /// This machine, with `n_threads` threads for each program.
    #[must_use]
    pub fn here(n_threads: usize) -> Self {
        // Only Linux has this file; elsewhere the architecture has to do.
        let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self::from_cpu_info(&cpu_info, n_threads)
    }

    /// The machine that `cpu_info`, in the form of `/proc/cpuinfo`, describes.
    #[must_use]
    pub fn from_cpu_info(cpu_info: &str, n_threads: usize) -> Self {
        let field = |names: &[&str]| {
            cpu_info.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                names.contains(&name.trim()).then(|| value.trim())
            })
        };
        let flags: Vec<&str> = field(&["flags", "Features"])
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        Self {
            cpu: field(&["model name"])
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            instruction_sets: TELLING_FLAGS
                .iter()
                .filter(|flag| flags.contains(flag))
                .map(|flag| (*flag).to_owned())
                .collect(),
            n_threads,
        }
    }

    /// As a result file holds it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "instruction_sets": self.instruction_sets,
            "threads": self.n_threads,
        })
    }
}

/// The system's load before a measurement: what else ran. None where the system does not tell.
#[must_use]
pub fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The commit of `root`, with `+` after it where files differ from it; `unknown` without git.
#[must_use]
pub fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .args(args)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(name) => {
            let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])
                .is_some_and(|changes| changes.is_empty());
            format!("{name}{}", if is_clean { "" } else { "+" })
        }
        None => "unknown".to_owned(),
    }
}

/// Now, as `2026-01-31T23:59:59Z`.
#[must_use]
pub fn utc_now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    utc(since.map_or(0, |duration| duration.as_secs()))
}

/// The second `seconds` after the start of 1970, as `2026-01-31T23:59:59Z`.
#[must_use]
pub fn utc(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while 365 + u64::from(is_leap(year)) <= days {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for n_days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < n_days {
            break;
        }
        days -= n_days;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z",
        days + 1,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_the_name_the_telling_flags_and_the_threads() {
        let info = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx512_bf16 avx2 fma avx2x\n";
        let machine = Machine::from_cpu_info(info, 2);
        assert_eq!(machine.cpu, "Some CPU @ 2 GHz");
        assert_eq!(machine.instruction_sets, ["avx2", "fma", "avx512_bf16"]);
        assert_ne!(machine, Machine::from_cpu_info(info, 4));
        let unknown = Machine::from_cpu_info("", 1);
        assert_eq!(unknown.cpu, std::env::consts::ARCH);
        assert!(unknown.instruction_sets.is_empty());
    }

    #[test]
    fn seconds_become_dates() {
        // date -u -d @SECONDS +%FT%TZ
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
