//! Event files: created with their first event, then one event after the other.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use prost::Message;

use crate::event::Event;
use crate::framing::framed;

/// Writes one event file. Each event reaches the system in one write, so a process that dies leaves whole
/// events and at most one that is cut off, which TensorBoard leaves out.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
}

impl EventWriter {
    /// Creates the file at `path` with the event that says its version; `wall_time` is in seconds since
    /// 1970. A file that is there is replaced: a TensorBoard that has it open goes on at the place it had
    /// reached, and shows the new beginning only after a reload.
    ///
    /// # Errors
    ///
    /// The file cannot be created or written.
    pub fn create(path: &Path, wall_time: f64) -> io::Result<Self> {
        let mut writer = Self {
            file: File::create(path)?,
        };
        writer.append(&Event::version(wall_time))?;
        Ok(writer)
    }

    /// Appends one event with a number for each tag; an event without values is left out. TensorBoard
    /// keeps single precision, so numbers are rounded to it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn scalars(
        &mut self,
        wall_time: f64,
        step: i64,
        values: &[(String, f64)],
    ) -> io::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.append(&Event::scalars(wall_time, step, values))
    }

    /// Appends a text, at step 0. TensorBoard shows it as Markdown: text whose lines are to stay as they
    /// are goes in indented by four spaces.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn text(&mut self, wall_time: f64, tag: &str, text: &str) -> io::Result<()> {
        self.append(&Event::text(wall_time, tag, text))
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        self.file.write_all(&framed(&event.encode_to_vec()))
    }
}

/// The name of an event file. TensorBoard finds files by the `tfevents` in their names, and reads several
/// of one folder in the order of their names, which is that of time.
#[must_use]
pub fn event_file_name(unix_seconds: u64, host: &str, pid: u32) -> String {
    // A name of a machine with a separator in it would be a folder.
    let host: String = host
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "-._".contains(letter) {
                letter
            } else {
                '-'
            }
        })
        .collect();
    format!("events.out.tfevents.{unix_seconds:010}.{host}.{pid}.0")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::framing::unframed;

    /// The events of a file; panics where one is cut off or changed.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).expect("the file was written");
        let (records, left_over) = unframed(&bytes).expect("checksums are right");
        assert_eq!(left_over, 0);
        let decoded = records.into_iter().map(Event::decode);
        decoded.map(|event| event.expect("an event")).collect()
    }

    #[test]
    fn a_file_begins_with_its_version_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(event_file_name(12, "host", 3));
        fs::write(&path, [b'x'; 500]).expect("written");
        let mut writer = EventWriter::create(&path, 1.5).expect("created");
        assert_eq!(events(&path), [Event::version(1.5)]);
        // Flushed: what was appended is in the file while the writer lives.
        writer
            .text(2.5, "config/text_summary", "    seed = 1")
            .expect("written");
        writer.scalars(3.5, 7, &[]).expect("written");
        writer
            .scalars(4.5, 8, &[("rl/reward".into(), 0.1)])
            .expect("written");
        let written = events(&path);
        assert_eq!(written.len(), 3);
        assert_eq!(written[1].step, 0);
        assert_eq!((written[2].wall_time, written[2].step), (4.5, 8));
    }

    #[test]
    fn names_of_files_sort_by_time_and_hold_no_separator() {
        assert_eq!(
            event_file_name(12, "a/b c", 3),
            "events.out.tfevents.0000000012.a-b-c.3.0"
        );
        assert!(
            event_file_name(999_999_999, "h", 1) < event_file_name(1_000_000_000, "h", 1),
            "ten digits"
        );
    }

    proptest! {
        #[test]
        fn scalars_come_back_rounded_to_single_precision(
            steps in prop::collection::vec(
                (
                    0.0..1e10,
                    any::<i64>(),
                    prop::collection::vec((".{0,12}", prop::num::f64::ANY), 1..4),
                ),
                0..6,
            ),
            text in ".{0,40}",
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("events");
            let mut writer = EventWriter::create(&path, 0.0).expect("created");
            writer.text(0.0, "config/text_summary", &text).expect("written");
            for (wall_time, step, values) in &steps {
                writer.scalars(*wall_time, *step, values).expect("written");
            }
            let written = events(&path);
            prop_assert_eq!(written.len(), 2 + steps.len());
            let value = &written[1].summary.as_ref().expect("a summary").value[0];
            let tensor = value.tensor.as_ref().expect("a tensor");
            prop_assert_eq!(&tensor.string_val, &[text.into_bytes()]);
            for (event, (wall_time, step, values)) in written[2..].iter().zip(&steps) {
                prop_assert_eq!(event.wall_time.to_bits(), wall_time.to_bits());
                prop_assert_eq!(event.step, *step);
                let read = &event.summary.as_ref().expect("a summary").value;
                prop_assert_eq!(read.len(), values.len());
                for (value, (tag, number)) in read.iter().zip(values) {
                    prop_assert_eq!(&value.tag, tag);
                    let read = value.simple_value.expect("a number");
                    prop_assert_eq!(read.to_bits(), (*number as f32).to_bits());
                }
            }
        }
    }
}
