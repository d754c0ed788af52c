#!/usr/bin/env python3
"""Compares the engine with `transformers` and `peft`: the same models, the same tokens, the same numbers.

    pip install torch transformers peft
    cargo xtask compare-transformers [MODEL...]

or, with the examples built by `cargo build --release -p longhand-engine --examples`,

    python3 xtask/scripts/compare_with_transformers.py --examples target/release/examples [MODEL...]

MODEL is a folder in Hugging Face layout. For each: logits of 20 prompts and greedy continuations of 64
tokens, and the same through folders and adapters that we write. Without a model only the small random ones
are compared, which `transformers` and `peft` draw and write here:

    loaded     checkpoints written by transformers: families, rotary scalings, head ratios, number types,
               several files, both layouts of the rotary settings
    refused    checkpoints that we do not have, with an error that names why
    exported   folders written by us, read by transformers without a warning
    adapters   written by peft and read by us, and the other way round; merged on both sides

With `--program target/release/longhand`, also whole folders as `longhand export` writes them, tokenizer and
all, of each MODEL.

All in f32. One line a check: `ok` or `FAILED`, what, and the largest absolute difference of a logit. For
small models `without` says how far apart the logits would be had we ignored what the check is about.
Exit codes: 0 all agree, 1 some check failed, 2 wrong usage.
"""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import numpy as np
import peft
import tokenizers
import torch
import transformers

SMALL_LIMIT = 1e-4
MODEL_LIMIT = 2e-3
N_GREEDY = 64

# Every second one is put to the model as a user's message, where it has a chat template.
PROMPTS = [
    "The old lighthouse keeper climbed the stairs one last time, because",
    "What is the capital of Portugal, and which river does it lie on?",
    "def binary_search(values, wanted):\n    low, high = 0, len(values) - 1\n    while low <= high:\n",
    "Explain in two sentences why the sky is blue.",
    "In 1848 a carpenter found gold at a sawmill near Coloma. Within two years",
    "Summarise: The meeting was moved from Tuesday to Friday since the hall is being painted.",
    "fn main() {\n    let numbers = vec![3, 1, 4, 1, 5, 9, 2, 6];\n    let total: i32 =",
    "Write a shopping list for pancakes 🥞 with 🍓 and tell me how many eggs I need.",
    "東京は日本の首都であり、",
    "请用一句话介绍长城。",
    "한국의 수도는 서울이고 가장 긴 강은",
    "Is 97 a prime number? Think step by step.",
    "SELECT name, COUNT(*) AS n_orders FROM customers JOIN orders ON",
    "Translate into French: \"I have never seen so many boats in one harbour.\"",
    "Les élèves déjà fatigués s'étaient assis près de la fenêtre où",
    "Nimm an, ein Zug fährt um 9:15 Uhr ab und braucht 2 h 50 min. Wann kommt er an?",
    "{\"title\": \"Release notes\", \"version\": \"2.4.1\", \"changes\": [{\"kind\": \"fix\", \"text\":",
    "Answer with a single word: what do bees make?",
    "# Chapter 1\n\n\tIt was raining.  Twice   the dog barked — then…\r\n\r\n\"Who's there?\" asked 👩‍🔬 Mira",
    "Notes so far: Ana was born in Lima. Her brother Tomás lives in Quito. Where does Ana's brother live?",
]


class Checks:
    """Counts what failed, and prints one line a check."""

    def __init__(self):
        self.n = 0
        self.failed = []

    def say(self, is_ok, what, detail):
        self.n += 1
        if not is_ok:
            self.failed.append(what)
        print(f"{'ok    ' if is_ok else 'FAILED'} {what:<58} {detail}", flush=True)

    def below(self, what, difference, limit, more=""):
        self.say(difference < limit, what, f"{difference:.2e} (below {limit:.0e}){more}")

    @contextlib.contextmanager
    def section(self, what):
        """An error in one check must not hide the others."""
        try:
            yield
        except Exception as error:
            self.say(False, what, f"{type(error).__name__}: {error}")


class Engine:
    """Our side: the examples of `longhand-engine`, as processes."""

    def __init__(self, examples, scratch):
        self.examples, self.scratch = examples, scratch

    def run(self, name, *arguments):
        command = [str(self.examples / name), *(str(argument) for argument in arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def logits(self, folder, sequences, adapter=None):
        """One array `[tokens, vocab]` a sequence."""
        ids, out = self.scratch / "ids.json", self.scratch / "logits.f32"
        ids.write_text(json.dumps(sequences))
        self.run("logits", folder, ids, out, *(["--adapter", adapter] if adapter else []))
        n_tokens = sum(map(len, sequences))
        flat = np.fromfile(out, dtype="<f4").reshape(n_tokens, -1)
        return np.split(flat, np.cumsum([len(ids) for ids in sequences])[:-1])

    def greedy(self, folder, prompts, n_tokens, adapter=None):
        """The most probable continuations, a list of ids for each prompt."""
        ids, out = self.scratch / "ids.json", self.scratch / "logits.f32"
        ids.write_text(json.dumps(prompts))
        more = ["--adapter", adapter] if adapter else []
        return json.loads(self.run("logits", folder, ids, out, "--greedy", n_tokens, *more))


class Captured(logging.Handler):
    """What the libraries complain about meanwhile."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def warnings_captured():
    """Collects warnings of every kind, also those that a library says once a process."""
    captured = Captured()
    loggers = [logging.getLogger(name) for name in ("transformers", "peft", "accelerate", "huggingface_hub", "")]
    for logger in loggers:
        logger.addHandler(captured)
    for method in (transformers.utils.logging.warning_once, transformers.utils.logging.warning_advice):
        getattr(method, "cache_clear", lambda: None)()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield captured.messages
        captured.messages += [str(warning.message) for warning in caught]
    finally:
        for logger in loggers:
            logger.removeHandler(captured)


def load(folder):
    """A model in f32, with what transformers misses or has too many of."""
    model, notes = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    return model.eval(), [f"{key}: {value}" for key, value in notes.items() if value]


@torch.no_grad()
def logits_of(model, sequences):
    return [model(torch.tensor([ids])).logits[0].numpy() for ids in sequences]


def difference(left, right):
    """The largest absolute difference; infinite where shapes differ or a number is not finite."""
    if [a.shape for a in left] != [b.shape for b in right]:
        return float("inf")
    largest = max(float(np.abs(a - b).max()) for a, b in zip(left, right))
    return largest if np.isfinite(largest) else float("inf")


# Small random models.


@dataclass
class Small:
    """A model that transformers draws and writes. `without` undoes what the check is about."""

    name: str
    config: transformers.PretrainedConfig
    dtype: torch.dtype = torch.float32
    shard: str = "5GB"
    length: int = 70
    old_layout: bool = False
    without: dict = field(default_factory=dict)


SIZES = dict(
    vocab_size=301,
    hidden_size=64,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
)


def llama(**more):
    return transformers.LlamaConfig(**{**SIZES, **more})


def qwen2(**more):
    return transformers.Qwen2Config(**{**SIZES, **more})


def qwen3(**more):
    return transformers.Qwen3Config(**{**SIZES, "head_dim": 24, **more})


def rope(kind, theta=10_000.0, **more):
    """Rotary settings as this version of transformers takes them."""
    if hasattr(transformers.LlamaConfig(), "rope_parameters"):
        return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}
    scaling = {"rope_scaling": {"rope_type": kind, **more}} if kind != "default" else {}
    return {"rope_theta": theta, **scaling}


# With heads of 16 and theta 10,000 some frequencies turn often in 64 tokens, some never, some between.
LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
PLAIN_ROPE = {"rope": "default"}


def small_models():
    no_bias, no_norm = {"zero": "_proj.bias"}, {"one": "_norm.weight", "in": "self_attn"}
    llama3 = rope("llama3", **LLAMA3)
    linear = rope("linear", factor=4.0)
    yield Small("qwen2", qwen2(), without=no_bias)
    yield Small("qwen2 tied", qwen2(tie_word_embeddings=True), without=no_bias)
    yield Small("qwen3, head_dim 24", qwen3(), without=no_norm)
    yield Small("qwen3 tied, head_dim 8", qwen3(head_dim=8, tie_word_embeddings=True), without=no_norm)
    yield Small("llama", llama())
    yield Small("llama tied", llama(tie_word_embeddings=True))
    theta = rope("default", 500_000.0)
    yield Small("llama, theta 500000", llama(rms_norm_eps=1e-5, **theta), without=PLAIN_ROPE)
    yield Small("llama, theta 500000, older layout", llama(**theta), old_layout=True, without=PLAIN_ROPE)
    yield Small("llama3 scaling, 300 tokens", llama(**llama3), length=300, without=PLAIN_ROPE)
    yield Small(
        "llama3 scaling, older layout", llama(**llama3), length=300, old_layout=True, without=PLAIN_ROPE
    )
    yield Small("linear scaling, 300 tokens", llama(**linear), length=300, without=PLAIN_ROPE)
    yield Small(
        "linear scaling, older layout", llama(**linear), length=300, old_layout=True, without=PLAIN_ROPE
    )
    for n_heads, n_kv_heads in [(4, 4), (6, 1), (6, 2), (8, 2)]:
        heads = dict(hidden_size=16 * n_heads, num_attention_heads=n_heads, num_key_value_heads=n_kv_heads)
        yield Small(f"llama, {n_heads} heads over {n_kv_heads}", llama(**heads))
    yield Small("qwen2 in bf16", qwen2(), dtype=torch.bfloat16)
    yield Small("qwen3 in f16", qwen3(), dtype=torch.float16)
    yield Small("llama in many files", llama(), shard="60KB")
    yield Small("qwen3 in many files of bf16", qwen3(), shard="40KB", dtype=torch.bfloat16)


def drawn(config):
    """A model whose every number matters: no bias at zero, no norm at one."""
    generator = torch.Generator().manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("norm.weight"):
                tensor.copy_(1 + 0.3 * noise)
            elif name.endswith(".bias"):
                tensor.copy_(0.5 * noise)
            elif "embed_tokens" in name:
                tensor.copy_(0.4 * noise)
            else:
                tensor.copy_(1.2 * noise / tensor.shape[1] ** 0.5)
    return model.eval()


def undone(model, how):
    """The logits that a reader would get who ignores what the check is about."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if how.get("in", "") in name and how.get("zero", "?") in name:
                tensor.zero_()
            if how.get("in", "") in name and how.get("one", "?") in name:
                tensor.fill_(1)
    if "rope" in how:
        config = type(model.config).from_dict({**model.config.to_dict(), "rope_scaling": None, **rope("default")})
        plain = type(model)(config).eval()
        plain.load_state_dict(model.state_dict())
        return plain
    return model


def older_layout(folder):
    """Rewrites the rotary settings as transformers 4 has them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    nested = config.pop("rope_parameters", None)
    if nested is not None:
        config["rope_theta"] = nested.pop("rope_theta")
        config["rope_scaling"] = nested if nested.get("rope_type", "default") != "default" else None
    config["torch_dtype"] = config.pop("dtype", config.get("torch_dtype"))
    path.write_text(json.dumps(config, indent=2))


def sequences_of(length, vocab_size):
    generator = torch.Generator().manual_seed(length)
    draw = lambda n: torch.randint(vocab_size, (n,), generator=generator).tolist()
    return [draw(length), draw(1), draw(length // 2 + 1)]


def compare_small(checks, engine, scratch):
    """Checkpoints of transformers here, and what we write of them there. Returns a few for the adapters."""
    kept = {}
    for i, small in enumerate(small_models()):
        folder = scratch / f"small-{i}"
        with checks.section(f"loaded: {small.name}"):
            model = drawn(small.config).to(small.dtype)
            model.save_pretrained(folder, max_shard_size=small.shard)
            if small.old_layout:
                older_layout(folder)
            n_files = len(list(folder.glob("*.safetensors")))
            assert (1 < n_files) == (small.shard != "5GB"), f"{n_files} files"
            model, _ = load(folder)
            sequences = sequences_of(small.length, model.config.vocab_size)
            theirs = logits_of(model, sequences)
            more = f", largest logit {max(np.abs(x).max() for x in theirs):.1f}"
            ours = engine.logits(folder, sequences)
            if small.without:
                apart = difference(theirs, logits_of(undone(model, small.without), sequences))
                assert 1e-2 < apart, f"the check sees nothing: {apart}"
                more += f", without {apart:.2f}"
            checks.below(f"loaded: {small.name}", difference(theirs, ours), SMALL_LIMIT, more)
        with checks.section(f"exported: {small.name}"):
            compare_export(checks, engine, scratch / f"export-{i}", small.name, folder, sequences, SMALL_LIMIT)
        kept[small.name] = folder
    return kept


def compare_export(checks, engine, out, name, folder, sequences, limit):
    """`out` as written by us from `folder`, in f32, in bf16 and in several files."""
    variants = {
        "f32": [],
        "bf16": ["--bf16"],
        "many files": ["--max-file-bytes", max(20_000, size_of(folder) // 3)],
    }
    theirs, _ = load(folder)
    before = theirs.state_dict()
    expected = logits_of(theirs, sequences)
    for variant, options in variants.items():
        what = f"exported: {name}, {variant}"
        folder_out = out / variant.replace(" ", "-")
        with checks.section(what):
            engine.run("export", folder, folder_out, *options)
            with warnings_captured() as messages:
                model, notes = load(folder_out)
            complaints = messages + notes
            after = model.state_dict()
            rounded = {key: value.bfloat16().float() if variant == "bf16" else value for key, value in before.items()}
            if list(after) != list(rounded) or not all(torch.equal(after[key], rounded[key]) for key in after):
                complaints.append("tensors are not the same bits")
            if variant == "many files" and len(list(folder_out.glob("*.safetensors"))) < 2:
                complaints.append("there is one file only")
            complaints += changed_settings(theirs.config, model.config)
            dtype = json.loads((folder_out / "config.json").read_text())["torch_dtype"]
            if dtype != ("bfloat16" if variant == "bf16" else "float32"):
                complaints.append(f"config.json says {dtype}")
            found = logits_of(model, sequences)
            if variant == "bf16":
                apart = difference(found, engine.logits(folder_out, sequences))
            else:
                apart = difference(found, expected)
            checks.say(not complaints and apart < limit, what, f"{apart:.2e} {'; '.join(complaints)}")


def size_of(folder):
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def changed_settings(before, after):
    """What a model's configuration lost on its way through ours."""
    ours_to_say = {"_name_or_path", "dtype", "torch_dtype", "transformers_version"}
    # Numbers of training, and switches of features that are refused when active.
    of_no_effect = {"initializer_range", "use_cache", "max_window_layers", "sliding_window", "mlp_bias"}
    # These stand in generation_config.json, which goes along byte by byte.
    of_generation = {"bos_token_id", "pad_token_id"}
    left, right = before.to_dict(), after.to_dict()
    for config in left, right:
        if config.get("head_dim") is None:
            config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    keys = (set(left) | set(right)) - ours_to_say - of_no_effect - of_generation
    return [f"{key} was {left.get(key)}, is {right.get(key)}" for key in sorted(keys) if left.get(key) != right.get(key)]


def compare_refused(checks, engine, scratch):
    """What we do not have is refused by name, not computed wrongly."""
    sliding = dict(use_sliding_window=True, sliding_window=16, max_window_layers=1)
    yarn = rope("yarn", factor=4.0, original_max_position_embeddings=64)
    cases = {
        "sliding": (qwen2(**sliding), "sliding_window"),
        "attention-bias": (llama(attention_bias=True), "attention_bias"),
        "mlp-bias": (llama(mlp_bias=True), "mlp_bias"),
        "yarn": (llama(**yarn), "yarn"),
        "gelu": (llama(hidden_act="gelu"), "gelu"),
        "mistral": (transformers.MistralConfig(**SIZES), "mistral"),
    }
    for name, (config, wanted) in cases.items():
        with checks.section(f"refused: {name}"):
            folder = scratch / f"refused-{name}"
            drawn(config).save_pretrained(folder)
            try:
                engine.logits(folder, [[1, 2, 3]])
                checks.say(False, f"refused: {name}", "it was taken")
            except RuntimeError as error:
                checks.say(wanted in str(error), f"refused: {name}", str(error).replace("\n", " ")[:160])


# Adapters.

ALL_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def peft_adapter(folder, out, **config):
    """An adapter with random A and B over the model in `folder`, written to `out`."""
    model, _ = load(folder)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_" in name:
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator) / tensor.shape[1] ** 0.5)
    model.save_pretrained(out)
    if config["target_modules"] == "all-linear":
        # peft writes the names that it stands for.
        path = out / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "target_modules": "all-linear"}))
    return model


def compare_adapters(checks, engine, scratch, name, folder, sequences, limit, settings):
    """Adapters over one model: theirs here, ours there, merged on both sides."""
    plain = logits_of(load(folder)[0], sequences)
    for i, config in enumerate(settings):
        targets = config["target_modules"]
        label = " ".join(f"{key} {value}" for key, value in config.items() if key != "target_modules")
        label += " on " + (targets if isinstance(targets, str) else " ".join(targets).replace("_proj", ""))
        out = scratch / f"peft-{name.replace(' ', '-')}-{i}"
        what = f"adapter of peft: {name}, {label}"
        with checks.section(what):
            model = peft_adapter(folder, out, **config)
            theirs = logits_of(model, sequences)
            ours = engine.logits(folder, sequences, adapter=out)
            apart = f", without {difference(theirs, plain):.2f}"
            checks.below(what, difference(theirs, ours), limit, apart)
        what = f"merged: {name}, {label}"
        with checks.section(what):
            engine.run("export", folder, out / "merged", "--adapter", out)
            with warnings_captured() as messages:
                ours, notes = load(out / "merged")
            merged = model.merge_and_unload()
            found = ours.state_dict()
            largest = max(float((a - found[key]).abs().max()) for key, a in merged.state_dict().items())
            apart = difference(logits_of(merged, sequences), logits_of(ours, sequences))
            complaints = "; ".join(messages + notes)
            checks.below(what, apart if not complaints else float("inf"), limit, f", weights {largest:.1e} {complaints}")
        what = f"adapter of ours: {name}, {label}"
        if config.get("use_rslora") or isinstance(targets, str):
            continue
        with checks.section(what):
            theirs_out, out = out, scratch / f"ours-{name.replace(' ', '-')}-{i}"
            rank, alpha = config["r"], config["lora_alpha"]
            engine.run("export", folder, out, "--random-adapter", rank, alpha, ",".join(targets))
            # What an adapter of their own makes the libraries say is not about ours.
            with warnings_captured() as always:
                peft.PeftModel.from_pretrained(load(folder)[0], theirs_out)
            with warnings_captured() as messages:
                model = peft.PeftModel.from_pretrained(load(folder)[0], out).eval()
            messages = [message for message in messages if message not in always]
            theirs = logits_of(model, sequences)
            ours = engine.logits(folder, sequences, adapter=out)
            apart = f", without {difference(theirs, plain):.2f} {'; '.join(messages)}"
            checks.below(what, difference(theirs, ours) if not messages else float("inf"), limit, apart)


SMALL_ADAPTERS = [
    dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    dict(r=3, lora_alpha=16, target_modules=ALL_TARGETS),
    dict(r=8, lora_alpha=4, target_modules=["down_proj"]),
    dict(r=5, lora_alpha=10, target_modules="all-linear"),
    dict(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["k_proj", "o_proj", "gate_proj", "up_proj"]),
]
SCALED_BY_ROOT = dict(r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "up_proj"])


# Real models.


def compare_model(checks, engine, scratch, folder):
    name = folder.name
    with warnings_captured() as messages:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model, notes = load(folder)
    checks.say(not messages + notes, f"{name}: loads in transformers", "; ".join(messages + notes) or "no warning")
    prompts = []
    for i, prompt in enumerate(PROMPTS):
        if i % 2 == 1 and tokenizer.chat_template:
            messages = [{"role": "user", "content": prompt}]
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            prompts.append(tokenizer(prompt, add_special_tokens=False).input_ids)
        else:
            prompts.append(tokenizer(prompt).input_ids)
    # Ours went on with these tokens; theirs do the same when each is the most probable one after those before
    # it, which one pass tells.
    continued = engine.greedy(folder, prompts, N_GREEDY)
    sequences = [prompt + more for prompt, more in zip(prompts, continued)]
    theirs = logits_of(model, sequences)
    places, margins = [], []
    for prompt, more, logits in zip(prompts, continued, theirs):
        two = np.sort(np.partition(logits[len(prompt) - 1 : -1], -2, axis=-1)[:, -2:], axis=-1)
        margins.append(float((two[:, 1] - two[:, 0]).min()))
        differs = logits[len(prompt) - 1 : -1].argmax(-1) != np.array(more)
        places.append(int(differs.argmax()) if differs.any() else None)
    detail = f"{places.count(None)} of {len(prompts)} the same, closest choice {min(margins):.1e} apart"
    detail += "".join(f"; prompt {i} from token {place}" for i, place in enumerate(places) if place is not None)
    is_whole = all(len(more) == N_GREEDY for more in continued)
    same = is_whole and places.count(None) == len(prompts)
    checks.say(same, f"{name}: greedy continuations of {N_GREEDY} tokens", detail)
    n_tokens = sum(map(len, sequences))
    what = f"{name}: logits of {len(sequences)} prompts, {n_tokens} tokens"
    checks.below(what, difference(theirs, engine.logits(folder, sequences)), MODEL_LIMIT)
    del theirs
    few = sequences[:3]
    compare_export(checks, engine, scratch / f"export-{name}", name, folder, few, MODEL_LIMIT)
    settings = [
        dict(r=8, lora_alpha=16, target_modules=ALL_TARGETS),
        dict(r=4, lora_alpha=2, target_modules=["q_proj", "v_proj"]),
    ]
    compare_adapters(checks, engine, scratch, name, folder, few, MODEL_LIMIT, settings)


def compare_program(checks, program, scratch, folder):
    """A whole folder as `longhand export` writes it: nothing to complain of, and nothing lost."""
    model, _ = load(folder)
    for options in [], ["--bf16"]:
        what = " ".join([f"{folder.name}: longhand export", *options])
        out = scratch / f"program-{folder.name}{''.join(options)}"
        with checks.section(what):
            done = subprocess.run([program, "export", folder, out, *options], capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip())
            with warnings_captured() as messages:
                tokenizer = transformers.AutoTokenizer.from_pretrained(out)
                exported = transformers.AutoModelForCausalLM.from_pretrained(out)
            complaints = list(messages) + changed_settings(model.config, exported.config)
            if exported.dtype != (torch.bfloat16 if options else torch.float32):
                complaints.append(f"it is taken for {exported.dtype}")
            after = exported.state_dict()
            rounded = {key: value.to(exported.dtype) for key, value in model.state_dict().items()}
            if list(after) != list(rounded) or not all(torch.equal(after[key], rounded[key]) for key in after):
                complaints.append("tensors are not the same bits")
            # Of both: transformers may read a tokenizer.json as it thinks the family's should be.
            plain = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
            before = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            for prompt in PROMPTS:
                ids = [tokenizer(prompt).input_ids, plain.encode(prompt).ids, before.encode(prompt).ids]
                if ids[0] != ids[1] or ids[0] != ids[2]:
                    complaints.append(f"other ids: {ids}")
                    break
            original = transformers.AutoTokenizer.from_pretrained(folder)
            for name in ("chat_template", "special_tokens_map"):
                if getattr(tokenizer, name) != getattr(original, name):
                    complaints.append(f"{name} is another one")
            if exported.generation_config.to_diff_dict() != model.generation_config.to_diff_dict():
                complaints.append("generation_config is another one")
            checks.say(not complaints, what, "; ".join(complaints) or "no warning, nothing lost")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="a model's folder")
    parser.add_argument("--examples", type=Path, required=True, help="folder with the built `logits` and `export`")
    parser.add_argument("--program", type=Path, help="a built `longhand`, whose exports are looked at too")
    parser.add_argument("--no-small", action="store_true", help="leave the small random models out")
    options = parser.parse_args(arguments)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}")
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="longhand-compare-") as scratch:
        scratch = Path(scratch)
        engine = Engine(options.examples, scratch)
        if not options.no_small:
            kept = compare_small(checks, engine, scratch)
            compare_refused(checks, engine, scratch)
            for name in ("qwen2", "qwen3, head_dim 24", "llama tied"):
                with checks.section(f"adapters: {name}"):
                    settings = [*SMALL_ADAPTERS, SCALED_BY_ROOT]
                    sequences = sequences_of(70, SIZES["vocab_size"])
                    compare_adapters(checks, engine, scratch, name, kept[name], sequences, SMALL_LIMIT, settings)
        for folder in options.models:
            with checks.section(str(folder)):
                compare_model(checks, engine, scratch, folder)
                if options.program:
                    compare_program(checks, options.program, scratch, folder)
    if checks.failed:
        print(f"{len(checks.failed)} of {checks.n} checks failed")
        return 1
    print(f"all {checks.n} checks agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
