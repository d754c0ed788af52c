//! The name of a model as a user writes it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{Event, HubError, HubSettings, hub};

/// Where a model is: a folder, or a repository on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelArg {
    /// A folder on this machine, there or not.
    Folder(PathBuf),
    /// `hf:owner/name[@rev]`.
    Repository(Repository),
}

/// A repository of the hub and one of its revisions, both of which are safe as parts of a path and of an
/// address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    id: String,
    revision: Option<String>,
}

impl ModelArg {
    /// Reads an argument of the command line, which need not be text.
    ///
    /// Whatever begins with `hf:` is a repository; a folder of such a name is written `./hf:...`.
    ///
    /// # Errors
    ///
    /// [`HubError::BadName`] for `hf:` with something else than a repository behind it.
    pub fn of_path(path: &Path) -> Result<Self, HubError> {
        match path.to_str().and_then(|text| text.strip_prefix("hf:")) {
            Some(name) => Repository::parse(name).map(Self::Repository),
            None => Ok(Self::Folder(path.to_owned())),
        }
    }

    /// The folder with the model's files.
    ///
    /// A folder is given back as it is, there or not. A repository is looked up in the cache and on the
    /// hub, as the environment says: `HF_HOME` or `HF_HUB_CACHE` (where the cache lies), `HF_TOKEN`,
    /// `HF_ENDPOINT` (another hub), `HF_HUB_OFFLINE`. A branch or tag is looked up anew each time; where
    /// the hub cannot be reached, the snapshot in the cache is used if it is whole. A commit that is
    /// whole in the cache needs no network.
    ///
    /// # Errors
    ///
    /// [`HubError`]; without the cargo feature `hub` every repository is [`HubError::NotBuilt`].
    pub fn folder(&self, progress: &mut dyn FnMut(Event<'_>)) -> Result<PathBuf, HubError> {
        match self {
            Self::Folder(folder) => Ok(folder.clone()),
            Self::Repository(repository) => {
                hub::snapshot(repository, HubSettings::from_env, progress)
            }
        }
    }

    /// [`ModelArg::folder`] with settings in place of the environment.
    ///
    /// # Errors
    ///
    /// As [`ModelArg::folder`].
    pub fn folder_with(
        &self,
        settings: &HubSettings,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, HubError> {
        match self {
            Self::Folder(folder) => Ok(folder.clone()),
            Self::Repository(repository) => {
                hub::snapshot(repository, || Ok(settings.clone()), progress)
            }
        }
    }
}

impl FromStr for ModelArg {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        Self::of_path(Path::new(text))
    }
}

impl fmt::Display for ModelArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Repository(repository) => repository.fmt(f),
        }
    }
}

impl Repository {
    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A branch, a tag or a commit; `main` where none is given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    fn parse(text: &str) -> Result<Self, HubError> {
        let bad = |reason: String| HubError::BadName {
            arg: format!("hf:{text}"),
            reason,
        };
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let Some((owner, name)) = id.split_once('/') else {
            return Err(bad("a repository is an owner, a slash and a name".into()));
        };
        if name.contains('/') {
            return Err(bad("it has more than one slash before the revision".into()));
        }
        check_name("owner", owner).map_err(bad)?;
        check_name("name", name).map_err(bad)?;
        if 96 < id.len() {
            return Err(bad("it is longer than 96 characters".into()));
        }
        if let Some(revision) = revision {
            check_revision(revision).map_err(bad)?;
        }
        Ok(Self {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.id)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Refuses what the hub refuses. `--` stands for the slash in the names of the cache's folders.
fn check_name(part: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("its {part} is empty"));
    }
    check_characters(part, name, "-_.")?;
    if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
        return Err(format!("its {part} begins or ends with `-` or `.`"));
    }
    if name.contains("--") || name.contains("..") {
        return Err(format!("its {part} has `--` or `..`"));
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<(), String> {
    check_characters("revision", revision, "-_./+")?;
    let is_wrong = |part: &str| part.is_empty() || part.starts_with(['-', '.']);
    if revision.split('/').any(is_wrong) || revision.contains("..") {
        return Err(
            "its revision is empty, or a part of it is empty or begins with `-` or `.`, or it has `..`"
                .into(),
        );
    }
    if 200 < revision.len() {
        return Err("its revision is longer than 200 characters".into());
    }
    Ok(())
}

fn check_characters(part: &str, text: &str, others: &str) -> Result<(), String> {
    let is_wrong = |c: &char| !(c.is_ascii_alphanumeric() || others.contains(*c));
    match text.chars().find(is_wrong) {
        Some(c) => Err(format!("its {part} has the character {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        match (text.parse::<ModelArg>(), expected) {
            (Ok(ModelArg::Repository(found)), Ok((id, revision))) => {
                assert_eq!((found.id(), found.revision()), (id, revision));
                assert_eq!(ModelArg::Repository(found).to_string(), text);
            }
            (Err(error), Err(reason)) => {
                let said = error.to_string();
                assert!(said.contains(reason), "{said}");
                assert!(
                    said.contains("expected a folder, or hf:owner/name"),
                    "{said}"
                );
                assert!(error.is_usage());
            }
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn repositories_are_read() {
        check("hf:owner/name", Ok(("owner/name", "main")));
        check("hf:a/Qwen2.5-0.5B_x", Ok(("a/Qwen2.5-0.5B_x", "main")));
        check("hf:a/b@v1.0", Ok(("a/b", "v1.0")));
        check("hf:a/b@refs/pr/3", Ok(("a/b", "refs/pr/3")));
    }

    #[test]
    fn what_is_no_repository_is_refused_with_the_reason() {
        check("hf:", Err("an owner, a slash and a name"));
        check("hf:name", Err("an owner, a slash and a name"));
        check("hf:/name", Err("owner is empty"));
        check("hf:owner/", Err("name is empty"));
        check("hf:a/b/c", Err("more than one slash"));
        check("hf://a/b", Err("more than one slash"));
        check("hf:../b", Err("owner begins or ends"));
        check("hf:a/..", Err("name begins or ends"));
        check("hf:a/b..c", Err("`..`"));
        check("hf:a--b/c", Err("`--`"));
        check("hf:a/b c", Err("' '"));
        check("hf:a/b?x", Err("'?'"));
        check("hf:a/b%2F", Err("'%'"));
        check("hf:a\\b/c", Err("'\\\\'"));
        check("hf:a/b@", Err("revision is empty"));
        check("hf:a/b@../../x", Err("begins with `-` or `.`"));
        check("hf:a/b@/etc", Err("a part of it is empty"));
        check("hf:a/b@x@y", Err("'@'"));
        check("hf:a/b@x\n", Err("'\\n'"));
        check(&format!("hf:a/{}", "b".repeat(95)), Err("longer than 96"));
        check(
            &format!("hf:a/b@{}", "b".repeat(201)),
            Err("longer than 200"),
        );
    }

    #[test]
    fn a_folder_is_given_back_as_it_is() {
        for text in [
            "models/x",
            "./hf:a/b",
            "/x/../y",
            "owner/name",
            "HF:a/b",
            "",
        ] {
            let arg: ModelArg = text.parse().unwrap();
            assert_eq!(arg, ModelArg::Folder(text.into()));
            assert_eq!(arg.to_string(), text);
            let folder = arg.folder(&mut |event| panic!("{event:?}")).unwrap();
            assert_eq!(folder, Path::new(text));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt as _;

        let path = Path::new(std::ffi::OsStr::from_bytes(b"hf:a/\xff"));
        assert_eq!(
            ModelArg::of_path(path).unwrap(),
            ModelArg::Folder(path.to_owned())
        );
    }

    proptest! {
        /// Whatever is accepted stays inside the folder that it is joined to.
        #[test]
        fn accepted_names_have_no_path_tricks(text in "hf:[a-c./@~\\\\-]{0,12}") {
            if let Ok(ModelArg::Repository(found)) = text.parse() {
                let names = found.id().split('/').chain(found.revision().split('/'));
                for name in names {
                    let parts: Vec<_> = Path::new(name).components().collect();
                    prop_assert_eq!(parts, [std::path::Component::Normal(name.as_ref())]);
                }
            }
        }
    }
}
