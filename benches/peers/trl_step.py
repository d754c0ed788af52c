"""Times whole GRPO steps of TRL on the CPU and prints one JSON line.

usage: trl_step.py MODEL [--group 8] [--prompt 512] [--completion 64] [--steps 2] [--precision f32|bf16] [--threads 2]

One step is one prompt of exactly PROMPT tokens, a group of GROUP completions, a random reward for each, and one
update without a reference model. No completion may end early, so that every step is the same work. One step more
than asked for is run, and the first is dropped: it pays for warming up.
"""

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time

for name, value in [("HF_HUB_OFFLINE", "1"), ("TRL_EXPERIMENTAL_SILENCE", "1"), ("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")]:
    os.environ.setdefault(name, value)
try:
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
except ImportError as error:
    sys.exit(f"{error.name} is missing: install benches/peers/requirements.txt into this environment")

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def arguments():
    parser = argparse.ArgumentParser(description="Times GRPO steps of TRL.")
    parser.add_argument("model")
    for name, default in [("group", 8), ("prompt", 512), ("completion", 64), ("steps", 2), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    return parser.parse_args()


class StepClock(TrainerCallback):
    """Seconds of each step, from the end of one to the end of the next: generation lies between the two events of a
    step in some releases and before them in others."""

    def __init__(self):
        self.marks = []

    def on_train_begin(self, *_args, **_kwargs):
        self.marks.append(time.perf_counter())

    def on_step_end(self, *_args, **_kwargs):
        self.marks.append(time.perf_counter())

    def seconds(self):
        return [end - start for start, end in zip(self.marks, self.marks[1:])]


def prompts(tokenizer, n_tokens, n_prompts):
    """Texts of exactly `n_tokens` tokens: in the model's vocabulary a space and a letter are one token."""
    draw = random.Random(7)
    rows = ["".join(" " + draw.choice(LETTERS) for _ in range(n_tokens)) for _ in range(n_prompts)]
    for row in rows:
        n_found = len(tokenizer(row).input_ids)
        if n_found != n_tokens:
            sys.exit(f"a prompt has {n_found} tokens instead of {n_tokens}: use the model that make_model.py writes")
    return rows


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    clock = StepClock()
    reward_draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=args.precision == "bf16",
            per_device_train_batch_size=args.group,
            gradient_accumulation_steps=1,
            gradient_checkpointing=False,
            num_generations=args.group,
            max_completion_length=args.completion,
            generation_kwargs={"min_new_tokens": args.completion},
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-6,
            max_steps=args.steps + 1,
            shuffle_dataset=False,
            dataloader_pin_memory=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        trainer = trl.GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **_: [reward_draw.random() for _ in completions],
            args=config,
            train_dataset=Dataset.from_list([{"prompt": text} for text in prompts(tokenizer, args.prompt, args.steps + 1)]),
            callbacks=[clock],
        )
        # The trainer logs to standard output, which is for the one line of the result.
        result_out, sys.stdout = sys.stdout, sys.stderr
        trainer.train()
        sys.stdout = result_out
    lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "completions/mean_length" in row]
    if any(length != args.completion for length in lengths):
        sys.exit(f"completions ended early: mean lengths {lengths} instead of {args.completion}")
    timed = clock.seconds()[1:]
    result = {
        "peer": "trl",
        "version": trl.__version__,
        "torch": torch.__version__,
        "phase": "step",
        "precision": args.precision,
        "threads": args.threads,
        "group": args.group,
        "prompt": args.prompt,
        "completion": args.completion,
        "seconds": timed,
        "step_s": statistics.median(timed),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
