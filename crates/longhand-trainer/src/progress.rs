//! The line that a person reads while a run goes on.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{report::StepReport, timing::Timing, warm_start::WarmStartReport};

/// A bar on standard error; where that is no terminal, a line now and then; nothing at all when
/// progress is off.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    stage: String,
    steps: usize,
    says_lines: bool,
}

/// Lines a stage says where there is no bar.
const LINES_PER_STAGE: usize = 20;

impl Progress {
    pub(crate) fn new(show: bool, stage: &str, steps: usize) -> Self {
        let has_bar = show && std::io::stderr().is_terminal();
        let bar = if has_bar {
            ProgressBar::new(steps as u64)
        } else {
            ProgressBar::hidden()
        };
        // The template is a constant; were it wrong, the plain bar would do.
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} ETA {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(stage.to_string());
        if has_bar {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Self {
            bar,
            stage: stage.to_string(),
            steps,
            says_lines: show && !has_bar,
        }
    }

    /// After step `step_idx` of the stage, from 0.
    pub(crate) fn rl(&self, step_idx: usize, report: &StepReport, timing: &Timing) {
        self.step(step_idx, rl_line(report, timing));
    }

    pub(crate) fn warm_start(&self, report: &WarmStartReport) {
        let line = format!(
            "read loss {:.3}  answer loss {:.3}",
            report.read_loss, report.answer_loss
        );
        self.step(report.step, line);
    }

    pub(crate) fn documents(&self, done: usize, n: usize) {
        self.bar.set_message(format!("document {done}/{n}"));
    }

    fn step(&self, step_idx: usize, line: String) {
        let done = step_idx + 1;
        if self.says_lines
            && (done.is_multiple_of((self.steps / LINES_PER_STAGE).max(1)) || done == self.steps)
        {
            self.say(&format!("{} {done}/{}: {line}", self.stage, self.steps));
        }
        self.bar.set_position(done as u64);
        self.bar.set_message(line);
    }

    /// Prints a line above the bar, or plainly when there is none.
    pub(crate) fn say(&self, line: &str) {
        if self.says_lines {
            // Nobody may be listening any more; that is no reason to stop a run.
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Reward, share of live groups, KL, entropy and gradient norm; then where the time goes.
pub(crate) fn rl_line(report: &StepReport, timing: &Timing) -> String {
    let kl = report.ref_kl.unwrap_or(report.approx_kl);
    let tokens_per_second = report.n_sampled as f64 / timing.seconds.max(1e-9);
    let phases = timing.phases.unwrap_or_default();
    let mut line = format!(
        "reward {:.3}  live {:.0}%  kl {:.1e}  entropy {:.3}  grad {:.2}  | generate {:.2} s, score {:.2} s, train {:.2} s, {tokens_per_second:.0} tokens/s",
        report.reward,
        report.live_groups * 100.0,
        kl,
        report.entropy,
        report.grad_norm,
        phases.seconds_generate,
        phases.seconds_score,
        phases.seconds_train,
    );
    // What went wrong is said wherever it happens, and nothing is said where it does not.
    for (n, what) in [
        (report.n_masked_attempts, "attempts without a reward"),
        (report.n_window_full, "turns cut by the window"),
        (report.n_truncated_documents, "documents cut"),
    ] {
        if n != 0 {
            line.push_str(&format!("  ! {n} {what}"));
        }
    }
    line
}
