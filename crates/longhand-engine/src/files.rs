//! Model folders in Hugging Face layout: weights in safetensors files, adapters as PEFT keeps them.
//!
//! A file's header is read and held against the file's length before anything else; numbers are read a
//! piece at a time into their place, so that beside the result there is never more than a piece. Files are
//! not mapped into memory: one that is cut off while it is mapped (by a download that starts again, by a
//! disk that is taken away) kills the process at the next look at it, and no error can be reported.
//!
//! What is read was written by others: whatever is in it, the answer comes soon, takes little memory, and
//! is an error where the file is not what it says.

mod adapter_config;
mod adapter_error;
mod adapter_files;
mod error;
mod header;
mod model_files;
mod model_weights;
mod numbers;
mod tensor_file;
mod tensor_writer;

pub use adapter_config::AdapterConfig;
pub use adapter_error::{AdapterConfigError, AdapterError};
pub use adapter_files::{
    AdapterFile, AdapterNote, load_adapter, read_adapter_config, save_adapter,
};
pub use error::WeightsError;
pub use header::TensorInfo;
pub use model_files::ModelFiles;
pub use model_weights::{SaveOptions, load_weights, save_weights};
pub use numbers::{NumberType, Numbers};
pub use tensor_file::TensorFile;
pub use tensor_writer::{Tensor, save_tensors};
