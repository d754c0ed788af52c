#!/usr/bin/env python3
"""Uploads what a run has stored to Weights & Biases. Nothing is uploaded unless this is run.

    pip install wandb
    python3 xtask/scripts/upload_to_wandb.py RUN --project longhand

Reads RUN/config.toml, RUN/metrics.jsonl and RUN/timings.jsonl, while the run goes on or after it; a last
line that is cut off is left out and named. RUN/wandb-upload.json keeps what has been uploaded, so that a
second upload continues where the first one ended. Where lines that were uploaded are no longer there,
because the run was resumed from an earlier checkpoint, it stops; `--anew` then uploads everything as
another run, and `--dry-run` only says what would be uploaded.

Numbers are named as in TensorBoard (crates/longhand-tensorboard/src/scalars.rs): `rl/reward`,
`eval/after/accuracy/192`, `timings/rl/seconds_generate`. Each stage is drawn over its own steps. The source,
git state, machine and console output that wandb likes to collect are not sent.

With `--transcripts N`, the newest N attempts go into a table; that needs the package `zstandard` or the
program `zstd`. Needs Python 3.11. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

STATE_FILE = "wandb-upload.json"
FILES = ("metrics.jsonl", "timings.jsonl")
PLACES = {"stage", "stage_idx", "step", "label", "temperature", "unix_seconds"}
COLUMNS = ["stage", "step", "problem_id", "attempt", "question", "expected", "answer", "outcome"]
COLUMNS += ["reward_error", "dropped", "turns"]


class Problem(Exception):
    """Something that the user is told in one line."""


def read_lines(path):
    """The whole lines of a file of JSON lines, as bytes and as values; [] where there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], []
    *lines, rest = data.split(b"\n")
    if rest:
        print(f"{path}: the last line is cut off ({len(rest)} bytes) and left out", file=sys.stderr)
    records = []
    for idx, line in enumerate(lines):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise Problem(f"{path}:{idx + 1}: {error}") from error
        if not isinstance(record, dict):
            raise Problem(f"{path}:{idx + 1}: not an object")
        records.append(record)
    return lines, records


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def prefix_of(line):
    """What comes before the names of a line's numbers, and the axis they are drawn over; None without a stage."""
    stage = line.get("stage")
    if not isinstance(stage, str):
        return None
    stage_idx = line.get("stage_idx") or 0
    if stage == "warm-start" and stage_idx:
        stage += f"-{stage_idx}"
    axis = stage + "/step"
    prefix = "timings/" + stage if "unix_seconds" in line else stage
    if isinstance(line.get("label"), str):
        prefix += "/" + line["label"]
    if line.get("temperature"):
        prefix += f"/temperature-{line['temperature']:g}"
    return prefix, axis


def scalars_of(line):
    """The numbers of one line with their tags, and the step they are drawn over."""
    place = prefix_of(line)
    if place is None:
        return {}
    prefix, axis = place
    scalars = {}
    for name, value in line.items():
        if name in PLACES:
            continue
        if is_number(value):
            scalars[f"{prefix}/{name}"] = value
        for item in value if isinstance(value, list) else []:
            if isinstance(item, dict) and is_number(item.get("target_tokens")):
                by_length(prefix, item, scalars)
    if scalars:
        scalars[axis] = line.get("step", 0)
    return scalars


def by_length(prefix, item, scalars):
    """Adds what was measured at one length."""
    length = item["target_tokens"]
    for name, value in item.items():
        if name != "target_tokens" and is_number(value):
            scalars[f"{prefix}/{name}/{length}"] = value
    for part in item.get("by_facts") or []:
        tag = f"{prefix}/accuracy_by_facts/{length}/{part['n_facts']}"
        scalars[tag] = part["accuracy"]


def digest_of(lines):
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()


def run_id(run, config, n_anew):
    """The same for the same experiment in a folder of the same name."""
    key = b"\0".join([run.resolve().name.encode(), config, str(n_anew).encode()])
    return hashlib.sha256(key).hexdigest()[:16]


def read_state(run, config, project, entity, anew):
    """What has been uploaded: of each file how many lines, and their digest."""
    path = run / STATE_FILE
    state = json.loads(path.read_text()) if path.exists() else None
    if state and not anew:
        for name, given in (("project", project), ("entity", entity)):
            if given is not None and given != state[name]:
                raise Problem(f"{path}: was uploaded to {name} `{state[name]}`; `--anew` uploads it again")
        return state
    n_anew = state["n_anew"] + 1 if state else 0
    return {
        "project": project or "longhand",
        "entity": entity,
        "id": run_id(run, config, n_anew),
        "n_anew": n_anew,
        "n_logged": 0,
        "files": {name: {"n_lines": 0, "sha256": digest_of([])} for name in FILES},
    }


def new_records(run, state):
    """The records that have not been uploaded; counts them in `state` as if they were."""
    records = []
    for name in FILES:
        lines, values = read_lines(run / name)
        uploaded = state["files"][name]
        n_uploaded = uploaded["n_lines"]
        if digest_of(lines[:n_uploaded]) != uploaded["sha256"]:
            raise Problem(
                f"{run / name}: lines that were uploaded are gone, as after a resume from an earlier "
                "checkpoint; `--anew` uploads everything as another run"
            )
        records += values[n_uploaded:]
        state["files"][name] = {"n_lines": len(lines), "sha256": digest_of(lines)}
    return records


def decompress(path):
    try:
        import zstandard
    except ImportError:
        try:
            return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise Problem(f"{path}: cannot be read without `zstandard` or `zstd`: {error}") from error
    with open(path, "rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def transcript_rows(run, n_rows):
    """The newest attempts, those of the last step first."""
    rows = []
    for path in sorted((run / "transcripts").glob("*.jsonl.zst"), reverse=True):
        if n_rows <= len(rows):
            break
        for line in decompress(path).splitlines()[: n_rows - len(rows)]:
            attempt = json.loads(line)
            attempt["expected"] = " | ".join(attempt.get("expected", []))
            attempt["turns"] = "\n".join(turn["completion"] for turn in attempt.get("turns", []))
            rows.append([attempt.get(name) for name in COLUMNS])
    return rows


def upload(run, options, config, state, records, rows):
    """Hands everything to wandb; each record has a place of its own, so none is kept twice."""
    import wandb

    session = wandb.init(
        project=state["project"],
        entity=state["entity"],
        id=state["id"],
        name=options.name or config.get("name"),
        notes=config.get("description"),
        config=config,
        dir=run,
        mode="offline" if options.offline else None,
        resume=None if options.offline else "allow",
        settings=wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            host="not-recorded",
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        ),
    )
    for axis in sorted({place[1] for place in map(prefix_of, records) if place}):
        session.define_metric(axis, hidden=True)
        tags = axis.removesuffix("step") + "*"
        session.define_metric(tags, step_metric=axis)
        session.define_metric("timings/" + tags, step_metric=axis)
    for record in records:
        scalars = scalars_of(record)
        if scalars:
            session.log(scalars, step=state["n_logged"])
            state["n_logged"] += 1
    if rows:
        session.log({"transcripts": wandb.Table(columns=COLUMNS, data=rows)}, step=state["n_logged"])
        state["n_logged"] += 1
    folder = session.dir
    session.finish()
    if options.offline:
        print(f"nothing was sent; to send it: wandb sync {Path(folder).parent}")


def write_state(run, state):
    """Replaces the file at once, so that it is never half written."""
    path = run / STATE_FILE
    beside = path.with_suffix(".json.new")
    beside.write_text(json.dumps(state, indent=2) + "\n")
    os.replace(beside, path)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--project", help="project at W&B (longhand, or that of the first upload)")
    parser.add_argument("--entity", help="user or team at W&B (your default)")
    parser.add_argument("--name", help="name shown at W&B (that of the experiment)")
    parser.add_argument("--transcripts", type=int, default=0, metavar="N", help="newest attempts to upload (0)")
    parser.add_argument("--offline", action="store_true", help="write RUN/wandb for `wandb sync`, send nothing")
    parser.add_argument("--anew", action="store_true", help="upload everything as another run")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded; wandb is not needed")
    options = parser.parse_args(arguments)
    run = options.run
    try:
        config_text = (run / "config.toml").read_bytes()
        config = tomllib.loads(config_text.decode())
        state = read_state(run, config_text, options.project, options.entity, options.anew)
        records = new_records(run, state)
        rows = transcript_rows(run, options.transcripts)
        n_numbers = sum(len(scalars_of(record)) for record in records)
        what = f"{len(records)} new lines with {n_numbers} numbers and {len(rows)} attempts"
        where = f"{state['project']}/{state['id']}"
        if options.dry_run:
            print(f"would upload {what} to {where}")
            return 0
        if not records and not rows:
            print(f"nothing new for {where}")
            return 0
        upload(run, options, config, state, records, rows)
        write_state(run, state)
        print(f"uploaded {what} to {where}" if not options.offline else f"wrote {what} for {where}")
    except (Problem, OSError, ValueError, ImportError) as problem:
        print(f"upload_to_wandb: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
