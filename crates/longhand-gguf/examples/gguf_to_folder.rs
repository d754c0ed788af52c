//! `gguf_to_folder FILE.gguf OUT_DIR`: an import as a program that builds in seconds.

use std::{path::Path, process::ExitCode};

use longhand_gguf::{ImportOptions, import};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [file, out_dir] = args.as_slice() else {
        eprintln!("usage: gguf_to_folder FILE.gguf OUT_DIR");
        return ExitCode::from(2);
    };
    match import(
        Path::new(file),
        Path::new(out_dir),
        &ImportOptions::default(),
    ) {
        Ok(imported) => {
            println!(
                "{}: {} parameters in {} tensors",
                imported.architecture, imported.n_parameters, imported.n_tensors
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
