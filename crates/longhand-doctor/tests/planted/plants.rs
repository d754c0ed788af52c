//! What is planted: for every rule, a fault just below its threshold and one just above it.

use longhand_doctor::Severity::{self, Fault, Note, Warning};
use serde_json::{Value, json};

use crate::healthy::{LAST, Lines, MIDDLE, N_STEPS};

/// What is expected: the rule, how bad, and its steps.
pub(crate) type Expected = (&'static str, Severity, u64, u64);

/// A plant with the number that decides: what is planted just below its threshold must not be found,
/// and what is planted just above it must.
pub(crate) struct Plant {
    pub(crate) below: f64,
    pub(crate) above: f64,
    pub(crate) plant: fn(&mut Lines, f64),
    pub(crate) expected: Expected,
}

const fn plant(below: f64, above: f64, expected: Expected, plant: fn(&mut Lines, f64)) -> Plant {
    Plant {
        below,
        above,
        plant,
        expected,
    }
}

/// At least one plant for each rule; where a rule has several conditions, one for each of them.
pub(crate) const PLANTS: &[Plant] = &[
    // 0.05 nats is more than 10 % of the start's 0.38.
    plant(
        -0.0501,
        -0.0499,
        ("entropy-collapse", Fault, 80, 94),
        |lines, nats| {
            flat(lines);
            lines.set("token_entropy", MIDDLE, -nats);
        },
    ),
    // Ten steps, not nine.
    plant(
        9.0,
        10.0,
        ("entropy-collapse", Fault, 80, 89),
        |lines, n| {
            flat(lines);
            lines.set("token_entropy", 80..80 + n as u64, 0.01);
        },
    ),
    // With an entropy of 4 nats at the start, 10 % of that is the higher bound.
    plant(
        -0.41,
        -0.39,
        ("entropy-collapse", Fault, 80, 94),
        |lines, nats| {
            flat(lines);
            lines.remove("entropy_target");
            lines.set("token_entropy", 0..N_STEPS, 4.0);
            lines.set("token_entropy", MIDDLE, -nats);
        },
    ),
    // Without exact entropies, their estimates are judged.
    plant(
        -0.0501,
        -0.0499,
        ("entropy-collapse", Fault, 80, 94),
        |lines, nats| {
            flat(lines);
            lines.remove("token_entropy");
            lines.set("entropy", MIDDLE, -nats);
        },
    ),
    // A quarter of the entropy with less than half of the tokens.
    plant(
        -0.1001,
        -0.0999,
        ("entropy-collapse", Fault, 80, 94),
        |lines, nats| shrivelled(lines, -nats, 90.0),
    ),
    plant(
        -100.1,
        -99.9,
        ("entropy-collapse", Fault, 80, 94),
        |lines, tokens| shrivelled(lines, 0.09, -tokens),
    ),
    // A reward that rose by more than 0.05 is worth its entropy.
    plant(
        -0.3501,
        -0.3499,
        ("entropy-collapse", Fault, 80, 94),
        |lines, reward| {
            flat(lines);
            // It falls again; votes that rise meanwhile would be another fault.
            lines.remove("reward_columns");
            lines.set("reward", MIDDLE, -reward);
            lines.set("token_entropy", MIDDLE, 0.01);
        },
    ),
    // 0.4 at the start: 0.5 nats more are above twice that.
    plant(
        0.899,
        0.901,
        ("entropy-growth", Fault, 80, 94),
        |lines, nats| {
            flat(lines);
            lines.set("token_entropy", 0..N_STEPS, 0.4);
            lines.set("token_entropy", MIDDLE, nats);
        },
    ),
    // 1 at the start: twice that is above 0.5 nats more.
    plant(
        1.99,
        2.01,
        ("entropy-growth", Fault, 80, 94),
        |lines, nats| {
            flat(lines);
            lines.remove("entropy_target");
            lines.set("token_entropy", 0..N_STEPS, 1.0);
            lines.set("token_entropy", MIDDLE, nats);
        },
    ),
    plant(
        -0.561,
        -0.559,
        ("reward-fall", Warning, 159, LAST),
        |lines, reward| {
            lines.set("reward", 0..150, 0.5);
            lines.set("reward", 150..170, 0.8);
            lines.set("reward", 170..N_STEPS, -reward);
        },
    ),
    // A fall from 0.5 to 0.3 between rewards that spread by 0.1414 is three standard errors.
    plant(
        -0.1424,
        -0.1404,
        ("reward-fall", Warning, 159, LAST),
        |lines, spread| {
            flat(lines);
            let around = |step, centre: f64| centre + if step % 2 == 0 { spread } else { -spread };
            lines.map("reward", 150..160, |step, _| json!(around(step, 0.5)));
            lines.map("reward", 190..N_STEPS, |step, _| json!(around(step, 0.3)));
        },
    ),
    // 400 documents: two standard errors (1.96) of the fall are 5.8 points.
    plant(
        -0.743,
        -0.740,
        ("overfit", Warning, 100, 200),
        |lines, accuracy| best_then(lines, 400, -accuracy),
    ),
    // 4000 documents: they are 1.8 points, and 5 points decide.
    plant(
        -0.7501,
        -0.7499,
        ("overfit", Warning, 100, 200),
        |lines, accuracy| best_then(lines, 4000, -accuracy),
    ),
    plant(
        0.019,
        0.021,
        ("overfit", Warning, 100, 200),
        |lines, rise| {
            flat(lines);
            lines.set("reward", 150..N_STEPS, 0.3 + rise);
            lines.held_out(|step| if step == 100 { 0.8 } else { 0.7 });
        },
    ),
    // Below half of 0.8.
    plant(
        -0.4001,
        -0.3999,
        ("held-out-collapse", Fault, 100, 200),
        |lines, accuracy| {
            flat(lines);
            lines.held_out(|step| match step {
                100 => 0.8,
                150 => -accuracy,
                _ => 0.75,
            });
        },
    ),
    // 0.68 is 85 % of 0.8; rewards that do not rise make it no overfitting.
    plant(
        -0.681,
        -0.679,
        ("held-out-collapse", Warning, 100, 200),
        |lines, accuracy| {
            flat(lines);
            best_then(lines, 4000, -accuracy);
        },
    ),
    // Of 10 documents, a fall from 6 right ones is beyond noise between 2.5 and 1.5.
    plant(
        -0.25,
        -0.15,
        ("held-out-collapse", Fault, 100, 200),
        |lines, accuracy| {
            flat(lines);
            best_then(lines, 10, -accuracy);
            lines.held_out(|step| match step {
                100 => 0.6,
                200 => -accuracy,
                _ => 0.5,
            });
        },
    ),
    plant(
        0.949,
        0.951,
        ("answer-collapse", Fault, 80, 94),
        |lines, share| one_answer(lines, MIDDLE, [share, 1.1, 0.3]),
    ),
    plant(
        -1.201,
        -1.199,
        ("answer-collapse", Fault, 80, 94),
        |lines, distinct| one_answer(lines, MIDDLE, [0.99, -distinct, 0.3]),
    ),
    plant(9.0, 10.0, ("answer-collapse", Fault, 80, 89), |lines, n| {
        one_answer(lines, 80..80 + n as u64, [0.99, 1.1, 0.3])
    }),
    // Few labels were right at first, and not many more are now.
    plant(
        -0.451,
        -0.449,
        ("answer-collapse", Fault, 80, 94),
        |lines, accuracy| {
            lines.set("label_accuracy", 0..N_STEPS, 0.4);
            one_answer(lines, MIDDLE, [0.99, 1.1, -accuracy]);
        },
    ),
    // Most labels were right at first, and fewer are now.
    plant(
        -0.751,
        -0.749,
        ("answer-collapse", Fault, 80, 94),
        |lines, accuracy| {
            lines.set("label_accuracy", 0..N_STEPS, 0.8);
            one_answer(lines, MIDDLE, [0.99, 1.1, -accuracy]);
        },
    ),
    // Where no label was held against truth, held-out documents tell.
    plant(
        -0.501,
        -0.499,
        ("answer-collapse", Fault, 80, 94),
        |lines, accuracy| {
            one_answer(lines, MIDDLE, [0.99, 1.1, 0.0]);
            lines.remove("label_accuracy");
            lines.held_out(|_| -accuracy);
        },
    ),
    plant(
        -0.7501,
        -0.7499,
        ("vote-against-truth", Fault, 159, LAST),
        |lines, reward| {
            vote_up_reward_down(lines, "cluster-vote", 0.9, -reward);
        },
    ),
    plant(
        0.649,
        0.651,
        ("vote-against-truth", Fault, 159, LAST),
        |lines, share| {
            vote_up_reward_down(lines, "majority-vote", share, 0.65);
        },
    ),
    plant(
        0.299,
        0.301,
        ("repetition", Warning, 80, 94),
        |lines, share| lines.set("repetition", MIDDLE, share),
    ),
    plant(
        0.399,
        0.401,
        ("repetition", Warning, 80, 94),
        |lines, share| {
            lines.set("repetition", 0..N_STEPS, 0.25);
            lines.set("repetition", MIDDLE, share);
        },
    ),
    plant(9.0, 10.0, ("repetition", Fault, 80, 89), |lines, n| {
        lines.set("repetition", 80..80 + n as u64, 0.51)
    }),
    plant(
        -1.1e-6,
        -0.9e-6,
        ("idle-entropy-control", Warning, 0, LAST),
        |lines, ratio| {
            lines.set("abs_log_ratio", 0..N_STEPS, 0.0);
            lines.set("abs_log_ratio", [80], -ratio);
        },
    ),
    plant(
        0.0,
        0.001,
        ("idle-entropy-control", Warning, 0, LAST),
        |lines, share| {
            lines.set("abs_log_ratio", 0..N_STEPS, 0.0);
            lines.set("selected_tokens", 0..N_STEPS, share);
        },
    ),
    plant(
        -0.1251,
        -0.1249,
        ("entropy-off-target", Warning, 190, LAST),
        |lines, nats| lines.set("token_entropy", 50..N_STEPS, -nats),
    ),
    plant(
        0.499,
        0.501,
        ("entropy-off-target", Warning, 190, LAST),
        |lines, nats| lines.set("token_entropy", 10..N_STEPS, nats),
    ),
    plant(
        -0.0901,
        -0.0899,
        ("entropy-off-target", Warning, 190, LAST),
        |lines, nats| {
            // 0.144 nats below the target at the end are an approach if it was 0.16 in the middle.
            lines.set("token_entropy", 10..190, 0.09);
            lines.set("token_entropy", 190..N_STEPS, 0.25 - 0.9 * (0.25 + nats));
            lines.set("token_entropy", 90..110, 0.09);
        },
    ),
    plant(
        1.49,
        1.51,
        ("length-growth", Warning, 0, LAST),
        |lines, times| {
            lines.map("memory_tokens", 0..N_STEPS, |step, _| {
                ramp(step, 40.0, times)
            });
            lines.held_out(|_| 0.5);
        },
    ),
    plant(
        -0.0201,
        -0.0199,
        ("length-growth", Warning, 0, LAST),
        |lines, gain| {
            lines.map("answer_tokens", 0..N_STEPS, |step, _| ramp(step, 8.0, 3.0));
            lines.held_out(|step| if step == 200 { 0.5 - gain } else { 0.5 });
        },
    ),
    plant(
        -0.501,
        -0.499,
        ("length-collapse", Warning, 0, LAST),
        |lines, times| {
            lines.map("answer_tokens", 0..N_STEPS, |step, _| {
                ramp(step, 8.0, -times)
            });
            lines.held_out(|_| 0.5);
        },
    ),
    plant(
        -0.501,
        -0.499,
        ("length-collapse", Warning, 0, LAST),
        |lines, times| {
            lines.map("response_tokens", 0..N_STEPS, |step, _| {
                ramp(step, 200.0, -times)
            });
            lines.held_out(|_| 0.5);
        },
    ),
    plant(
        -0.1001,
        -0.0999,
        ("dead-groups-all-wrong", Fault, 80, 94),
        |lines, share| {
            lines.set("live_groups", MIDDLE, -share);
            lines.set("reward", MIDDLE, 0.0);
        },
    ),
    plant(
        9.0,
        10.0,
        ("dead-groups-all-wrong", Fault, 80, 89),
        |lines, n| {
            lines.set("live_groups", 80..80 + n as u64, 0.0);
            lines.set("reward", 80..80 + n as u64, 0.04);
        },
    ),
    plant(
        -0.1001,
        -0.0999,
        ("dead-groups-all-right", Note, 180, 194),
        |lines, share| {
            lines.set("live_groups", 180..195, -share);
            lines.set("reward", 180..N_STEPS, 0.96);
        },
    ),
    plant(
        -0.1001,
        -0.0999,
        ("dead-groups", Warning, 80, 94),
        |lines, share| {
            lines.set("live_groups", MIDDLE, -share);
        },
    ),
    plant(0.099, 0.101, ("update-kl", Warning, 80, 80), |lines, kl| {
        lines.set("approx_kl", 70..80, 0.02);
        lines.set("approx_kl", [80], kl);
    }),
    plant(0.019, 0.021, ("update-kl", Warning, 80, 80), |lines, kl| {
        lines.set("approx_kl", 70..80, 0.0005);
        lines.set("approx_kl", [80], kl);
    }),
    plant(0.049, 0.051, ("update-kl", Warning, 80, 80), |lines, kl| {
        lines.set("approx_kl", 70..80, 0.005);
        lines.set("approx_kl", [80], kl);
    }),
    plant(
        0.99,
        1.01,
        ("reference-kl", Warning, 80, 94),
        |lines, kl| {
            lines.set("ref_kl", 60..N_STEPS, 0.5);
            lines.set("ref_kl", MIDDLE, kl);
        },
    ),
    plant(
        0.199,
        0.201,
        ("reference-kl", Warning, 80, 80),
        |lines, kl| {
            lines.set("ref_kl", 0..N_STEPS, 0.01);
            lines.set("ref_kl", [80], kl);
        },
    ),
    plant(
        0.99e-4,
        1.01e-4,
        ("logprob-mismatch", Fault, 80, 94),
        |lines, difference| {
            lines.set("max_logprob_difference", MIDDLE, difference);
        },
    ),
    // Without digests: a GPU.
    plant(
        0.99e-4,
        0.0999,
        ("logprob-mismatch", Warning, 80, 94),
        |lines, difference| {
            lines.remove("weights_digest");
            lines.set("max_logprob_difference", MIDDLE, difference);
        },
    ),
    plant(
        0.99e-4,
        0.101,
        ("logprob-mismatch", Fault, 80, 94),
        |lines, difference| {
            lines.remove("weights_digest");
            lines.set("max_logprob_difference", MIDDLE, difference);
        },
    ),
    plant(
        0.499,
        0.501,
        ("logprob-mismatch", Warning, 80, 94),
        |lines, difference| {
            lines.set("importance", 0..N_STEPS, 0.999);
            lines.set("max_logprob_difference", MIDDLE, difference);
        },
    ),
    plant(
        0.99e-3,
        1.01e-3,
        ("first-ratio", Warning, 80, 80),
        |lines, deviation| {
            lines.set("first_ratio_deviation", [80], deviation);
        },
    ),
    plant(
        0.99e-3,
        0.101,
        ("first-ratio", Fault, 80, 80),
        |lines, deviation| {
            lines.set("first_ratio_deviation", [80], deviation);
        },
    ),
    plant(
        0.299,
        0.301,
        ("clipped-share", Warning, 80, 94),
        |lines, share| {
            lines.set("clip_low", MIDDLE, 0.1);
            lines.set("clip_high", MIDDLE, share - 0.1);
        },
    ),
    plant(
        3.99,
        4.01,
        ("gradient-spikes", Warning, 80, 80),
        |lines, norm| {
            lines.set("grad_norm", 0..N_STEPS, 0.4);
            lines.set("grad_norm", [80], norm);
        },
    ),
    plant(9.0, 10.0, ("no-gradient", Fault, 80, 89), |lines, n| {
        lines.set("grad_norm", 80..80 + n as u64, 0.0);
    }),
    plant(
        2.0,
        3.0,
        ("learning-rate-zero", Fault, 80, 82),
        |lines, n| {
            lines.set("lr", 80..80 + n as u64, 0.0);
        },
    ),
    // Step 80 has the digest of step 79 from n = 1 on, and step 81 that of step 80 from 2 on.
    plant(
        0.0,
        2.0,
        ("weights-unchanged", Fault, 80, 81),
        |lines, n| {
            lines.set("weights_digest", 79..80 + n as u64, "0b".repeat(16));
        },
    ),
    plant(
        0.0,
        1.0,
        ("weights-unchanged", Fault, 80, 80),
        |lines, norm| {
            lines.set("weights_digest", [79, 80], "0b".repeat(16));
            lines.set("grad_norm", [79], norm);
        },
    ),
    // 96 attempts a step: 192 of 19200 are 1 %.
    plant(
        192.0,
        193.0,
        ("reward-failures", Warning, 9, 193),
        |lines, n| {
            lines.set("n_masked_attempts", (9..9 + 184).step_by(8), 8);
            lines.set("n_masked_attempts", [193], n as u64 - 23 * 8);
        },
    ),
    // 96 of the 960 attempts of ten steps are 10 %.
    plant(
        96.0,
        97.0,
        ("reward-failures", Fault, 80, 81),
        |lines, n| {
            lines.set("n_masked_attempts", [80], 96);
            lines.set("n_masked_attempts", [81], n as u64 - 96);
        },
    ),
    // 480 turns a step: 480 of the last 4800 are 10 %.
    plant(
        48.0,
        49.0,
        ("turns-cut-at-cap", Warning, 190, LAST),
        |lines, n| {
            lines.set("n_hit_cap", 190..N_STEPS, n as u64);
        },
    ),
    // 960 of 96000.
    plant(
        480.0,
        481.0,
        ("turns-cut-by-window", Warning, 80, 81),
        |lines, n| {
            lines.set("n_window_full", [80], 480);
            lines.set("n_window_full", [81], n as u64);
        },
    ),
    // 192 of 19200.
    plant(96.0, 97.0, ("cut-documents", Note, 80, 81), |lines, n| {
        lines.set("n_truncated_documents", [80], 96);
        lines.set("n_truncated_documents", [81], n as u64);
    }),
    // 96 of the last 960.
    plant(
        95.0,
        97.0,
        ("unparsed-answers", Warning, 190, LAST),
        |lines, n| {
            lines.set("n_unparsed_answers", 190..N_STEPS, 1);
            lines.set("n_unparsed_answers", [195], n as u64 - 9);
        },
    ),
    plant(
        0.029,
        0.0315,
        ("memory-growth", Warning, 50, LAST),
        |lines, growth| {
            lines.map("resident_bytes", 0..N_STEPS, |step, _| {
                // In the middle of the first third, at step 74, it is 1.
                json!(2e8 * (1.0 + growth * (step as f64 - 74.0) / 100.0))
            });
        },
    ),
    plant(
        4.99,
        5.01,
        ("slow-steps", Note, 80, 80),
        |lines, seconds| {
            lines.set("seconds", 0..N_STEPS, 1.0);
            lines.set("seconds", [80], seconds);
        },
    ),
];

/// Held-out accuracy that was 0.8 in the middle and is another at the end.
fn best_then(lines: &mut Lines, n_documents: u64, accuracy: f64) {
    lines.held_out(|step| match step {
        100 => 0.8,
        200 => accuracy,
        _ => 0.7,
    });
    for line in &mut lines.metrics {
        if line["stage"] == "eval" {
            line["lengths"][0]["n_documents"] = n_documents.into();
        }
    }
}

/// Entropy and tokens of the middle, after 0.4 nats and 200 tokens.
fn shrivelled(lines: &mut Lines, nats: f64, tokens: f64) {
    flat(lines);
    lines.set("token_entropy", 0..N_STEPS, 0.4);
    lines.set("token_entropy", MIDDLE, nats);
    lines.set("response_tokens", 0..N_STEPS, 200.0);
    lines.set("response_tokens", MIDDLE, tokens);
}

/// Groups of one opinion: the largest cluster's share, different answers, and how often it is right.
fn one_answer(lines: &mut Lines, steps: std::ops::Range<u64>, votes: [f64; 3]) {
    let keys = ["cluster_share", "distinct_answers", "label_accuracy"];
    for (key, value) in keys.into_iter().zip(votes) {
        lines.set(key, steps.clone(), value);
    }
}

/// A reward by vote, alone.
pub(crate) fn vote(lines: &mut Lines, steps: std::ops::Range<u64>, name: &str, share: f64) {
    lines.set("reward_columns", steps, json!({ name: share }));
}

/// A vote of 0.6 and a reward of 0.8 become others.
fn vote_up_reward_down(lines: &mut Lines, name: &str, share: f64, reward: f64) {
    lines.set("reward", 0..150, 0.5);
    lines.set("reward", 150..170, 0.8);
    lines.set("reward", 170..N_STEPS, reward);
    vote(lines, 0..170, name, 0.6);
    vote(lines, 170..N_STEPS, name, share);
}

/// Rewards that do not move.
fn flat(lines: &mut Lines) {
    lines.set("reward", 0..N_STEPS, 0.3);
}

/// From `start` at the beginning to `times` that (of its last ten steps) at the end; downwards for
/// negative `times`.
pub(crate) fn ramp(step: u64, start: f64, times: f64) -> Value {
    let share = (step as f64 - 4.5).clamp(0.0, 190.0) / 190.0;
    let share = if step < 10 {
        0.0
    } else if 190 <= step {
        1.0
    } else {
        share
    };
    json!(start * (1.0 + (times.abs() - 1.0) * share))
}
