//! The table of rules: what each means, its threshold, why, and what to do.
//!
//! Thresholds are written from the numbers that judge, so text and judgement cannot part.

mod collapse;

use crate::series::{Judged, Series, WINDOW};
use crate::text::number;
use crate::{counts, groups, learning, lengths, machine, update};

/// One rule.
pub struct Rule {
    /// Its name, by which findings call it.
    pub name: &'static str,
    /// What it finds.
    pub meaning: &'static str,
    /// When it speaks, and how loud.
    pub threshold: fn() -> String,
    /// Where the threshold comes from.
    pub why: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    pub(crate) judge: fn(&Series<'_>) -> Judged,
}

/// A share as a percentage.
fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}

/// All rules, in the order in which they are told.
pub const RULES: &[Rule] = &[
    Rule {
        name: "entropy-collapse",
        meaning: "The policy has stopped trying anything new, and got nothing for it.",
        threshold: || {
            format!(
                "fault: entropy (token_entropy where it is recorded) below {} of its mean over the first \
                 {WINDOW} steps, or below {} nats a token, or below {} of the start with response_tokens below \
                 {} of theirs, in {WINDOW} steps in a row, while the mean reward of these steps is below {} \
                 and at most {} above that of the first {WINDOW}",
                percent(learning::COLLAPSED_SHARE),
                learning::COLLAPSED_NATS,
                percent(learning::SPARSE_SHARE),
                percent(learning::SHRIVELLED_SHARE),
                learning::NEAR_FULL,
                learning::RISE
            )
        },
        why: "Entropy is what reward is bought with: scores follow R = -a exp(H) + b (arXiv:2505.22617), so a \
              policy without any cannot gain. Collapsed self-certainty runs end between 0.03 and 0.17 nats with \
              a score of 0, from 2.4 nats and 990 tokens to 0.08 and 100 (collapse in the space of tokens: \
              CIRCA, arXiv:2605.22620); where texts shrivel too, a quarter of the entropy is half of that way. Low entropy beside a risen reward is how success looks.",
        advice: "Raise `clip_high` (DAPO: 0.28), add a KL term, lower the learning rate, or check with `longhand inspect` whether all attempts of a group say the same. Where self-certainty or low entropy is paid for, lower its weight.",
        judge: learning::entropy_collapse,
    },
    Rule {
        name: "entropy-growth",
        meaning: "The policy is turning into noise.",
        threshold: || {
            format!(
                "fault: entropy above {} times its mean over the first {WINDOW} steps and {} nats a token \
                 above it, in {WINDOW} steps in a row, while the reward has not risen (as above)",
                learning::GROWN_TIMES,
                learning::GROWN_NATS
            )
        },
        why: "Entropy bonuses without a gate and too large steps drive it up by nats (STARE's ablation goes from \
              0.25 to 7.3); single noisy steps of short texts double it, which is why both bounds must be \
              passed for many steps.",
        advice: "Lower or gate the entropy term, lower the learning rate, and look for noise in the reward: a \
                 reward that does not depend on the text trains towards noise.",
        judge: learning::entropy_growth,
    },
    Rule {
        name: "reward-fall",
        meaning: "The reward had been higher and did not come back.",
        threshold: || {
            format!(
                "the mean reward of the last {WINDOW} steps is more than {} below the highest mean of \
                 {WINDOW} steps, and by more than {} standard errors: warning; more than {}: fault",
                percent(learning::FALLEN),
                learning::ERRORS,
                percent(learning::COLLAPSED)
            )
        },
        why: "CIRCA (arXiv:2605.22620) calls a score below half of its peak a collapse; problems of unlike \
              difficulty move a mean of 10 steps by less than a third.",
        advice: "Go back to the checkpoint before the fall and lower the learning rate; look at what entropy, KL \
                 and lengths did at the peak.",
        judge: learning::reward_fall,
    },
    Rule {
        name: "overfit",
        meaning: "Training goes up while documents that were not trained on go down.",
        threshold: || {
            format!(
                "warning: held-out accuracy is more than {} points below its best measurement, and by more \
                 than {} standard errors, while the mean reward of {WINDOW} steps rose by more than {}",
                100.0 * learning::HELD_OUT_FALL,
                learning::HELD_OUT_ERRORS,
                learning::OVERFIT_RISE
            )
        },
        why: "Measurements of 100 documents have a standard error of up to 5 points; what is more than noise and \
              goes against the reward is memorising or a hacked reward.",
        advice: "Keep the checkpoint with the best held-out accuracy, use more problems, or check that the reward \
                 and the measurement use the same checker.",
        judge: learning::overfit,
    },
    collapse::HELD_OUT_COLLAPSE,
    collapse::ANSWER_COLLAPSE,
    collapse::VOTE_AGAINST_TRUTH,
    Rule {
        name: "length-growth",
        meaning: "Notes, answers or whole attempts grow because length is paid for (reward hacking by length).",
        threshold: || {
            format!(
                "warning: the mean length of the last {WINDOW} steps is above {} times that of the first \
                 {WINDOW}, length and reward correlate by at least {} over the steps, and held-out accuracy \
                 gained less than {} points; a note where nothing was measured",
                lengths::GROWN_TIMES,
                lengths::CORRELATED,
                100.0 * lengths::HELD_OUT_RISE
            )
        },
        why: "Length that pays on held-out documents is work, length that only raises the training reward is a \
              hack. Sequence-mean losses pay for long wrong answers (Dr. GRPO, arXiv:2503.20783), and checkers \
              that look for a phrase are met by saying more.",
        advice: "Read the longest attempts with `longhand inspect`; use `exact-match` or a box instead of \
                 containment, token-mean or a constant denominator, or a penalty for overlong texts.",
        judge: lengths::length_growth,
    },
    Rule {
        name: "length-collapse",
        meaning: "Notes, answers or whole attempts shrivel without any gain.",
        threshold: || {
            format!(
                "warning: the mean length of the last {WINDOW} steps is below {} times that of the first \
                 {WINDOW}, and held-out accuracy gained less than {} points (where none was measured: the \
                 reward less than {})",
                lengths::SHRUNK_TIMES,
                100.0 * lengths::HELD_OUT_RISE,
                learning::RISE
            )
        },
        why: "Collapsed runs write templates: 990 to 100 tokens in CIRCA (arXiv:2605.22620), 394 to 130 characters \
              in MedChecker (arXiv:2605.25988). A fall by half is far outside the drift of healthy runs.",
        advice: "Look whether notes still hold anything; weigh attempts equally instead of tokens, drop length \
                 penalties, and train the notes as well as the answers.",
        judge: lengths::length_collapse,
    },
    collapse::REPETITION,
    collapse::IDLE_ENTROPY_CONTROL,
    collapse::ENTROPY_OFF_TARGET,
    Rule {
        name: "dead-groups-all-wrong",
        meaning: "Every attempt fails, so no group says what would have been better.",
        threshold: || {
            format!(
                "fault: live groups below {} in {WINDOW} steps in a row, with a mean reward of at most {}",
                percent(groups::LIVE),
                groups::ALL_WRONG
            )
        },
        why: "Equal rewards have no advantage (DAPO, arXiv:2503.14476, drops such groups); with fewer than one \
              live group in ten, a step costs ten times what it teaches.",
        advice: "Check that the checker accepts a right answer (unparsed answers, `longhand inspect`), start from \
                 a longer warm start, or begin with shorter documents and fewer facts.",
        judge: groups::all_wrong,
    },
    Rule {
        name: "dead-groups-all-right",
        meaning: "Every attempt succeeds: the training problems are solved.",
        threshold: || {
            format!(
                "note: live groups below {} in {WINDOW} steps in a row, with a mean reward of at least {}",
                percent(groups::LIVE),
                groups::ALL_RIGHT
            )
        },
        why: "Nothing is wrong with the policy, but the steps are wasted (DAPO, arXiv:2503.14476).",
        advice: "Stop here, or train on longer documents and harder questions; dynamic sampling finds the \
                 problems that are left.",
        judge: groups::all_right,
    },
    Rule {
        name: "dead-groups",
        meaning: "Attempts at one problem are all paid the same, although problems differ.",
        threshold: || {
            format!(
                "warning: live groups below {} in {WINDOW} steps in a row, with a mean reward between {} and {}",
                percent(groups::LIVE),
                groups::ALL_WRONG,
                groups::ALL_RIGHT
            )
        },
        why: "Each problem is either always or never solved (DAPO, arXiv:2503.14476), or the attempts of a group \
              are copies of one another.",
        advice: "Use dynamic sampling, larger groups or a higher sampling temperature; with no entropy left, go \
                 back to an earlier checkpoint.",
        judge: groups::all_equal,
    },
    Rule {
        name: "update-kl",
        meaning: "One step moves the policy further than its rollouts can vouch for.",
        threshold: || {
            format!(
                "approx_kl above {} nats a token, or above {} and {} times the median of the {WINDOW} steps \
                 before, in any step: warning; above {}: fault",
                update::UPDATE_KL,
                update::UPDATE_KL_FLOOR,
                update::JUMP_TIMES,
                update::UPDATE_KL_FAULT
            )
        },
        why: "PPO implementations stop a step's updates at 0.01 to 0.03 (target_kl); 0.1 is several times that, \
              and at 1 nat the ratios mean nothing any more.",
        advice: "Lower the learning rate, make fewer mini-batches a step, or clip the gradient lower.",
        judge: update::update_kl,
    },
    Rule {
        name: "reference-kl",
        meaning: "The policy has left the reference far behind.",
        threshold: || {
            format!(
                "ref_kl above {} nats a token, or above {} and {} times the median of the {WINDOW} steps \
                 before, in any step: warning; above {}: fault",
                update::REFERENCE_KL,
                update::REFERENCE_KL_FLOOR,
                update::JUMP_TIMES,
                update::REFERENCE_KL_FAULT
            )
        },
        why: "Gains from a learned or incomplete reward turn into losses as KL grows (arXiv:2210.10760); 10 is \
              where published code cuts the estimate off, because its gradient explodes.",
        advice: "Raise the KL coefficient or lower the learning rate; if the distance is wanted, leave the \
                 reference out.",
        judge: update::reference_kl,
    },
    Rule {
        name: "logprob-mismatch",
        meaning: "What was sampled is not what is trained: the log-probabilities of the same tokens differ.",
        threshold: || {
            format!(
                "max_logprob_difference of any step above {} where the sampler is the policy (importance \
                 exactly 1), else above {}: warning; where the sampler is the policy, a fault above {}, and \
                 on CPUs (steps that name the digest of their weights) always",
                number(update::LOGPROB_SAME),
                update::LOGPROB_COPY,
                update::LOGPROB_FAULT
            )
        },
        why: "A mismatch makes every update off-policy and runs collapse for it (TRL issue 4159, open-instruct \
              issue 1473). Ours are equal to the bit on CPUs; f32 on a GPU rounds below 1e-4, bf16 below 0.1. \
              A copy of 8 bits differs by some tenths, which importance weights correct.",
        advice: "Check that temperature, top-p and template are the same on both sides and that the weights are \
                 those of this step; where rollouts are sampled with 8 bits, set `importance` or sample with the \
                 policy.",
        judge: update::logprob_mismatch,
    },
    Rule {
        name: "first-ratio",
        meaning: "The first update of a step does not start at the policy that its ratios are taken to.",
        threshold: || {
            format!(
                "first_ratio_deviation above {} in any step: warning; above {}: fault",
                number(update::FIRST_RATIO),
                update::FIRST_RATIO_FAULT
            )
        },
        why: "On the first update the ratio is 1 by definition; half of the usual clip range of 0.2 makes the clip \
              act on noise.",
        advice: "On a GPU in bf16, use f32 to see whether it is rounding; else the rollouts are older than the \
                 policy, or are scored at another temperature.",
        judge: update::first_ratio,
    },
    Rule {
        name: "clipped-share",
        meaning: "The clip throws much of the gradient away. A share of exactly 0 is fine, also with several \
                  updates a step.",
        threshold: || {
            format!(
                "warning: clip_low + clip_high above {} in {WINDOW} steps in a row",
                percent(update::CLIPPED)
            )
        },
        why: "PPO runs are healthy at 0 to 20 % of the tokens; sequence-level ratios (GSPO) clip about 15 %.",
        advice: "Make fewer mini-batches a step or lower the learning rate; for sequence ratios the bounds are of \
                 the order of 3e-4.",
        judge: update::clipped_share,
    },
    Rule {
        name: "gradient-spikes",
        meaning: "Single steps have a gradient far out of proportion.",
        threshold: || {
            format!(
                "warning: grad_norm above {} times the median of the {} steps before and of the run; steps \
                 without a gradient are left out",
                update::SPIKE_TIMES,
                update::SPIKE_MEMORY
            )
        },
        why: "Healthy runs of ours stay within 3 times their median. A spike is cut by the clip but still turns \
              the whole update towards a few tokens, and it often comes a step before the reward falls.",
        advice: "Look at the attempts of that step with `longhand inspect`; set `max_grad_norm`, use dual clip for \
                 negative advantages, or divide by a constant instead of the length.",
        judge: update::gradient_spikes,
    },
    Rule {
        name: "no-gradient",
        meaning: "Groups are live, and yet nothing is trained.",
        threshold: || {
            format!(
                "fault: grad_norm exactly 0 in {WINDOW} steps in a row with live groups of at least {}",
                percent(groups::LIVE)
            )
        },
        why: "A live group has a non-zero advantage; its gradient is 0 only where tokens are masked or weights are \
              0, which no loss curve shows.",
        advice: "Check what is trained (reading turns, answers), the weights of the loss, and the learning rate's \
                 schedule.",
        judge: update::no_gradient,
    },
    Rule {
        name: "learning-rate-zero",
        meaning: "The learning rate is 0, so the steps change nothing.",
        threshold: || {
            format!(
                "fault: lr exactly 0 in {} steps in a row",
                update::RATELESS_STEPS
            )
        },
        why: "Warming up and linear decay touch 0 in one step; more is a schedule that is shorter than the run, or \
              a rate that was never set.",
        advice: "Compare the schedule's updates with steps times mini-batches (`longhand train --dry-run`).",
        judge: update::learning_rate_zero,
    },
    Rule {
        name: "weights-unchanged",
        meaning: "Rollouts come from the weights of the step before, although there was an update.",
        threshold: || {
            "fault: the same weights_digest in two steps in a row, the first of which had a gradient and a \
             learning rate"
                .to_owned()
        },
        why: "Updates that never reach the sampler cost others months (verl issue 7495, ms-swift issue 9855).",
        advice: "The learning rate may be below the rounding of the weights; else the sampler does not get the \
                 updates: report it.",
        judge: update::weights_unchanged,
    },
    Rule {
        name: "reward-failures",
        meaning: "Attempts are left out because their reward could not be had.",
        threshold: || {
            format!(
                "more than {} of the run's attempts: warning; more than {} over {WINDOW} steps (a shorter run: \
                 over all): fault",
                percent(counts::FAILED),
                percent(counts::FAILED_FAULT)
            )
        },
        why: "Failed rewards are never zeros here, but the attempts that are left are no fair sample: what times \
              out is often the long and the odd (slime issue 1361, NeMo-RL issue 1798).",
        advice: "See the reasons with `longhand inspect RUN --errors`; raise the judge's time limit, mend its \
                 replies, or give it more processes.",
        judge: counts::reward_failures,
    },
    Rule {
        name: "turns-cut-at-cap",
        meaning: "Notes or answers are cut off by their cap.",
        threshold: || {
            format!(
                "warning: n_hit_cap above {} of the turns of trained groups (turns x n_trained_groups x \
                 n_attempts / n_groups) over the last {WINDOW} steps",
                percent(counts::CAPPED)
            )
        },
        why: "DAPO (arXiv:2503.14476) gains 6 points by leaving cut texts out; about 5 % are usual in healthy \
              runs with summaries.",
        advice: "Raise `max_memory_tokens` or `max_answer_tokens`, or use overlong shaping; cut notes lose their \
                 end silently.",
        judge: counts::turns_cut_at_cap,
    },
    Rule {
        name: "turns-cut-by-window",
        meaning: "The model's window ends turns before their cap does.",
        threshold: || {
            format!(
                "warning: n_window_full above {} of the turns of trained groups over the run",
                percent(counts::WINDOWED)
            )
        },
        why: "Chunk, notes and cap should fit the window by arithmetic, so this is a matter of sizes, not of \
              learning.",
        advice: "Make chunks smaller, or notes and question shorter, until they and the cap fit the window.",
        judge: counts::turns_cut_by_window,
    },
    Rule {
        name: "cut-documents",
        meaning: "Documents are longer than what is read of them: their centre was never seen.",
        threshold: || {
            format!(
                "n_truncated_documents above {} of the attempts of trained groups: note; above {}: warning",
                percent(counts::CUT),
                percent(counts::CUT_WARNING)
            )
        },
        why: "MemAgent's code (arXiv:2507.02259) cuts at 8 chunks in training; answers that stood in what was cut \
              are unanswerable, and train guessing.",
        advice: "Raise `max_chunks` or `chunk_size`, or train on shorter documents.",
        judge: counts::cut_documents,
    },
    Rule {
        name: "unparsed-answers",
        meaning: "Answers do not have the form that the checker looks for, right or wrong.",
        threshold: || {
            format!(
                "warning: n_unparsed_answers above {} of the attempts over the last {WINDOW} steps",
                percent(counts::UNPARSED)
            )
        },
        why: "Early in a run the form is being learned; at its end an unparsed answer is a reward that measures \
              form instead of reading.",
        advice: "Say the form in the template, show it in a warm start, or use a checker that needs none.",
        judge: counts::unparsed_answers,
    },
    Rule {
        name: "memory-growth",
        meaning: "The process grows from step to step: a leak that ends long runs.",
        threshold: || {
            format!(
                "warning: median resident memory grows by more than {} in 100 steps from the first to the last \
                 third of the steps after the first {}, and the thirds' quartiles are apart; needs {} steps \
                 after those",
                percent(machine::GROWTH),
                machine::WARM_STEPS,
                machine::MEMORY_STEPS
            )
        },
        why: "Host memory that grows until the process is killed is among the first complaints about large stacks \
              (verl issues 429, 3453, 4995); the soak test fails at the same growth. Levels that go up and down \
              are an allocator's.",
        advice: "Resume from a checkpoint to go on; report it with the run's timings.",
        judge: machine::memory_growth,
    },
    Rule {
        name: "slow-steps",
        meaning: "Some steps take far longer than the others.",
        threshold: || {
            format!(
                "seconds above {} times the median, the first {} steps left out: note; where they take more \
                 than {} of the time: warning",
                machine::SLOW_TIMES,
                machine::COLD_STEPS,
                percent(machine::SLOW_SHARE)
            )
        },
        why: "Steps of unlike problems vary by 2 to 3 times; more is another process, a judge that waits, or \
              dynamic sampling that found nothing.",
        advice: "See which phase it was; if it is generation, look at the number of groups of that step.",
        judge: machine::slow_steps,
    },
];
