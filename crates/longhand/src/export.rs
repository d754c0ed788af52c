//! `longhand export`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use longhand_policy::{Numbers, Policy, SaveOptions};

use crate::{
    bad_usage,
    load::{Loaded, load},
};

/// Arguments of `longhand export`.
#[derive(clap::Args)]
#[command(
    after_help = "Writes config.json, tokenizer.json, model.safetensors (or several files and their list) and \
                  what came with the model, as `transformers` reads them. Of a run, its latest checkpoint; a \
                  checkpoint's own folder can be named instead. Of an adapter, the adapter as PEFT reads it, \
                  or with --merge a whole model.\n\n\
                  Exit codes: 0 done, 1 failed, 2 bad usage. A killed export leaves no folder."
)]
pub(crate) struct Args {
    /// Folder of a run, of a checkpoint or of a model
    run_or_model: PathBuf,
    /// Folder to be made; it must be absent or empty
    #[arg(value_name = "OUT_DIR")]
    out_dir: PathBuf,
    /// Add an adapter to the weights it stands beside, and write a model without one
    #[arg(long)]
    merge: bool,
    /// Store weights in 16 bits, rounded: half the size
    #[arg(long)]
    bf16: bool,
    /// Most bytes of weights in one file, in GiB [default: all in one]
    #[arg(long, value_name = "GIB", value_parser = crate::count())]
    max_file_gib: Option<usize>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let out = &args.out_dir;
    let is_free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(bad_usage(format!(
            "{} is not an empty folder: name one that is absent or empty",
            out.display()
        )));
    }
    let Loaded { policy, folder, .. } = load(&args.run_or_model)?;
    let is_adapter = policy.adapter().is_some();
    if args.merge && !is_adapter {
        return Err(bad_usage(format!(
            "{} has no adapter to merge: leave --merge out",
            folder.display()
        )));
    }
    if is_adapter && !args.merge && (args.bf16 || args.max_file_gib.is_some()) {
        return Err(bad_usage(
            "an adapter is stored in f32 in one file: --bf16 and --max-file-gib go with --merge",
        ));
    }
    // Beside the folder, so that the last step is a renaming.
    let beside = working_folder(out)?;
    fs::create_dir_all(&beside).with_context(|| format!("cannot make {}", beside.display()))?;
    let written = write(&policy, &beside, args, is_adapter && !args.merge).and_then(|what| {
        if out.is_dir() {
            fs::remove_dir(out)?;
        }
        fs::rename(&beside, out).with_context(|| format!("cannot make {}", out.display()))?;
        Ok(what)
    });
    let what = match written {
        Ok(what) => what,
        Err(error) => {
            let _ = fs::remove_dir_all(&beside);
            return Err(error);
        }
    };
    let from = folder.display();
    writeln!(io::stdout(), "{}: {what} of {from}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes into a folder and says what.
fn write(policy: &Policy, folder: &Path, args: &Args, only_adapter: bool) -> Result<String> {
    if only_adapter {
        policy.save(folder)?;
        policy.save_beside(folder)?;
        let n_parameters: usize = policy
            .trained_parameters()
            .iter()
            .map(|parameter| parameter.n_values())
            .sum();
        return Ok(format!("adapter, {n_parameters} parameters"));
    }
    let options = SaveOptions {
        numbers: if args.bf16 {
            Numbers::Bf16
        } else {
            Numbers::F32
        },
        max_file_bytes: args.max_file_gib.map(|gib| (gib as u64) << 30),
    };
    policy.save_whole(folder, &options)?;
    let config = policy.config();
    let merged = if args.merge {
        ", the adapter merged"
    } else {
        ""
    };
    Ok(format!(
        "{}, {} parameters in {}{merged}",
        config.family.model_type(),
        config.n_parameters(),
        if args.bf16 { "bf16" } else { "f32" },
    ))
}

fn working_folder(out: &Path) -> Result<PathBuf> {
    let name = out.file_name().with_context(|| {
        format!(
            "{} does not end in a name: give the folder one",
            out.display()
        )
    })?;
    let mut name = name.to_owned();
    name.push(format!(".{}", std::process::id()));
    Ok(out.with_file_name(name))
}
