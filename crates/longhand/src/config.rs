//! `longhand config`: the shipped experiment files, what they say, and how two of them differ.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use longhand_config::{
    Assumed, Difference, Experiment, Family, ModelShape, Plan, PolicySource, Precision, Seconds,
    Shipped, Speeds, differences, schema, shipped,
};
use longhand_kernels::{AdamW, Block, Cpu, Format, Operand, Packed, Store, adamw, matmul};
use longhand_policy::{BACKEND, Compute, Engine, ModelConfig, RolloutWeights};
use longhand_trainer::compute;
use serde_json::json;

use crate::{bad_usage, table::Table};

/// What to do with experiment files.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List the experiment files that come with the program
    List(List),
    /// Print an experiment file
    Show(Show),
    /// Write one of the shipped experiment files, to change it
    Copy(Copy),
    /// List the keys in which two experiments differ
    Diff(Diff),
    /// Print the JSON Schema of experiment files, for editors
    Schema,
}

/// Arguments of `longhand config list`.
#[derive(clap::Args)]
pub(crate) struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Arguments of `longhand config show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// Name of a shipped file, an experiment file (TOML), or the folder of a run
    #[arg(value_name = "NAME|FILE")]
    experiment: String,
    /// Replace a value of the file, such as `seed=3` or `stage.0.steps=10`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Write out every key, defaults included
    #[arg(long)]
    resolved: bool,
}

/// Arguments of `longhand config copy`.
#[derive(clap::Args)]
pub(crate) struct Copy {
    /// Name of a shipped file
    name: String,
    /// File to write; must not be there yet
    path: PathBuf,
}

/// Arguments of `longhand config diff`.
#[derive(clap::Args)]
pub(crate) struct Diff {
    /// Name of a shipped file, an experiment file (TOML), or the folder of a run
    a: String,
    /// What to compare it with
    b: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::List(args) => list(args, &mut out)?,
        Command::Show(args) => show(args, &mut out)?,
        Command::Copy(args) => copy(args, &mut out)?,
        Command::Diff(args) => diff(args, &mut out)?,
        Command::Schema => writeln!(out, "{:#}", schema())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &List, out: &mut impl Write) -> Result<()> {
    let mut table = Table::new(["name", "paper", "what it is for", "size"]);
    let mut entries = Vec::new();
    for shipped in shipped() {
        let experiment = shipped.experiment(&[])?;
        let paper = experiment.paper.map(|paper| paper.name());
        let size = experiment.rough_size();
        entries.push(json!({
            "name": shipped.name,
            "path": shipped.path,
            "description": experiment.description,
            "paper": paper,
            "size": size,
        }));
        table.row([
            shipped.name.into(),
            paper.unwrap_or("-").into(),
            experiment.description,
            size,
        ]);
    }
    if args.json {
        writeln!(out, "{:#}", json!(entries))?;
    } else {
        write!(out, "{table}")?;
    }
    Ok(())
}

fn show(args: &Show, out: &mut impl Write) -> Result<()> {
    let (text, path) = text_of(&args.experiment)?;
    // What makes no sense is not shown as if it did.
    let experiment = Experiment::parse(&text, &path, &args.overrides)?;
    if args.resolved {
        write!(out, "{}", experiment.resolved_toml())?;
    } else if args.overrides.is_empty() {
        write!(out, "{text}")?;
    } else {
        let overridden = Experiment::overridden_toml(&text, &path, &args.overrides)?;
        write!(out, "{overridden}")?;
    }
    Ok(())
}

fn copy(args: &Copy, out: &mut impl Write) -> Result<()> {
    let shipped = Shipped::find(&args.name).ok_or_else(|| unknown(&args.name))?;
    let path = if args.path.is_dir() {
        args.path.join(format!("{}.toml", shipped.name))
    } else {
        args.path.clone()
    };
    let mut file = File::create_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => bad_usage(format!(
            "{} is there already: name another file",
            path.display()
        )),
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
    })?;
    file.write_all(shipped.text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(out, "{} written to {}", shipped.name, path.display())?;
    for (key, value) in shipped.experiment(&[])?.relative_paths() {
        let is_there = if Path::new(&value).exists() {
            ""
        } else {
            ", where nothing of that name is"
        };
        writeln!(
            out,
            "{key} = \"{value}\" starts from the folder that longhand is called in{is_there}"
        )?;
    }
    Ok(())
}

fn diff(args: &Diff, out: &mut impl Write) -> Result<()> {
    let load = |name: &str| -> Result<Experiment> {
        let (text, path) = text_of(name)?;
        Ok(Experiment::parse(&text, &path, &[])?)
    };
    let found = differences(&load(&args.a)?, &load(&args.b)?);
    if args.json {
        let value = json!({ "left": args.a, "right": args.b, "differences": found });
        writeln!(out, "{value:#}")?;
    } else if found.is_empty() {
        writeln!(out, "no differences")?;
    } else {
        write!(out, "{}", differences_table(&found, [&args.a, &args.b]))?;
    }
    Ok(())
}

/// The text of a shipped file, an experiment file or a run's resolved one, and what to call it.
fn text_of(name: &str) -> Result<(String, PathBuf)> {
    if let Some(shipped) = Shipped::find(name) {
        return Ok((shipped.text.into(), shipped.path.into()));
    }
    let path = Path::new(name);
    if path.is_dir() {
        let file = path.join("config.toml");
        if !file.is_file() {
            return Err(bad_usage(format!(
                "{name} is no run: it has no config.toml"
            )));
        }
        return Ok((read(&file)?, file));
    }
    // A bare word is a misspelt name rather than a file.
    if !path.exists() && path.extension().is_none() {
        return Err(unknown(name));
    }
    Ok((read(path)?, path.to_owned()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| bad_usage(format!("cannot read {}: {error}", path.display())))
}

fn unknown(name: &str) -> anyhow::Error {
    let hint = Shipped::nearest(name).map_or(String::new(), |nearest| {
        format!(", did you mean `{nearest}`?")
    });
    let names: Vec<&str> = shipped().iter().map(|shipped| shipped.name).collect();
    bad_usage(format!(
        "no shipped experiment is called `{name}`{hint}; there are {}",
        names.join(", ")
    ))
}

fn differences_table(found: &[Difference], sides: [&str; 2]) -> Table<3> {
    let mut table = Table::new(["key", sides[0], sides[1]]);
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    for difference in found {
        table.row([
            difference.key.clone(),
            side(&difference.left),
            side(&difference.right),
        ]);
    }
    table
}

/// The share of their budgets that replies fill in the second column of estimates.
const SHORT_REPLIES: f64 = 0.25;

/// What memory is estimated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PlanFor {
    /// The CPU engine, with the time that this machine would take
    Cpu,
    /// One GPU; only `config.json` of the model is read, and nothing is measured
    Gpu,
}

/// What a plan is told beside the experiment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlanOptions<'a> {
    /// None for what the program was built for.
    pub(crate) plan_for: Option<PlanFor>,
    /// A `config.json` in place of the policy's own.
    pub(crate) model_config: Option<&'a Path>,
}

/// What `longhand train --dry-run` prints: the resolved file, the numbers that follow from it, what the run
/// differs in from its paper, and estimates of memory and, on a CPU, of time. All but the last table is the
/// same at each call.
pub(crate) fn write_plan(
    experiment: &Experiment,
    options: &PlanOptions<'_>,
    out: &mut impl Write,
) -> Result<()> {
    writeln!(out, "{}", experiment.resolved_toml())?;
    let mut table = Table::new(["derived number", "value"]);
    for (name, value) in experiment.derived() {
        table.row([name, value]);
    }
    writeln!(out, "{table}")?;
    if let Some(paper) = experiment.paper {
        let found = experiment.paper_differences();
        let title = "Differences from the paper's settings";
        if found.is_empty() {
            writeln!(
                out,
                "{title} (config show {}): none\n",
                paper.shipped().name
            )?;
        } else {
            let table = differences_table(&found, ["here", "paper"]);
            writeln!(
                out,
                "{title} (config show {}):\n\n{table}",
                paper.shipped().name
            )?;
        }
    }
    let config = match model_config(experiment, options.model_config) {
        Ok(config) => config,
        // What was named must be there; a policy need not be yet.
        Err(why) if options.model_config.is_some() => return Err(why),
        Err(why) => {
            writeln!(out, "Memory and time cannot be estimated: {why:#}.")?;
            return Ok(());
        }
    };
    let built_for = match BACKEND {
        "flex" => PlanFor::Cpu,
        _ => PlanFor::Gpu,
    };
    if options.plan_for.unwrap_or(built_for) == PlanFor::Gpu {
        return write_gpu_plan(experiment, &shape_of(&config), out);
    }
    let compute = compute(experiment)?;
    if compute.engine == Engine::Burn {
        writeln!(
            out,
            "Memory and time are estimated for the CPU engine and for GPUs, not for burn on a CPU."
        )?;
        return Ok(());
    }
    let format = compute.precision.format(&compute.cpu, &config);
    let product_bytes = match format {
        Format::Bf16 => 2,
        _ => 4,
    };
    let shape = shape_of(&config);
    let plans = both_shares(product_bytes).map(|assumed| experiment.plan(&shape, &assumed));
    write_rows(plans.each_ref().map(Plan::rows), out)?;
    write_seconds(experiment, &plans, &compute, &config, format, out)
}

/// What a run takes on one GPU, where burn multiplies in bf16 only if that is asked for by name.
fn write_gpu_plan(experiment: &Experiment, shape: &ModelShape, out: &mut impl Write) -> Result<()> {
    let product_bytes = match experiment.compute.precision {
        Precision::Bf16 => 2,
        Precision::Auto | Precision::F32 => 4,
    };
    let rows = both_shares(product_bytes).map(|assumed| {
        let mut rows = experiment.plan(shape, &assumed).work_rows();
        rows.extend(experiment.gpu_memory(shape, &assumed).rows());
        rows
    });
    write_rows(rows, out)?;
    writeln!(
        out,
        "Memory of one GPU is computed from the code, not measured, and time on it is not estimated."
    )?;
    Ok(())
}

/// Replies that fill their budgets, and short ones.
fn both_shares(product_bytes: usize) -> [Assumed; 2] {
    [1.0, SHORT_REPLIES].map(|reply_share| Assumed {
        product_bytes,
        reply_share,
    })
}

/// Names and values of full replies, and those of short ones beside them.
fn write_rows(rows: [Vec<(String, String)>; 2], out: &mut impl Write) -> Result<()> {
    let mut table = Table::new(["estimate", "full replies", "short replies"]);
    let [most, short] = rows;
    for ((name, most), (_, short)) in most.into_iter().zip(short) {
        table.row([name, most, short]);
    }
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "Full replies fill their budgets, short ones a quarter. Groups that teach nothing take less.\n"
    )?;
    Ok(())
}

/// Seconds on this machine, from how fast it multiplies now.
fn write_seconds(
    experiment: &Experiment,
    plans: &[Plan; 2],
    compute: &Compute,
    config: &ModelConfig,
    format: Format,
    out: &mut impl Write,
) -> Result<()> {
    let sampling = match compute.rollout_weights {
        RolloutWeights::Same => format,
        RolloutWeights::Int8 => Format::Int8,
    };
    let speeds = measure(
        &compute.cpu,
        config,
        format,
        sampling,
        experiment.most_open(),
    );
    let mut table = Table::new([
        "time on this machine, roughly",
        "full replies",
        "short replies",
    ]);
    let row = |name: String, seconds: [f64; 2]| {
        let [most, short] = seconds.map(duration);
        [name, most, short]
    };
    for (idx, stage) in plans[0].stages.iter().enumerate() {
        let of: [Seconds; 2] =
            [0, 1].map(|plan: usize| plans[plan].stages[idx].work.seconds(&speeds));
        let name = format!("stage.{idx} ({}): a step", stage.kind);
        table.row(row(name.clone(), of.map(|seconds| seconds.total())));
        if stage.kind == "rl" {
            let phases = [
                ("generation", of.map(|seconds| seconds.generation)),
                ("scoring", of.map(|seconds| seconds.scoring)),
                ("training", of.map(|seconds| seconds.training)),
            ];
            for (phase, seconds) in phases {
                table.row(row(format!("{name}, {phase}"), seconds));
            }
        }
    }
    let of_run = |plan: &Plan| plan.work().seconds(&speeds).total();
    let of_measuring = |plan: &Plan| plan.measurements.seconds(&speeds).total();
    let both = |of: &dyn Fn(&Plan) -> f64| [of(&plans[0]), of(&plans[1])];
    table.row(row("measurements".into(), both(&of_measuring)));
    table.row(row("the whole run".into(), both(&of_run)));
    write!(out, "{table}")?;
    writeln!(
        out,
        "\nAn estimate from {:.0} billion multiply-adds a second in products of many rows, {:.0} in those of \
         sampling, and {:.0} GB/s, measured just now. Other programs on the machine make it worse.",
        speeds.many_rows / 1e9,
        speeds.few_rows / 1e9,
        speeds.bytes / 1e9
    )?;
    Ok(())
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// Sizes of the policy, from a file that was named in its place, from its folder or its table.
fn model_config(experiment: &Experiment, named: Option<&Path>) -> Result<ModelConfig> {
    let of_file = |path: &Path| {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        ModelConfig::from_json(&text).with_context(|| path.display().to_string())
    };
    if let Some(path) = named {
        return of_file(path);
    }
    match &experiment.policy {
        PolicySource::Folder(folder) => of_file(&folder.join("config.json")),
        PolicySource::FromScratch(scratch) => {
            let shape = scratch.shape();
            Ok(ModelConfig {
                family: match shape.family {
                    Family::Llama => longhand_policy::Family::Llama,
                    Family::Qwen2 => longhand_policy::Family::Qwen2,
                    Family::Qwen3 => longhand_policy::Family::Qwen3,
                },
                vocab_size: shape.vocab_size,
                hidden_size: shape.hidden_size,
                intermediate_size: shape.intermediate_size,
                n_layers: shape.n_layers,
                n_heads: shape.n_heads,
                n_kv_heads: shape.n_kv_heads,
                head_dim: shape.head_dim,
                rope_theta: scratch.rope_theta,
                rope_scaling: longhand_policy::RopeScaling::Unscaled,
                norm_eps: scratch.norm_eps,
                tie_embeddings: shape.tie_embeddings,
                max_positions: scratch.max_positions,
                end_ids: Vec::new(),
            })
        }
    }
}

fn shape_of(config: &ModelConfig) -> ModelShape {
    ModelShape {
        family: match config.family {
            longhand_policy::Family::Llama => Family::Llama,
            longhand_policy::Family::Qwen2 => Family::Qwen2,
            longhand_policy::Family::Qwen3 => Family::Qwen3,
        },
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        n_layers: config.n_layers,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        vocab_size: config.vocab_size,
        tie_embeddings: config.tie_embeddings,
    }
}

/// How long each of the three measurements goes on.
const MEASURED_FOR: Duration = Duration::from_millis(60);

/// Products of the model's width, but not of more than takes a fraction of a second, and an update.
fn measure(
    cpu: &Cpu,
    config: &ModelConfig,
    format: Format,
    sampling: Format,
    n_open: usize,
) -> Speeds {
    let k = config.hidden_size.min(2048);
    let n = (2 * config.intermediate_size).min(4096);
    Speeds {
        many_rows: product_speed(cpu, format, 512, k, n),
        few_rows: product_speed(cpu, sampling, n_open.min(512), k, n),
        bytes: update_speed(cpu),
    }
}

/// Multiply-adds a second of `[rows, k]` by `[k, n]`.
fn product_speed(cpu: &Cpu, format: Format, rows: usize, k: usize, n: usize) -> f64 {
    let values = vec![0.5_f32; (k * n).max(rows * k)];
    let block = Block {
        values: &values,
        stride: n,
        k0: 0,
        n0: 0,
        k,
        n,
        transposed: false,
    };
    let right = Packed::new(cpu, format, k, n, &[block]);
    let mut left = Operand::new();
    left.fill_rows(cpu, right.operand_format(cpu), &values, rows, k, k);
    let mut out = vec![0.0; rows * n];
    let once = || matmul(cpu, &left, &right, &mut out, n, Store::Set);
    (rows * k * n) as f64 / seconds_of(once)
}

/// Bytes a second of AdamW over more numbers than caches hold.
fn update_speed(cpu: &Cpu) -> f64 {
    const N: usize = 4 << 20;
    let settings = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.0,
        step: 1,
    };
    let grad = vec![0.5_f32; N];
    let (mut weights, mut m, mut v) = (vec![0.5; N], vec![0.5; N], vec![0.5; N]);
    let once = || adamw(cpu, &settings, 1.0, &mut weights, &grad, &mut m, &mut v);
    // Four lists are read, three of them written.
    (28 * N) as f64 / seconds_of(once)
}

/// Seconds of the fastest call, after a first one that wakes threads and touches memory: what the machine
/// does when it has nothing else to do.
fn seconds_of(mut once: impl FnMut()) -> f64 {
    once();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < MEASURED_FOR {
        let call = Instant::now();
        once();
        best = best.min(call.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_that_fits() {
        let check = |seconds, expected: &str| assert_eq!(duration(seconds), expected);
        check(0.0123, "12 ms");
        check(3.04, "3.0 s");
        check(200.0, "3 min");
        check(9000.0, "2.5 h");
        check(864_000.0, "10.0 days");
    }

    #[test]
    fn a_plan_of_a_shipped_file_has_every_part() {
        let experiment = Shipped::find("smoke-tamtrl").unwrap();
        let experiment = experiment
            .experiment(&["paper=tamtrl".to_string()])
            .unwrap();
        let text_for = |plan_for| {
            let mut out = Vec::new();
            let options = PlanOptions {
                plan_for: Some(plan_for),
                model_config: None,
            };
            write_plan(&experiment, &options, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = text_for(PlanFor::Cpu);
        for part in [
            "name = \"smoke-tamtrl\"",
            "optimiser steps of the run, at most",
            "Differences from the paper's settings (config show paper-tamtrl):",
            "stage.1.problems_per_step",
            "memory, together",
            "the whole run",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let text = text_for(PlanFor::Gpu);
        for part in [
            "multiply-adds of the run",
            "GPU memory, in the training pass",
            "fits a GPU of 24, 80, 141 GB",
            "not measured",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("memory, together"), "{text}");
    }

    #[test]
    fn a_model_that_is_named_is_planned_in_place_of_the_policy() {
        let experiment = Shipped::find("smollm2-hotpotqa").unwrap();
        let experiment = experiment.experiment(&[]).unwrap();
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../longhand-config/tests/models/qwen3-8b.json"
        );
        let plan = |model_config: &Path| {
            let mut out = Vec::new();
            let options = PlanOptions {
                plan_for: Some(PlanFor::Gpu),
                model_config: Some(model_config),
            };
            write_plan(&experiment, &options, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        let text = plan(Path::new(file)).unwrap();
        assert!(text.contains("8.2 G"), "{text}");
        assert!(text.contains("none of these"), "{text}");
        let error = plan(Path::new("no/config.json")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read no/config.json"));
    }

    #[test]
    fn an_unknown_name_is_mended() {
        let message = text_of("quickstar").unwrap_err().to_string();
        assert!(
            message.starts_with(
                "no shipped experiment is called `quickstar`, did you mean `quickstart`?"
            ),
            "{message}"
        );
    }
}
