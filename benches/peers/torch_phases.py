"""Times the phases of reinforcement learning in PyTorch, each as one JSON line on standard output.

usage: torch_phases.py MODEL PHASE... [--precision f32|bf16] [--batch 1] [--prompt 512] [--completion 64]
                       [--threads 2] [--repetitions 1]

Phases:
  prefill  the prompt through the model, keeping keys and values, with logits of the last position only
  score    log-probabilities of the prompt's tokens, without gradients
  decode   COMPLETION sampled tokens for each of BATCH sequences after a prompt that is not timed
  train    forward, cross-entropy, backward and an AdamW step on BATCH sequences of PROMPT tokens

Each phase is run once untimed and then REPETITIONS times. `f32` and `bf16` are the precision of the weights, except
in `train`, where bf16 is autocast over f32 weights, the mixed precision that trainers use. Start one process a phase:
the peak of memory is that of the process.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch
    from transformers import AutoModelForCausalLM
except ImportError as error:
    sys.exit(f"{error.name} is missing: install benches/peers/requirements.txt into this environment")

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def arguments():
    parser = argparse.ArgumentParser(description="Times phases in PyTorch.")
    parser.add_argument("model")
    parser.add_argument("phases", nargs="+", choices=["prefill", "score", "decode", "train"])
    parser.add_argument("--precision", choices=DTYPES, default="f32")
    for name, default in [("batch", 1), ("prompt", 512), ("completion", 64), ("threads", 2), ("repetitions", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


@torch.inference_mode()
def prefill(model, ids):
    return model(input_ids=ids, use_cache=True, logits_to_keep=1)


@torch.inference_mode()
def score(model, ids):
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return torch.log_softmax(logits, dim=-1).gather(-1, ids[:, 1:, None])


@torch.inference_mode()
def decode(model, output, n_tokens):
    for _ in range(n_tokens):
        token = torch.multinomial(torch.softmax(output.logits[:, -1].float(), dim=-1), 1)
        output = model(input_ids=token, past_key_values=output.past_key_values, use_cache=True)


def train(model, optimizer, ids, precision):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(phase, args):
    dtype = torch.float32 if phase == "train" else DTYPES[args.precision]
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
    model.config.use_cache = phase == "decode"
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, model.config.vocab_size, (args.batch, args.prompt), generator=generator)
    n_tokens = args.batch * (args.completion if phase == "decode" else args.prompt)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True) if phase == "train" else None
    model.train(phase == "train")
    seconds = []
    for _ in range(args.repetitions + 1):
        if phase == "prefill":
            seconds.append(seconds_of(lambda: prefill(model, ids)))
        elif phase == "score":
            seconds.append(seconds_of(lambda: score(model, ids)))
        elif phase == "decode":
            output = prefill(model, ids)
            seconds.append(seconds_of(lambda: decode(model, output, args.completion)))
        else:
            seconds.append(seconds_of(lambda: train(model, optimizer, ids, args.precision)))
    # The first repetition warmed caches and allocators up.
    timed = seconds[1:]
    return {
        "peer": "torch",
        "version": torch.__version__,
        "phase": phase,
        "precision": args.precision,
        "threads": args.threads,
        "batch": args.batch,
        "prompt": args.prompt,
        "completion": args.completion if phase == "decode" else 0,
        "seconds": timed,
        "tokens_per_s": n_tokens / sorted(timed)[len(timed) // 2],
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main():
    args = arguments()
    if args.repetitions < 1:
        sys.exit("--repetitions must be at least 1")
    torch.set_num_threads(args.threads)
    for phase in args.phases:
        print(json.dumps(measure(phase, args)), flush=True)


if __name__ == "__main__":
    main()
