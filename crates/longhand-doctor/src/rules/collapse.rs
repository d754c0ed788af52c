//! The rules about collapse: of accuracy, of answers, of texts, and what was to prevent it.

use super::{Rule, percent};
use crate::retention::COLLAPSED_BELOW;
use crate::series::WINDOW;
use crate::text::number;
use crate::{entropy_control, held_out, learning, repetition, votes};

pub(crate) const HELD_OUT_COLLAPSE: Rule = Rule {
    name: "held-out-collapse",
    meaning: "Held-out accuracy collapsed, or the end kept too little of its peak.",
    threshold: || {
        format!(
            "fault: an accuracy of one length below {} of the highest one before it (its step is the \
             collapse step); warning: the end below {} of the peak (the retention); both by more than {} \
             standard errors",
            percent(COLLAPSED_BELOW),
            percent(held_out::KEPT),
            held_out::ERRORS
        )
    },
    why: "The measures of CIRCA (arXiv:2605.22620, read through secondary sources): in its tables, supervised \
          runs keep 95 to 99 % of their peak and its own method 89 to 100 %, while self-certainty alone keeps 0 \
          to 82 % and the same method without KL-Cov 73 % on MATH500 without collapsing; 85 % lies between. A \
          peak of few documents is luck, hence the standard errors.",
    advice: "Go back to the checkpoint at the peak (`longhand eval` measures it), and look at what entropy, \
             lengths and votes did between the peak and the collapse: without labels, no training number \
             shows it.",
    judge: held_out::held_out_collapse,
};

pub(crate) const ANSWER_COLLAPSE: Rule = Rule {
    name: "answer-collapse",
    meaning: "All attempts give one answer, right or wrong: agreeing is all that was learned (collapse in the \
              space of answers).",
    threshold: || {
        format!(
            "cluster_share at least {} and distinct_answers at most {} in {WINDOW} steps in a row, while \
             label_accuracy (where it is absent: held-out accuracy) is below {}, has not risen by more than \
             {}, and is below {} or fell by more than {}: fault; where nothing was held against truth: note",
            votes::ONE_CLUSTER,
            votes::ONE_ANSWER,
            learning::NEAR_FULL,
            learning::RISE,
            votes::SELDOM_RIGHT,
            learning::RISE
        )
    },
    why: "A vote is paid in full once every attempt says the same, whatever the question; rewarded by clusters \
          alone, a model went from 75 to 0 % on GSM8K within 20 steps, one answer dominating while entropy \
          and length rose (CIRCA, arXiv:2605.22620, read through secondary sources). A share of 0.95 is less \
          than one dissenter in two groups of 8. Agreement on what is right looks the same but for the truth.",
    advice: "Go back to a checkpoint with several answers a group; add a second reward that sees the text \
             (self-certainty), a KL to the reference and entropy control, or keep some problems with known \
             answers in the mixture.",
    judge: votes::answer_collapse,
};

pub(crate) const VOTE_AGAINST_TRUTH: Rule = Rule {
    name: "vote-against-truth",
    meaning: "The vote that is paid goes up while the outcome against truth goes down.",
    threshold: || {
        format!(
            "fault: from the {WINDOW} steps of the highest mean reward to the last {WINDOW}, the reward fell by \
             more than {} and {} standard errors while reward_columns' cluster-vote or majority-vote rose by \
             more than {}",
            learning::RISE,
            votes::ERRORS,
            learning::RISE
        )
    },
    why: "Here the truth is known and only diagnoses: a reward that rises against it is hacked by agreement. \
          The two usually rise together, since a majority is right more often than an attempt (TTRL, \
          arXiv:2504.16084); three standard errors are no noise.",
    advice: "Stop at the highest outcome. Read some attempts of both ends with `longhand inspect`, lower the \
             weight of the vote, raise the KL coefficient, or leave out problems on which the vote was seldom \
             right at the start.",
    judge: votes::vote_against_truth,
};

pub(crate) const REPETITION: Rule = Rule {
    name: "repetition",
    meaning: "Attempts have come to say the same again and again.",
    threshold: || {
        format!(
            "repetition above {} and {} above its mean over the first {WINDOW} steps, in {WINDOW} steps in a \
             row: warning; with a mean above {}: fault",
            repetition::REPEATED,
            repetition::RISE,
            repetition::TWICE
        )
    },
    why: "In 200 to 800 words of our own prose and tables 3 to 9 % of the 4-grams are repeated, and 31 % in the \
          most repetitive stretch; at 50 % it is as if everything were said twice. Self-certainty and low \
          entropy pay for loops, in which each next token is sure.",
    advice: "Look at the attempts with `longhand inspect`; lower the weight of a certainty reward, add a penalty \
             for overlong texts or a lower cap, and check that the end of a text is trained.",
    judge: repetition::repetition,
};

pub(crate) const IDLE_ENTROPY_CONTROL: Rule = Rule {
    name: "idle-entropy-control",
    meaning: "Tokens are selected for a penalty on their log-ratio, and there is none: KL-Cov does nothing.",
    threshold: || {
        format!(
            "warning: selected_tokens above 0 and abs_log_ratio at most {} in every step, without a \
             control_weight",
            number(entropy_control::NO_RATIO)
        )
    },
    why: "KL-Cov penalises |ln r| (arXiv:2505.22617), whose value and derivative are 0 where r = 1: with one \
          update on what was just sampled the penalty never acts. Rounding leaves less than 1e-6 a token. STARE \
          scales gradients instead and has a control_weight.",
    advice: "With `kl-cov` or `circa`, make two or more updates a step (smaller mini-batches). Clip-Cov and the \
             80/20 rule drop tokens without a ratio: for them this is fine.",
    judge: entropy_control::idle_entropy_control,
};

pub(crate) const ENTROPY_OFF_TARGET: Rule = Rule {
    name: "entropy-off-target",
    meaning: "Entropy is far from the target that was set for it, and not on its way there.",
    threshold: || {
        format!(
            "warning: from {} steps on, the mean token_entropy of the last {WINDOW} steps is below 1/{times} or \
             above {times} times entropy_target, and its distance is not at least {} smaller than in the \
             middle of the run",
            entropy_control::CONTROL_STEPS,
            percent(entropy_control::APPROACH),
            times = entropy_control::OFF_TIMES
        )
    },
    why: "STARE's runs end within 0.03 nats of targets from 0.2 to 0.4, with weights up to 4 within 0.12 \
          (arXiv:2606.19236), so a factor of 2 is no fluctuation. An adaptive coefficient moves by 0.005 a step \
          and needs its time, hence the steps.",
    advice: "Below the target: raise the weight, the share of tokens or the coefficient's bound, or lower the \
             learning rate. Above it, control rests and cannot push down: lower the coefficient, look for noise \
             in the reward, or set a target near the entropy of the first steps.",
    judge: entropy_control::entropy_off_target,
};
