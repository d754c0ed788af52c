//! Where the cache lies, which hub is asked, and as whom.

use std::{
    env::{self, home_dir},
    ffi::OsString,
    fmt, fs,
    path::PathBuf,
    time::Duration,
};

use crate::HubError;

/// How the hub and its cache are reached.
#[derive(Clone)]
pub struct HubSettings {
    /// The cache of repositories, in the layout that Hugging Face's tools share.
    pub cache: PathBuf,
    /// The hub's address; the usual hub where there is none.
    pub endpoint: Option<String>,
    /// Who asks. Sent to the endpoint alone, never to where it redirects.
    pub token: Option<String>,
    /// Whether the network is not to be used at all.
    pub is_offline: bool,
    /// How long a connection may take to be made, and may be silent.
    pub patience: Duration,
    /// The pause before the first retry; later ones are longer.
    pub retry_pause: Duration,
}

impl HubSettings {
    /// The settings of the environment.
    ///
    /// The cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `huggingface/hub` in `XDG_CACHE_HOME`, or in
    /// `.cache` of the home folder. The token: `HF_TOKEN`, or the file that `HF_TOKEN_PATH` names, or
    /// `token` beside the cache. The endpoint: `HF_ENDPOINT`. Empty variables count as not set.
    ///
    /// # Errors
    ///
    /// [`HubError::NoCache`] where nothing says where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(&|name| env::var_os(name), home_dir())
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Option<OsString>,
        user_home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let path = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let user_cache = || {
            let cache = path("XDG_CACHE_HOME");
            cache.or_else(|| user_home.map(|home| home.join(".cache")))
        };
        let home = path("HF_HOME").or_else(|| user_cache().map(|cache| cache.join("huggingface")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let from_file = || {
            let file = path("HF_TOKEN_PATH").or_else(|| in_home("token"))?;
            let token = fs::read_to_string(file).ok()?.trim().to_owned();
            Some(token).filter(|token| !token.is_empty())
        };
        let offline = text("HF_HUB_OFFLINE").map(|value| value.to_ascii_lowercase());
        Ok(Self {
            cache: path("HF_HUB_CACHE")
                .or_else(|| in_home("hub"))
                .ok_or(HubError::NoCache)?,
            endpoint: text("HF_ENDPOINT"),
            token: text("HF_TOKEN").or_else(from_file),
            is_offline: offline
                .is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.as_str())),
            patience: Duration::from_secs(30),
            retry_pause: Duration::from_millis(500),
        })
    }
}

impl fmt::Debug for HubSettings {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .field("is_offline", &self.is_offline)
            .field("patience", &self.patience)
            .field("retry_pause", &self.retry_pause)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)], home: Option<&str>) -> Result<HubSettings, HubError> {
        let of = |name: &str| variables.iter().find(|(key, _)| *key == name);
        HubSettings::from_variables(
            &|name| of(name).map(|(_, value)| (*value).into()),
            home.map(PathBuf::from),
        )
    }

    fn check_cache(variables: &[(&str, &str)], expected: &str) {
        let found = settings(variables, Some("/home/u")).unwrap();
        assert_eq!(found.cache, PathBuf::from(expected), "{variables:?}");
    }

    #[test]
    fn the_cache_is_where_other_tools_have_it() {
        check_cache(&[], "/home/u/.cache/huggingface/hub");
        check_cache(&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub");
        check_cache(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/h/hub");
        check_cache(&[("HF_HUB_CACHE", "/k"), ("HF_HOME", "/h")], "/k");
        check_cache(&[("HF_HOME", "")], "/home/u/.cache/huggingface/hub");
    }

    #[test]
    fn no_home_is_an_error_that_says_what_to_set() {
        let error = settings(&[], None).unwrap_err();
        assert!(error.to_string().contains("HF_HOME"), "{error}");
        assert!(settings(&[("HF_HUB_CACHE", "/k")], None).is_ok());
    }

    #[test]
    fn the_token_is_a_variable_or_a_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "from-home\n").unwrap();
        fs::write(folder.path().join("other"), " from-file ").unwrap();
        let home = folder.path().to_str().unwrap();
        let other = folder.path().join("other");
        let other = other.to_str().unwrap();
        let token = |variables: &[(&str, &str)]| settings(variables, None).unwrap().token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("from-home"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN_PATH", other)]).as_deref(),
            Some("from-file")
        );
        let all = [
            ("HF_HOME", home),
            ("HF_TOKEN_PATH", other),
            ("HF_TOKEN", "secret "),
        ];
        assert_eq!(token(&all).as_deref(), Some("secret"));
        assert!(!format!("{:?}", settings(&all, None).unwrap()).contains("secret"));
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
    }

    #[test]
    fn the_network_is_off_where_a_variable_says_so() {
        let is_offline = |value| {
            settings(&[("HF_HUB_OFFLINE", value)], Some("/h"))
                .unwrap()
                .is_offline
        };
        assert!(is_offline("1") && is_offline("TRUE"));
        assert!(!is_offline("0") && !is_offline(""));
    }
}
