//! The line that a person reads while a run goes on.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{report::StepReport, warm_start::WarmStartReport};

/// Where a run shows how far it is: bars on standard error; where that is no terminal, a line now and
/// then; nothing at all when progress is off.
#[derive(Debug)]
pub(crate) struct Screen {
    show: bool,
    /// None without a terminal. Bars that are shown at the same time have to know of each other.
    bars: Option<MultiProgress>,
}

/// How far one stage, or one measurement, is.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    screen: &'a Screen,
    bar: ProgressBar,
    stage: &'static str,
    steps: usize,
}

/// Lines a stage says where there is no bar.
const LINES_PER_STAGE: usize = 20;

impl Screen {
    pub(crate) fn new(show: bool) -> Self {
        let has_bars = show && std::io::stderr().is_terminal();
        Self {
            show,
            bars: has_bars.then(MultiProgress::new),
        }
    }

    pub(crate) fn start(&self, stage: &'static str, steps: usize) -> Progress<'_> {
        let bar = match &self.bars {
            Some(bars) => bars.add(ProgressBar::new(steps as u64)),
            None => ProgressBar::hidden(),
        };
        // The template is a constant; were it wrong, the plain bar would do.
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} ETA {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(stage);
        if self.bars.is_some() {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Progress {
            screen: self,
            bar,
            stage,
            steps,
        }
    }

    /// Prints a line above the bars, or plainly when there are none.
    fn say(&self, line: &str) {
        // Nobody may be listening any more; that is no reason to stop a run.
        let _ = match &self.bars {
            Some(bars) => bars.println(line),
            None if self.show => writeln!(std::io::stderr(), "{line}"),
            None => Ok(()),
        };
    }
}

impl Progress<'_> {
    /// After step `step_idx` of the stage, from 0.
    pub(crate) fn rl(&self, step_idx: usize, report: &StepReport) {
        self.step(step_idx, rl_line(report));
    }

    pub(crate) fn warm_start(&self, report: &WarmStartReport) {
        let line = format!(
            "read loss {:.3}  answer loss {:.3}",
            report.read_loss, report.answer_loss
        );
        self.step(report.step, line);
    }

    /// After `done` documents of a measurement at one length and `before` at the others.
    pub(crate) fn documents(&self, before: usize, done: usize, length: usize) {
        self.bar.set_position((before + done) as u64);
        self.bar
            .set_message(format!("documents of {length} tokens"));
    }

    fn step(&self, step_idx: usize, line: String) {
        let done = step_idx + 1;
        let is_due = done.is_multiple_of((self.steps / LINES_PER_STAGE).max(1));
        if self.screen.bars.is_none() && (is_due || done == self.steps) {
            self.say(&format!("{} {done}/{}: {line}", self.stage, self.steps));
        }
        self.bar.set_position(done as u64);
        self.bar.set_message(line);
    }

    pub(crate) fn say(&self, line: &str) {
        self.screen.say(line);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
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
