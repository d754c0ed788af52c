//! How settings are written in a file: flat tables, and numbers that can be switched off.

use serde::{Deserialize, Serialize};

use crate::{ObjectiveError, PolicyLoss};

/// A policy loss as a flat table with a `kind`; [`TryFrom`] says whether it makes sense.
///
/// A flat struct rather than serde's tagged enum, which would forget where in the file a wrong value
/// stood.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "policy loss")]
pub(crate) struct PolicyLossTable {
    kind: Kind,
    clip_low: Option<f64>,
    clip_high: Option<f64>,
    // Not serde's own reading of an option, in which null means "left out".
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    dual_clip: Option<NumberOrNone>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    PpoClip,
    Gspo,
    Cispo,
}

pub(crate) fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NumberOrNone>, D::Error> {
    NumberOrNone::deserialize(deserializer).map(Some)
}

impl TryFrom<PolicyLossTable> for PolicyLoss {
    type Error = ObjectiveError;

    fn try_from(table: PolicyLossTable) -> Result<Self, ObjectiveError> {
        let PolicyLossTable {
            kind,
            clip_low,
            clip_high,
            dual_clip,
        } = table;
        let (usual_low, usual_high) = match kind {
            Kind::Gspo => PolicyLoss::GSPO_CLIP,
            Kind::PpoClip | Kind::Cispo => (PolicyLoss::DEFAULT_CLIP, PolicyLoss::DEFAULT_CLIP),
        };
        let clip_low = clip_low.unwrap_or(usual_low);
        let clip_high = clip_high.unwrap_or(usual_high);
        let policy_loss = match kind {
            Kind::PpoClip => PolicyLoss::PpoClip {
                clip_low,
                clip_high,
                dual_clip: dual_clip.map_or(Some(PolicyLoss::DEFAULT_DUAL_CLIP), |given| given.0),
            },
            Kind::Gspo => PolicyLoss::Gspo {
                clip_low,
                clip_high,
            },
            Kind::Cispo => PolicyLoss::Cispo {
                clip_low,
                clip_high,
            },
        };
        if dual_clip.is_some() && !matches!(policy_loss, PolicyLoss::PpoClip { .. }) {
            return Err(ObjectiveError::ForeignOption {
                option: "dual_clip",
                owner: "ppo-clip",
                policy_loss: policy_loss.name(),
            });
        }
        policy_loss.check()?;
        Ok(policy_loss)
    }
}

impl From<PolicyLoss> for PolicyLossTable {
    fn from(policy_loss: PolicyLoss) -> Self {
        let table = |kind, clip_low, clip_high, dual_clip| PolicyLossTable {
            kind,
            clip_low: Some(clip_low),
            clip_high: Some(clip_high),
            dual_clip,
        };
        match policy_loss {
            PolicyLoss::PpoClip {
                clip_low,
                clip_high,
                dual_clip,
            } => table(
                Kind::PpoClip,
                clip_low,
                clip_high,
                Some(NumberOrNone(dual_clip)),
            ),
            PolicyLoss::Gspo {
                clip_low,
                clip_high,
            } => table(Kind::Gspo, clip_low, clip_high, None),
            PolicyLoss::Cispo {
                clip_low,
                clip_high,
            } => table(Kind::Cispo, clip_low, clip_high, None),
        }
    }
}

/// A number or the word `"none"`, which also formats without a null can write.
///
/// Null reads as none too. Written as null or left out, "off" would come back from a TOML file as
/// the default.
#[derive(Clone, Copy)]
pub(crate) struct NumberOrNone(pub(crate) Option<f64>);

impl Serialize for NumberOrNone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number_or_none::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for NumberOrNone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_none::deserialize(deserializer).map(NumberOrNone)
    }
}

/// For `#[serde(with)]` on an `Option<f64>`: a number or `"none"`.
pub(crate) mod number_or_none {
    use std::fmt;

    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(number) => serializer.serialize_f64(*number),
            None => serializer.serialize_str("none"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        deserializer.deserialize_any(NumberOrNoneVisitor)
    }

    struct NumberOrNoneVisitor;

    impl Visitor<'_> for NumberOrNoneVisitor {
        type Value = Option<f64>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("a number or \"none\"")
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
            Ok(Some(number))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number as f64))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number as f64))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            if text == "none" {
                return Ok(None);
            }
            Err(E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
}
