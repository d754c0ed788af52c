//! Finds a model: a folder, or a repository on a model hub.
//!
//! `ModelArg` is what a user writes where a model is wanted. [`ModelArg::folder`] is where its files
//! lie: the folder itself, or the snapshot of `hf:owner/name[@rev]` in the cache that other tools share,
//! downloaded where it must be. Only files that Longhand reads are downloaded: JSON, a Jinja template and
//! safetensors, never pickles or programs.
//!
//! Without the cargo feature `hub`, which is off by default, folders work and repositories are an error
//! that says how to build with it. Knows nothing of what the files say, except that an index names files.

mod error;
mod event;
mod model_arg;
mod settings;

// The one place that asks for the feature.
#[cfg_attr(not(feature = "hub"), path = "without_hub.rs")]
mod hub;

pub use error::HubError;
pub use event::Event;
pub use model_arg::{ModelArg, Repository};
pub use settings::HubSettings;
