//! `longhand import`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Result;
use longhand_gguf::{ImportOptions, Storage, import};

/// Arguments of `longhand import`.
#[derive(clap::Args)]
#[command(
    after_help = "Reads GGUF files of llama, qwen2 and qwen3 models, and writes config.json, \
                  generation_config.json, model.safetensors, tokenizer.json and tokenizer_config.json. A \
                  killed import leaves no folder.\n\n\
                  Exit codes: 0 done, 1 the file cannot be imported, 2 bad usage."
)]
pub(crate) struct Args {
    /// GGUF file of a model
    #[arg(value_name = "FILE.gguf")]
    file: PathBuf,
    /// Folder to be made; it must be absent or empty
    #[arg(value_name = "OUT_DIR")]
    out_dir: PathBuf,
    /// Store weights in 16 bits, rounded: half the size
    #[arg(long)]
    bf16: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let storage = if args.bf16 {
        Storage::Bf16
    } else {
        Storage::F32
    };
    let imported = import(&args.file, &args.out_dir, &ImportOptions { storage })?;
    writeln!(
        io::stdout(),
        "{}: {}, {} parameters in {} tensors, {} token ids, window {}",
        args.out_dir.display(),
        imported.architecture,
        imported.n_parameters,
        imported.n_tensors,
        imported.vocab_size,
        imported.window
    )?;
    Ok(ExitCode::SUCCESS)
}
