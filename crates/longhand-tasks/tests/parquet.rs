//! Parquet files: rows in the shape of verl's and MemAgent's, and files that are damaged.

use std::{fs, path::PathBuf};

use longhand_tasks::{DEFAULT_MAX_LINE_BYTES, FileFormat, TaskError, check_file};
use tempfile::TempDir;

/// Two rows, written with pyarrow 26.0.1:
///
/// ```python
/// rows = [
///     {"prompt": [{"role": "user", "content": "Who?"}], "context": "A\n\nB",
///      "reward_model": {"ground_truth": ["Ann", "Bo"]}, "extra_info": {"index": 7}},
///     {"prompt": [{"role": "user", "content": "When?"}], "context": None,
///      "reward_model": {"ground_truth": ["1999"]}, "extra_info": {"index": 7}},
/// ]
/// pq.write_table(pa.Table.from_pylist(rows), "tiny.parquet", compression="snappy",
///                write_statistics=False, store_schema=False, use_dictionary=False)
/// ```
const TWO_ROWS: &str = "504152311500153815382c15041500150615061c0000001c14020000000400050640040400000075736572040000\
     00757365721500153a153a2c15041500150615061c0000001d14020000000400050644040400000057686f3f0500\
     00005768656e3f1500151c15202c15041500150615061c0000000e3402000000030104000000410a0a4215001542\
     15442c15061500150615061c0000002114020000000302010658060403000000416e6e02000000426f0400000031\
     3939391500152c15302c15041500150615061c000000165402000000040207000000000000000700000000000000\
     150419dc35001806736368656d611508003502180670726f6d7074150215064c3c000000350418046c6973741502\
     0035021807656c656d656e74150400150c25021804726f6c6525004c1c000000150c25021807636f6e74656e7425\
     004c1c000000150c25021807636f6e7465787425004c1c0000003502180c7265776172645f6d6f64656c15020035\
     02180c67726f756e645f7472757468150215064c3c000000350418046c697374150200150c25021807656c656d65\
     6e7425004c1c0000003502180a65787472615f696e666f150200150425021805696e646578001604191c195c2600\
     1c150c1925060019480670726f6d7074046c69737407656c656d656e7404726f6c6515021604165e165e2608491c\
     150015001502003c1610192604001956000000000400000026001c150c1925060019480670726f6d7074046c6973\
     7407656c656d656e7407636f6e74656e7415021604166016602666491c150015001502003c161219260400195600\
     0000000400000026001c150c19250600191807636f6e74657874150216041642164626c601491c15001500150200\
     3c160819061926020200000026001c150c1925060019480c7265776172645f6d6f64656c0c67726f756e645f7472\
     757468046c69737407656c656d656e74150216061668166a268c02491c150015001502003c161219260402195600\
     0000000600000026001c15041925060019280a65787472615f696e666f05696e646578150216041652165626f602\
     491c150015001502003c2906193600000400000016ba031604260816c403002820706172717565742d6370702d61\
     72726f772076657273696f6e2032362e302e31195c1c00001c00001c00001c00001c0000007b02000050415231";

fn two_rows() -> Vec<u8> {
    let pairs = TWO_ROWS.as_bytes().chunks_exact(2);
    let pairs = pairs.map(|pair| std::str::from_utf8(pair).expect("digits"));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits"));
    bytes.collect()
}

fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data.parquet");
    fs::write(&path, bytes).expect("a temporary file");
    (folder, path)
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_a_file_is_refused_with_what_to_do() {
    let (_folder, path) = written(&two_rows());
    for result in [
        FileFormat::of(&path).err(),
        check_file(&path, FileFormat::Verl, DEFAULT_MAX_LINE_BYTES).err(),
    ] {
        let error = result.expect("no Parquet here");
        assert!(matches!(error, TaskError::BadParquet { .. }), "{error}");
        assert!(
            error.to_string().contains("the cargo feature `parquet`"),
            "{error}"
        );
    }
}

#[cfg(feature = "parquet")]
mod reading {
    use longhand_tasks::{Jsonl, RecordFormat, Split, TaskSpec};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_are_records() {
        let (_folder, path) = written(&two_rows());
        assert_eq!(FileFormat::of(&path).expect("readable"), FileFormat::Verl);
        let report = check_file(&path, FileFormat::Verl, DEFAULT_MAX_LINE_BYTES).expect("readable");
        // The rows have the same `extra_info.index`.
        let bad: Vec<String> = report.bad_records.iter().map(ToString::to_string).collect();
        let expected = format!(
            "{}, row 2: field `extra_info` is \"7\", which row 1 has too; give each record its own",
            path.display()
        );
        assert_eq!((report.n_problems, bad), (1, vec![expected]));
    }

    #[test]
    fn rows_are_problems() {
        // The second index is the last byte of its page, in 8 bytes with the lowest first.
        let mut bytes = two_rows();
        let indexes = [7_u64.to_le_bytes(), 7_u64.to_le_bytes()].concat();
        let at = bytes
            .windows(16)
            .position(|window| window == indexes)
            .expect("the two indexes");
        bytes[at + 8] = 8;
        let (_folder, path) = written(&bytes);
        let spec = TaskSpec::Jsonl(Jsonl {
            path,
            format: RecordFormat::Auto,
            test_path: None,
            test_fraction: Some(0.0),
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
        });
        let source = spec.open().expect("a sound file");
        assert_eq!(source.n_problems(Split::Train), Some(2));
        let [first, second] =
            [0, 1].map(|idx| source.problem(Split::Train, 0, idx, 1, &|_| 1).unwrap());
        assert_eq!((first.id.as_str(), first.question.as_str()), ("7", "Who?"));
        assert_eq!(
            (first.document().as_str(), &*first.answers.join("|")),
            ("A\nB\n", "Ann|Bo")
        );
        assert_eq!(
            (second.id.as_str(), second.question.as_str()),
            ("8", "When?")
        );
        assert_eq!(
            (second.document().as_str(), &*second.answers.join("|")),
            ("", "1999")
        );
    }

    #[test]
    fn a_row_that_is_too_long_is_named() {
        let (_folder, path) = written(&two_rows());
        let report = check_file(&path, FileFormat::Verl, 16).expect("readable");
        assert_eq!(report.n_problems, 1);
        assert!(
            report.bad_records[0]
                .to_string()
                .contains("row 1: this row has 17 bytes, more than"),
            "{}",
            report.bad_records[0]
        );
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        let whole = two_rows();
        for n_bytes in 4..whole.len() {
            let (_folder, path) = written(&whole[..n_bytes]);
            let error = check_file(&path, FileFormat::Verl, 1_000).expect_err("no end mark");
            assert!(matches!(error, TaskError::BadParquet { .. }), "{error}");
        }
    }

    proptest! {
        /// Damaged bytes end in a report or an error, soon.
        #[test]
        fn no_damage_panics(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut bytes = two_rows();
            for (place, byte) in places {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
            let (_folder, path) = written(&bytes);
            if let Ok(report) = check_file(&path, FileFormat::Verl, 1_000) {
                prop_assert!(report.n_problems <= 2);
            }
        }
    }
}
