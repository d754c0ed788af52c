//! Finds the first number of a record that JSON has no name for.
//!
//! JSON writers turn NaN and infinities into `null`, which a reader cannot tell from a value that
//! was never measured, and by then nobody knows where it came from. So every record is walked before
//! it is written: a number that is not finite, or a null, stops it with the place it was found at.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;
use serde::ser::{self, Serializer};

/// What a record must not hold, and where it does.
#[derive(Debug, PartialEq)]
pub(crate) struct Gap {
    /// The place, as in `turns[3].reward`.
    pub(crate) key: String,
    /// The number, or nothing for a null.
    pub(crate) value: Option<f64>,
}

/// The first gap of `record`, in the order in which it would be written.
///
/// What JSON cannot express for other reasons is left for its writer to report.
pub(crate) fn first_gap(record: &impl Serialize) -> Option<Gap> {
    walk(record, false)
}

/// The first number of `record` that is not finite; nulls are fine.
///
/// For what is read back into the type it was written from, where a null is a `None` again.
pub(crate) fn first_non_finite(record: &impl Serialize) -> Option<Gap> {
    walk(record, true)
}

fn walk(record: &impl Serialize, nulls_are_fine: bool) -> Option<Gap> {
    let mut walker = Walker {
        path: Vec::new(),
        nulls_are_fine,
    };
    match record.serialize(&mut walker) {
        Err(Stop::Gap(value)) => Some(Gap {
            key: walker.key(),
            value,
        }),
        Ok(()) | Err(Stop::Other) => None,
    }
}

enum Step {
    Key(String),
    Index(usize),
}

/// Where the walk is. The path is left as it stands when the walk stops.
struct Walker {
    path: Vec<Step>,
    nulls_are_fine: bool,
}

impl Walker {
    fn key(&self) -> String {
        let mut key = String::new();
        for step in &self.path {
            match step {
                Step::Key(name) if key.is_empty() => key.push_str(name),
                Step::Key(name) => {
                    key.push('.');
                    key.push_str(name);
                }
                Step::Index(idx) => {
                    // Writing into a string cannot fail.
                    let _ = write!(key, "[{idx}]");
                }
            }
        }
        key
    }

    fn enter(&mut self, step: Step, value: &(impl Serialize + ?Sized)) -> Result<(), Stop> {
        self.path.push(step);
        value.serialize(&mut *self)?;
        self.path.pop();
        Ok(())
    }

    fn null(&self) -> Result<(), Stop> {
        if self.nulls_are_fine {
            Ok(())
        } else {
            Err(Stop::Gap(None))
        }
    }

    fn number(value: f64) -> Result<(), Stop> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(Stop::Gap(Some(value)))
        }
    }
}

#[derive(Debug)]
enum Stop {
    Gap(Option<f64>),
    Other,
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the walk stopped")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: Display>(_: T) -> Self {
        Stop::Other
    }
}

/// Values that are always fine.
macro_rules! fine {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<(), Stop> {
            Ok(())
        })*
    };
}

impl<'a> Serializer for &'a mut Walker {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    fine! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_i128(i128), serialize_u8(u8), serialize_u16(u16),
        serialize_u32(u32), serialize_u64(u64), serialize_u128(u128), serialize_char(char),
        serialize_str(&str), serialize_bytes(&[u8]),
    }

    fn serialize_f32(self, value: f32) -> Result<(), Stop> {
        Walker::number(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stop> {
        Walker::number(value)
    }

    fn serialize_none(self) -> Result<(), Stop> {
        self.null()
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Stop> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &str, _: u32, _: &str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.enter(Step::Key(variant.to_owned()), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of(self))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of(self))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of_variant(self, variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of(self))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Stop> {
        Ok(Parts::of_variant(self, variant))
    }
}

/// The parts of a list, a map or a struct, one after the other.
struct Parts<'a> {
    walker: &'a mut Walker,
    /// Length of the path at which this value's own place ends, once it is left.
    depth: usize,
    next_idx: usize,
    key: String,
}

impl<'a> Parts<'a> {
    fn of(walker: &'a mut Walker) -> Self {
        Parts {
            depth: walker.path.len(),
            walker,
            next_idx: 0,
            key: String::new(),
        }
    }

    fn of_variant(walker: &'a mut Walker, variant: &str) -> Self {
        let depth = walker.path.len();
        walker.path.push(Step::Key(variant.to_owned()));
        Parts {
            depth,
            ..Parts::of(walker)
        }
    }

    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stop> {
        let idx = self.next_idx;
        self.next_idx += 1;
        self.walker.enter(Step::Index(idx), value)
    }

    fn field(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Stop> {
        self.walker.enter(Step::Key(key.to_owned()), value)
    }

    fn finish(self) {
        self.walker.path.truncate(self.depth);
    }
}

/// The traits of lists differ in one method's name, and so do those of structs.
macro_rules! parts {
    (list: $($list:ident :: $element:ident),*; record: $($record:ident),* $(,)?) => {
        $(impl ser::$list for Parts<'_> {
            type Ok = ();
            type Error = Stop;

            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.element(value)
            }

            fn end(self) -> Result<(), Stop> {
                self.finish();
                Ok(())
            }
        })*
        $(impl ser::$record for Parts<'_> {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Stop> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), Stop> {
                self.finish();
                Ok(())
            }
        })*
    };
}

parts! {
    list:
        SerializeSeq::serialize_element,
        SerializeTuple::serialize_element,
        SerializeTupleStruct::serialize_field,
        SerializeTupleVariant::serialize_field;
    record: SerializeStruct, SerializeStructVariant,
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        let key = serde_json::to_value(key).map_err(|_| Stop::Other)?;
        self.key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        let key = std::mem::take(&mut self.key);
        self.field(&key, value)
    }

    fn end(self) -> Result<(), Stop> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Record {
        step: u32,
        pairs: Vec<(f32, Option<f64>)>,
        by_length: BTreeMap<u32, f64>,
        kind: Kind,
    }

    #[derive(Serialize)]
    enum Kind {
        Nothing,
        One(f64),
        Two(f64, f64),
        Named { loss: f64 },
    }

    fn record() -> Record {
        Record {
            step: 3,
            pairs: vec![(0.5, Some(1.0)), (-2.0, Some(f64::MAX))],
            by_length: BTreeMap::from([(1024, 0.25)]),
            kind: Kind::Nothing,
        }
    }

    fn check(record: &impl Serialize, key: &str, value: impl Display) {
        let gap = first_gap(record).expect("a gap");
        let found = gap
            .value
            .map_or("null".to_owned(), |value| value.to_string());
        assert_eq!((gap.key.as_str(), found), (key, value.to_string()));
    }

    #[test]
    fn a_finite_record_has_no_gap() {
        assert_eq!(first_gap(&record()), None);
        assert_eq!(
            first_gap(&json!({"text": "null", "list": [], "yes": true})),
            None
        );
    }

    #[test]
    fn the_place_is_named() {
        let mut bad = record();
        bad.pairs[1].0 = f32::NEG_INFINITY;
        check(&bad, "pairs[1][0]", "-inf");
        bad.pairs[0].1 = None;
        check(&bad, "pairs[0][1]", "null");
        let by_length = BTreeMap::from([(1024, 0.25), (2048, f64::NAN)]);
        check(
            &Record {
                by_length,
                ..record()
            },
            "by_length.2048",
            "NaN",
        );
    }

    #[test]
    fn variants_are_walked_and_left_again() {
        let kinds = |last| {
            vec![
                Kind::One(1.0),
                Kind::Two(1.0, 2.0),
                Kind::Named { loss: 0.0 },
                last,
            ]
        };
        check(&kinds(Kind::One(f64::INFINITY)), "[3].One", "inf");
        check(&kinds(Kind::Two(1.0, f64::NAN)), "[3].Two[1]", "NaN");
        check(
            &kinds(Kind::Named { loss: f64::NAN }),
            "[3].Named.loss",
            "NaN",
        );
    }

    #[test]
    fn the_null_that_a_macro_made_of_nan_is_found() {
        check(
            &json!({"step": 1, "phase": {"kl": f64::NAN}}),
            "phase.kl",
            "null",
        );
    }
}
