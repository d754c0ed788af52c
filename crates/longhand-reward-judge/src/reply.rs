//! One line of a judge's output, read strictly.

use serde::Deserialize;
use serde_json::Value;

/// A well-formed reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The request that is answered.
    pub id: u64,
    /// The reward, finite and within `[0, 1]`, or why the program has none.
    pub reward: Result<f64, String>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// Not one JSON object, or a field stands in it twice.
    #[error("is no JSON object: {0}")]
    NotAnObject(String),
    /// `id` is absent or no whole number of at least 0.
    #[error("has no `id` that is a whole number")]
    NoId,
    /// Neither `reward` nor `error`.
    #[error("has neither `reward` nor `error`")]
    NoReward {
        /// The request that is answered.
        id: u64,
    },
    /// Both `reward` and `error`.
    #[error("has both `reward` and `error`")]
    Both {
        /// The request that is answered.
        id: u64,
    },
    /// `reward` is no number.
    #[error("has the reward {found}, which is no number")]
    NotANumber {
        /// The request that is answered.
        id: u64,
        /// The field as JSON.
        found: String,
    },
    /// `reward` is outside `[0, 1]`.
    #[error("has the reward {found}, which is not within 0 and 1")]
    Outside {
        /// The request that is answered.
        id: u64,
        /// The field's value.
        found: f64,
    },
    /// `error` is no text.
    #[error("has an `error` that is no text")]
    ErrorIsNoText {
        /// The request that is answered.
        id: u64,
    },
}

impl ReplyError {
    /// The request that the line answers, where that could be read.
    pub fn id(&self) -> Option<u64> {
        match self {
            ReplyError::NotAnObject(_) | ReplyError::NoId => None,
            ReplyError::NoReward { id }
            | ReplyError::Both { id }
            | ReplyError::NotANumber { id, .. }
            | ReplyError::Outside { id, .. }
            | ReplyError::ErrorIsNoText { id } => Some(*id),
        }
    }
}

/// The fields that are looked at; `null` is the same as absent.
#[derive(Deserialize)]
struct Fields {
    id: Option<Value>,
    reward: Option<Value>,
    error: Option<Value>,
}

/// Reads one line, with or without its line break.
///
/// ```
/// use longhand_reward_judge::parse_reply;
/// assert_eq!(parse_reply(br#"{"id": 17, "reward": 0.5}"#).unwrap().reward, Ok(0.5));
/// assert!(parse_reply(br#"{"id": 17, "reward": NaN}"#).is_err());
/// ```
///
/// # Errors
/// When the line is not exactly a reply: see [`ReplyError`].
pub fn parse_reply(line: &[u8]) -> Result<Reply, ReplyError> {
    let text = str::from_utf8(line).map_err(|error| ReplyError::NotAnObject(error.to_string()))?;
    // Serde would also fill the fields from an array, in their order.
    if !text.trim_start().starts_with('{') {
        return Err(ReplyError::NotAnObject("it does not begin with `{`".into()));
    }
    let Fields { id, reward, error } =
        serde_json::from_str(text).map_err(|error| ReplyError::NotAnObject(error.to_string()))?;
    let id = id.and_then(|id| id.as_u64()).ok_or(ReplyError::NoId)?;
    let reward = match (reward, error) {
        (None, None) => return Err(ReplyError::NoReward { id }),
        (Some(_), Some(_)) => return Err(ReplyError::Both { id }),
        (None, Some(Value::String(why))) => Err(why),
        (None, Some(_)) => return Err(ReplyError::ErrorIsNoText { id }),
        (Some(reward), None) => {
            let Some(found) = reward.as_f64() else {
                let found = reward.to_string();
                return Err(ReplyError::NotANumber { id, found });
            };
            if !(0.0..=1.0).contains(&found) {
                return Err(ReplyError::Outside { id, found });
            }
            // Adding 0 turns -0 into 0.
            Ok(found + 0.0)
        }
    };
    Ok(Reply { id, reward })
}

#[cfg(test)]
mod tests {
    use super::{Reply, ReplyError, parse_reply};
    use proptest::prelude::*;

    #[track_caller]
    fn check(line: &str, expected: Result<f64, &str>) {
        let expected = Reply {
            id: 17,
            reward: expected.map_err(str::to_owned),
        };
        assert_eq!(parse_reply(line.as_bytes()), Ok(expected), "{line}");
    }

    #[track_caller]
    fn check_bad(line: impl AsRef<[u8]>, expected: &str) {
        let line = line.as_ref();
        let error = parse_reply(line).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "{:?}: {error}",
            line.escape_ascii()
        );
    }

    #[test]
    fn rewards_and_errors_are_read_and_other_fields_are_passed_over() {
        check(r#"{"id":17,"reward":0.5}"#, Ok(0.5));
        check(r#"{"reward":1,"id":17}"#, Ok(1.0));
        check(" {\"id\": 17, \"reward\": 0}\r\n", Ok(0.0));
        check(
            r#"{"id":17,"reward":0.25,"error":null,"cost":[1,{"x":2}]}"#,
            Ok(0.25),
        );
        check(
            r#"{"id":17,"reward":null,"error":"no \"model\""}"#,
            Err("no \"model\""),
        );
        check(r#"{"id":17,"error":""}"#, Err(""));
    }

    #[test]
    fn minus_zero_is_zero() {
        let reply = parse_reply(br#"{"id":1,"reward":-0.0}"#).unwrap();
        assert!(reply.reward.unwrap().is_sign_positive());
    }

    #[test]
    fn what_is_no_object_is_no_reply() {
        check_bad("", "no JSON object");
        check_bad("hello", "no JSON object");
        check_bad(r#"{"id":17,"reward":0."#, "no JSON object");
        check_bad(r#"{"id":17,"reward":0.5} {}"#, "no JSON object");
        check_bad(r#"[17,0.5,null]"#, "no JSON object");
        check_bad(b"{\"id\":17,\"reward\":0.5,\"x\":\"\xff\"}", "utf-8");
        check_bad(
            r#"{"id":17,"reward":0.5,"reward":1}"#,
            "duplicate field `reward`",
        );
        for text in ["NaN", "Infinity", "-Infinity", "1e999", "+1", ".5"] {
            check_bad(format!("{{\"id\":17,\"reward\":{text}}}"), "no JSON object");
        }
    }

    #[test]
    fn an_id_is_a_whole_number() {
        for id in [
            "",
            "\"id\":null,",
            "\"id\":\"17\",",
            "\"id\":-1,",
            "\"id\":1.5,",
        ] {
            check_bad(format!("{{{id}\"reward\":1}}"), "has no `id`");
        }
    }

    #[test]
    fn a_reward_is_a_number_from_0_to_1() {
        check_bad(r#"{"id":17}"#, "neither");
        check_bad(r#"{"id":17,"reward":null}"#, "neither");
        check_bad(r#"{"id":17,"reward":1,"error":"x"}"#, "both");
        check_bad(r#"{"id":17,"reward":"NaN"}"#, "\"NaN\", which is no number");
        check_bad(r#"{"id":17,"reward":"0.5"}"#, "no number");
        check_bad(r#"{"id":17,"reward":true}"#, "true, which is no number");
        check_bad(r#"{"id":17,"reward":1.001}"#, "1.001, which is not within");
        check_bad(r#"{"id":17,"reward":-1e-9}"#, "not within 0 and 1");
        check_bad(r#"{"id":17,"reward":1e300}"#, "not within 0 and 1");
        check_bad(r#"{"id":17,"error":{"code":3}}"#, "no text");
    }

    #[test]
    fn an_error_names_the_request_when_it_can() {
        let id = |line: &str| parse_reply(line.as_bytes()).unwrap_err().id();
        assert_eq!(id("{}"), None);
        assert_eq!(id("{"), None);
        assert_eq!(id(r#"{"id":5}"#), Some(5));
        assert_eq!(id(r#"{"id":5,"reward":2}"#), Some(5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(parse_reply(&line).ok(), None);
        }

        #[test]
        fn a_reward_is_read_exactly_when_it_is_within_bounds(id: u64, reward in -2.0_f64..3.0) {
            let line = format!(r#"{{"id":{id},"reward":{reward:?}}}"#);
            match parse_reply(line.as_bytes()) {
                Ok(reply) => {
                    prop_assert!((0.0..=1.0).contains(&reward));
                    prop_assert_eq!(reply.id, id);
                    prop_assert_eq!(reply.reward, Ok(reward));
                }
                Err(error) => {
                    prop_assert!(!(0.0..=1.0).contains(&reward));
                    prop_assert_eq!(error, ReplyError::Outside { id, found: reward });
                }
            }
        }

        #[test]
        fn a_cut_reply_is_no_reply(id: u64, reward in 0.0_f64..1.0, cut in 0_usize..200) {
            let line = format!(r#"{{"id":{id},"reward":{reward:?}}}"#);
            let cut = cut % line.len();
            prop_assert!(parse_reply(&line.as_bytes()[..cut]).is_err());
        }
    }
}
