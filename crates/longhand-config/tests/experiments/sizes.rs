//! The sizes that `configs/README.md` documents are those that plans compute.

use std::path::Path;

use longhand_config::{Assumed, Experiment, Family, ModelShape, Shipped};
use serde_json::Value;

use crate::plan::AT_MOST;

/// A model by its page's name, its file here, and its number of parameters as published.
const MODELS: [(&str, &str, u128); 6] = [
    ("SmolLM2-135M", "smollm2-135m", 134_515_008),
    ("Qwen3-0.6B", "qwen3-0.6b", 596_049_920),
    ("Qwen2.5-1.5B", "qwen2.5-1.5b", 1_543_714_304),
    ("Qwen3-4B", "qwen3-4b", 4_022_468_096),
    ("Llama-3.1-8B", "llama-3.1-8b", 8_030_261_248),
    ("Qwen3-8B", "qwen3-8b", 8_190_735_360),
];

/// The sizes in a `config.json`.
fn shape(file: &str) -> ModelShape {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| config[key].as_u64().map(|n| n as usize);
    let [hidden_size, n_heads] =
        ["hidden_size", "num_attention_heads"].map(|key| number(key).unwrap());
    ModelShape {
        family: match config["model_type"].as_str().unwrap() {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            other => panic!("{other}"),
        },
        hidden_size,
        intermediate_size: number("intermediate_size").unwrap(),
        n_layers: number("num_hidden_layers").unwrap(),
        n_heads,
        n_kv_heads: number("num_key_value_heads").unwrap(),
        head_dim: number("head_dim").unwrap_or(hidden_size / n_heads),
        vocab_size: number("vocab_size").unwrap(),
        tie_embeddings: config["tie_word_embeddings"].as_bool().unwrap(),
    }
}

fn experiment(name: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Shipped::find(name).unwrap().experiment(&overrides).unwrap()
}

fn gibibytes(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / f64::from(1 << 30))
}

#[test]
fn the_models_have_as_many_parameters_as_published() {
    for (name, file, n_parameters) in MODELS {
        assert_eq!(shape(file).n_parameters(), n_parameters, "{name}");
    }
}

/// A micro-batch holds one turn of one problem, with its four attempts.
const ONE_GROUP: &str = "stage.0.micro_batch_tokens=1280";

/// One cell of the GPU's table: what it takes, and the smallest GPU that has it.
fn on_gpu(experiment: &Experiment, model: &ModelShape, product_bytes: usize) -> String {
    let assumed = Assumed {
        product_bytes,
        ..AT_MOST
    };
    let memory = experiment.gpu_memory(model, &assumed);
    let smallest = [24.0, 80.0, 141.0]
        .into_iter()
        .find(|size| memory.fits(*size));
    let smallest = smallest.map_or("none".into(), |size| format!("{size} GB"));
    format!("{}: {smallest}", gibibytes(memory.total()))
}

/// The rows of both tables, as they stand on the page.
fn rows() -> Vec<String> {
    let of = |name: &str, more: &[&str]| experiment(name, &[&[ONE_GROUP], more].concat());
    let (all, lora) = ("smollm2-hotpotqa", "smollm2-hotpotqa-lora");
    let kept = "compute.activation_checkpointing=true";
    let no_kl = "stage.0.objective.kl={ estimator = \"none\" }";
    let on_gpus = [
        (of(all, &[]), 4),
        (of(all, &[no_kl]), 4),
        (of(lora, &[]), 4),
        (of(lora, &[]), 2),
    ];
    let on_cpus = [
        (of(all, &[]), 4),
        (of(all, &[kept]), 4),
        (of(lora, &[]), 4),
        (of(lora, &[kept]), 2),
    ];
    let row = |name: &str, cells: [String; 4]| format!("| {name} | {} |", cells.join(" | "));
    let of_gpu = MODELS.map(|(name, file, _)| {
        let cell =
            |(experiment, bytes): &(Experiment, usize)| on_gpu(experiment, &shape(file), *bytes);
        row(name, on_gpus.each_ref().map(cell))
    });
    let of_cpu = MODELS.map(|(name, file, _)| {
        let cell = |(experiment, product_bytes): &(Experiment, usize)| {
            let assumed = Assumed {
                product_bytes: *product_bytes,
                ..AT_MOST
            };
            gibibytes(experiment.plan(&shape(file), &assumed).memory.total())
        };
        row(name, on_cpus.each_ref().map(cell))
    });
    [of_gpu, of_cpu].concat()
}

#[test]
fn the_page_says_what_the_plans_compute() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/README.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = rows();
    let lines: Vec<&str> = page.lines().collect();
    let missing: Vec<&String> = rows
        .iter()
        .filter(|row| !lines.contains(&row.as_str()))
        .collect();
    assert!(missing.is_empty(), "not on the page:\n{missing:#?}");
    // And no row of a model beside them.
    let of_models = lines.iter().filter(|line| {
        MODELS
            .iter()
            .any(|(name, ..)| line.starts_with(&format!("| {name} ")))
    });
    assert_eq!(of_models.count(), rows.len());

    // What the page says of the paper's own settings.
    let paper = experiment("paper-tamtrl", &[]).gpu_memory(&shape("qwen3-0.6b"), &AT_MOST);
    let scores = format!("{:.0} GiB", paper.scores / f64::from(1 << 30));
    assert!(
        page.contains(&format!("Qwen3-0.6B would keep {scores} of them")),
        "{scores}"
    );
}

#[test]
fn the_small_models_files_stay_within_what_they_promise() {
    for name in ["smollm2-hotpotqa", "smollm2-hotpotqa-lora"] {
        let model = shape("smollm2-135m");
        for product_bytes in [2, 4] {
            let assumed = Assumed {
                product_bytes,
                ..AT_MOST
            };
            let plan = experiment(name, &[]).plan(&model, &assumed);
            let gib = plan.memory.total() / f64::from(1 << 30);
            assert!(gib < 7.0, "{name}: {gib} GiB of {:#?}", plan.memory);
            // At 50 billion multiply-adds a second, which two cores do with room to spare.
            let speeds = longhand_config::Speeds {
                many_rows: 5e10,
                few_rows: 2e10,
                bytes: 1e10,
            };
            let seconds = plan.stages[0].work.seconds(&speeds).total();
            assert!(seconds < 300.0, "{name}: {seconds} s");
        }
    }
    let lora = experiment("smollm2-hotpotqa-lora", &[]).plan(&shape("smollm2-135m"), &AT_MOST);
    // As the file's first lines say.
    assert_eq!(
        (lora.n_parameters, lora.n_trained),
        (134_515_008.0, 4_884_480.0)
    );
}
