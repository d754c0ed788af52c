//! Turns a GGUF file into a model in Hugging Face layout.
//!
//! ```text
//! FILE.gguf   Gguf::open: header, keys, places of the tensors; everything counted before it is believed
//!   keys      config.json, generation_config.json, tokenizer.json, tokenizer_config.json
//!   tensors   dequantised a few rows at a time into model.safetensors
//! ```
//!
//! Reads versions 2 and 3, little-endian, of the architectures `llama`, `qwen2` and `qwen3`. A file may
//! be hostile: no count in it is believed before it is held against the bytes that are left, so that an
//! error costs little time and memory.
//!
//! Knows nothing of engines and of other crates: a file goes in, a folder comes out.

mod byte_reader;
mod dequantise;
mod error;
mod gguf;
mod import;
mod metadata;
mod model_config;
mod pre_tokenizer;
mod tensor_plan;
mod tensor_type;
mod tokenizer;
mod weights_file;

pub use dequantise::dequantise;
pub use error::GgufError;
pub use gguf::{Gguf, TensorPlace};
pub use import::{ImportOptions, Imported, import};
pub use metadata::{Metadata, Value};
pub use tensor_type::TensorType;
pub use weights_file::Storage;
