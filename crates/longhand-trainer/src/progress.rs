//! The line that a person reads while a run goes on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{report::StepReport, warm_start::WarmStartReport};

/// A bar on standard error; nothing when progress is off or standard error is no terminal.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(show: bool, stage: &str, steps: usize) -> Self {
        let bar = if show {
            ProgressBar::new(steps as u64)
        } else {
            ProgressBar::hidden()
        };
        // The template is a constant; were it wrong, the plain bar would do.
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} ETA {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(stage.to_string());
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    pub(crate) fn rl(&self, report: &StepReport) {
        self.0.set_position(report.step as u64 + 1);
        self.0.set_message(rl_line(report));
    }

    pub(crate) fn warm_start(&self, report: &WarmStartReport) {
        self.0.set_position(report.step as u64 + 1);
        self.0.set_message(format!(
            "read loss {:.3}  answer loss {:.3}",
            report.read_loss, report.answer_loss
        ));
    }

    pub(crate) fn documents(&self, done: usize, n: usize) {
        self.0.set_message(format!("document {done}/{n}"));
    }

    /// Prints a line above the bar, or plainly when there is none.
    pub(crate) fn say(&self, line: &str) {
        if self.0.is_hidden() {
            eprintln!("{line}")
        } else {
            self.0.println(line)
        }
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Reward, share of live groups, KL, entropy and gradient norm; then where the time goes.
pub(crate) fn rl_line(report: &StepReport) -> String {
    let kl = report.ref_kl.unwrap_or(report.approx_kl);
    let tokens_per_second = report.n_sampled as f64 / report.seconds.max(1e-9);
    format!(
        "reward {:.3}  live {:.0}%  kl {:.1e}  entropy {:.3}  grad {:.2}  | generate {:.2} s, score {:.2} s, train {:.2} s, {tokens_per_second:.0} tokens/s",
        report.reward,
        report.live_groups * 100.0,
        kl,
        report.entropy,
        report.grad_norm,
        report.seconds_generate,
        report.seconds_score,
        report.seconds_train,
    )
}
