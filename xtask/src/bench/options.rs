//! The arguments of `cargo xtask bench`.

use std::path::PathBuf;

use super::cases;

/// What one call measures, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Measure what others use as well, turn by turn.
    pub peers: bool,
    /// The small cases only, once each, kept apart from the results of the repository.
    pub quick: bool,
    /// Threads of every program; at least 1.
    pub n_threads: usize,
    /// Processes per row; at least 1.
    pub n_repetitions: usize,
    /// A built `longhand` to measure instead of the one that cargo builds.
    pub program: Option<PathBuf>,
    /// Names of the sets to measure; all where empty.
    pub sets: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            peers: false,
            quick: false,
            n_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n_repetitions: 3,
            program: None,
            sets: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the words after `bench`.
    ///
    /// # Errors
    ///
    /// A word that is neither an option nor the name of a set, or a count that is not at least 1.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut n_repetitions = None;
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--peers" => options.peers = true,
                "--quick" => options.quick = true,
                "--threads" => options.n_threads = count(word, words.next())?,
                "--repetitions" => n_repetitions = Some(count(word, words.next())?),
                "--program" => {
                    let path = words.next().ok_or("`--program` needs a path")?;
                    options.program = Some(PathBuf::from(path));
                }
                name if cases::set_names().contains(&name) => options.sets.push(name.to_owned()),
                unknown => {
                    return Err(format!(
                        "`bench` knows no option or set `{unknown}`; the sets are {}",
                        cases::set_names().join(", ")
                    ));
                }
            }
        }
        options.n_repetitions = n_repetitions.unwrap_or(if options.quick {
            1
        } else {
            options.n_repetitions
        });
        Ok(options)
    }

    /// Whether the set called `name` is measured.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|set| set == name)
    }
}

fn count(option: &str, word: Option<&&str>) -> Result<usize, String> {
    word.and_then(|word| word.parse().ok())
        .filter(|count| *count != 0)
        .ok_or_else(|| format!("`{option}` needs a number of at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_everything_of_ours() {
        let options = Options::parse(&[]).expect("valid");
        assert_eq!(options, Options::default());
        assert!(cases::set_names().iter().all(|name| options.includes(name)));
        assert!(!options.peers && !options.quick);
    }

    #[test]
    fn every_option_is_read() {
        let words = [
            "--peers",
            "decode",
            "--threads",
            "3",
            "--repetitions",
            "5",
            "--program",
            "a/b",
        ];
        let options = Options::parse(&words).expect("valid");
        assert!(options.peers);
        assert_eq!((options.n_threads, options.n_repetitions), (3, 5));
        assert_eq!(options.program, Some(PathBuf::from("a/b")));
        assert!(options.includes("decode") && !options.includes("step"));
    }

    #[test]
    fn quick_is_one_repetition_unless_more_are_asked_for() {
        let repetitions = |words: &[&str]| Options::parse(words).map(|o| o.n_repetitions);
        assert_eq!(repetitions(&["--quick"]), Ok(1));
        assert_eq!(repetitions(&["--quick", "--repetitions", "2"]), Ok(2));
        assert_eq!(repetitions(&["--repetitions", "2", "--quick"]), Ok(2));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--pers"][..],
            &["no-such-set"],
            &["--threads"],
            &["--threads", "0"],
            &["--threads", "two"],
            &["--repetitions", "-1"],
            &["--program"],
        ] {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }
}
