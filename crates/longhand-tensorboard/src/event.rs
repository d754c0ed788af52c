//! The messages of an event file, as far as they are written here.
//!
//! Names and numbers of fields are those of TensorBoard's `event.proto`, `summary.proto` and
//! `tensor.proto`. A scalar is a `simple_value`: TensorBoard turns it into a tensor when it reads it.

use prost::Message;

/// What the first event of a file says.
const FILE_VERSION: &str = "brain.Event:2";

/// `DataType.DT_STRING`.
const DT_STRING: i32 = 7;

/// One record of an event file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(crate) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(crate) step: i64,
    /// Of the first event only.
    #[prost(string, optional, tag = "3")]
    pub(crate) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) summary: Option<Summary>,
}

/// Values of one step.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) value: Vec<Value>,
}

/// One value: a number or a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    pub(crate) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    pub(crate) metadata: Option<Metadata>,
}

/// Strings of a shape.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) tensor_shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) string_val: Vec<Vec<u8>>,
}

/// No dimensions: one element.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {}

/// How to show a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) plugin_data: Option<PluginData>,
}

/// Which part of TensorBoard shows it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PluginData {
    #[prost(string, tag = "1")]
    pub(crate) plugin_name: String,
}

impl Event {
    pub(crate) fn version(wall_time: f64) -> Self {
        Self {
            wall_time,
            file_version: Some(FILE_VERSION.to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn scalars(wall_time: f64, step: i64, values: &[(String, f64)]) -> Self {
        let value = values.iter().map(|(tag, number)| Value {
            tag: tag.clone(),
            simple_value: Some(*number as f32),
            ..Value::default()
        });
        Self::of(wall_time, step, value.collect())
    }

    pub(crate) fn text(wall_time: f64, tag: &str, text: &str) -> Self {
        let value = Value {
            tag: tag.to_owned(),
            tensor: Some(Tensor {
                dtype: DT_STRING,
                tensor_shape: Some(Shape {}),
                string_val: vec![text.as_bytes().to_vec()],
            }),
            metadata: Some(Metadata {
                plugin_data: Some(PluginData {
                    plugin_name: "text".to_owned(),
                }),
            }),
            ..Value::default()
        };
        Self::of(wall_time, 0, vec![value])
    }

    fn of(wall_time: f64, step: i64, value: Vec<Value>) -> Self {
        Self {
            wall_time,
            step,
            summary: Some(Summary { value }),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::framed;

    /// The event in its frame, as hexadecimal digits.
    fn check(event: &Event, expected: &str) {
        let record = framed(&event.encode_to_vec());
        let digits: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, expected);
    }

    // from tensorboard.summary.writer.record_writer import RecordWriter  # 2.21.0
    // def record(event): f = io.BytesIO(); RecordWriter(f).write(event.SerializeToString()); return f.getvalue().hex()

    #[test]
    fn events_are_byte_for_byte_those_of_tensorboard() {
        // record(Event(wall_time=1.5, file_version="brain.Event:2"))
        check(
            &Event::version(1.5),
            "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c",
        );
        // record(Event(wall_time=1700000000.25, step=7, summary=Summary(value=[
        //     Summary.Value(tag="rl/reward", simple_value=0.1), Summary.Value(tag="rl/zero", simple_value=0.0)])))
        check(
            &Event::scalars(
                1_700_000_000.25,
                7,
                &[("rl/reward".into(), 0.1), ("rl/zero".into(), 0.0)],
            ),
            "2f000000000000006d5d1d500900001040fc54d94110072a220a100a09726c2f726577617264\
             15cdcccc3d0a0e0a07726c2f7a65726f1500000000a7ef8720",
        );
        // from tensorboard.plugins.text.summary_v2 import text_pb
        // record(Event(wall_time=1.5, summary=text_pb("config/text_summary", "    seed = 1")))
        check(
            &Event::text(1.5, "config/text_summary", "    seed = 1"),
            "40000000000000002817f49509000000000000f83f2a350a330a13636f6e6669672f74657874\
             5f73756d6d617279421208071200420c2020202073656564203d20314a080a060a0474657874\
             9c8757af",
        );
    }
}
