//! What a program without the cargo feature `hub` says of repositories.

use std::path::PathBuf;

use crate::{Event, HubError, HubSettings, Repository};

/// Always [`HubError::NotBuilt`].
pub(crate) fn snapshot(
    repository: &Repository,
    _settings: impl FnOnce() -> Result<HubSettings, HubError>,
    _progress: &mut dyn FnMut(Event<'_>),
) -> Result<PathBuf, HubError> {
    Err(HubError::NotBuilt {
        arg: repository.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use crate::ModelArg;

    #[test]
    fn a_repository_is_an_error_that_says_how_to_build() {
        let arg: ModelArg = "hf:a/b@v1".parse().unwrap();
        let error = arg.folder(&mut |event| panic!("{event:?}")).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("`hf:a/b@v1`"), "{said}");
        assert!(
            said.contains("cargo build --release --features hub"),
            "{said}"
        );
        assert!(error.is_usage());
    }
}
