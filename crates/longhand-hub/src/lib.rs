//! Finds a model: a folder, or a repository on a model hub.
