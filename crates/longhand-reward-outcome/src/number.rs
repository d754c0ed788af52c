//! Numbers as people write them, read exactly.
//!
//! Read: whole numbers and decimals (`42`, `-.5`), fractions (`3/4`, `-1.5/2`), percentages (`50%`
//! is one half), thousands separators (`1,234,567`, also with no-break or thin spaces), scientific
//! notation (`1.5e-3`, `1.5 × 10^-3`), a sign (also `−`), a currency sign on either side (dropped:
//! only the number is compared), one final full stop.
//!
//! Not read, because their number is not beyond doubt: `1,5` and `12,34` (a decimal comma or a
//! misplaced separator), `1 1/2`, words, several numbers, digits beyond ASCII.
//!
//! Values are ratios of decimals and compared by cross multiplication in whole numbers, never in
//! floating point: two different numbers are never equal. Exponents stay exponents, so `1e999999999`
//! costs nothing. Two limits keep hostile texts cheap, and what exceeds them is no number: exponents
//! of more than 18 digits, and fractions whose parts have more than 4096 significant digits.

use std::borrow::Cow;

const MAX_EXPONENT_DIGITS: usize = 18;
const MAX_FRACTION_DIGITS: usize = 4096;

/// An exact rational number, kept as it was written: `±numerator / denominator`.
#[derive(Clone, Debug)]
pub struct Number {
    is_negative: bool,
    numerator: Decimal,
    denominator: Decimal,
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        let left = self.numerator.times(&other.denominator);
        let right = other.numerator.times(&self.denominator);
        left == right && (self.is_negative == other.is_negative || left.is_zero())
    }
}

impl Eq for Number {}

/// A number that is at least 0: `digits * 10^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    /// Without leading and trailing zeros, so that equal values are equal fields; zero has none.
    digits: String,
    /// 0 for zero.
    exponent: i64,
}

impl Decimal {
    fn new(digits: &str, exponent: i64) -> Decimal {
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Decimal {
                digits: String::new(),
                exponent: 0,
            };
        }
        Decimal {
            digits: significant.to_owned(),
            exponent: exponent + (digits.len() - significant.len()) as i64,
        }
    }

    fn one() -> Decimal {
        Decimal::new("1", 0)
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn times(&self, other: &Decimal) -> Cow<'_, Decimal> {
        // Most numbers are no fractions: their denominator is one.
        if other.digits == "1" && other.exponent == 0 {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Decimal::new(
            &product(&self.digits, &other.digits),
            self.exponent + other.exponent,
        ))
    }
}

/// The product of two digit strings, with leading zeros perhaps; school multiplication in base 1e9.
fn product(left: &str, right: &str) -> String {
    const BASE: u64 = 1_000_000_000;
    let limbs = |digits: &str| -> Vec<u64> {
        let to_limb = |limb: &[u8]| limb.iter().fold(0, |n, b| 10 * n + u64::from(b - b'0'));
        digits.as_bytes().rchunks(9).map(to_limb).collect()
    };
    let (left, right) = (limbs(left), limbs(right));
    let mut sum = vec![0_u64; left.len() + right.len()];
    for (i, x) in left.iter().enumerate() {
        let mut carry = 0;
        for (j, y) in right.iter().enumerate() {
            let term = sum[i + j] + x * y + carry;
            sum[i + j] = term % BASE;
            carry = term / BASE;
        }
        sum[i + right.len()] = carry;
    }
    sum.iter().rev().map(|limb| format!("{limb:09}")).collect()
}

/// Reads a text that is one number and nothing else; `None` for anything else.
///
/// ```
/// use longhand_reward_outcome::parse_number;
/// assert_eq!(parse_number("$1,250.00"), parse_number("1.25e3"));
/// assert_eq!(parse_number("12.5%"), parse_number("1/8"));
/// assert!(parse_number("0.333") != parse_number("1/3"));
/// assert!(parse_number("three").is_none());
/// ```
pub fn parse_number(text: &str) -> Option<Number> {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text).trim_end();
    let (is_negative, text) = sign_and_currency(text);
    let (is_percent, text) = percent_or_currency(text);
    let (mut numerator, denominator, flip) = match text.split_once(['/', '\u{2044}', '\u{2215}']) {
        None => (decimal(text)?, Decimal::one(), false),
        Some((over, under)) => {
            let (flip, under) = sign(under.trim_start());
            let (over, under) = (decimal(over.trim_end())?, decimal(under)?);
            let too_long = |part: &Decimal| MAX_FRACTION_DIGITS < part.digits.len();
            if under.is_zero() || too_long(&over) || too_long(&under) {
                return None;
            }
            (over, under, flip)
        }
    };
    if is_percent && !numerator.is_zero() {
        numerator.exponent -= 2;
    }
    Some(Number {
        is_negative: is_negative != flip,
        numerator,
        denominator,
    })
}

const CURRENCIES: [&str; 8] = ["\\$", "$", "€", "£", "¥", "₹", "₩", "₽"];

fn currency(text: &str) -> Option<&str> {
    CURRENCIES.iter().find_map(|sign| text.strip_prefix(sign))
}

/// `-$5`, `$-5`, `- 5`: at most one sign and one currency, in either order.
fn sign_and_currency(text: &str) -> (bool, &str) {
    match currency(text) {
        Some(rest) => sign(rest.trim_start()),
        None => {
            let (is_negative, rest) = sign(text);
            (is_negative, currency(rest).unwrap_or(rest).trim_start())
        }
    }
}

fn sign(text: &str) -> (bool, &str) {
    if let Some(rest) = text.strip_prefix(['-', '−']) {
        (true, rest.trim_start())
    } else {
        (false, text.strip_prefix('+').unwrap_or(text).trim_start())
    }
}

fn percent_or_currency(text: &str) -> (bool, &str) {
    if let Some(rest) = text.strip_suffix('%') {
        return (true, rest.strip_suffix('\\').unwrap_or(rest).trim_end());
    }
    let rest = CURRENCIES.iter().find_map(|sign| text.strip_suffix(sign));
    (false, rest.unwrap_or(text).trim_end())
}

/// An unsigned decimal, perhaps with an exponent.
fn decimal(text: &str) -> Option<Decimal> {
    let (mantissa, exponent) = match split_exponent(text) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (mantissa, None),
    };
    let mut digits = match whole {
        "" => String::new(),
        _ => ungrouped(whole)?.into_owned(),
    };
    let part = match part {
        Some(part) if is_digits(part) => part,
        Some(_) => return None,
        None if whole.is_empty() => return None,
        None => "",
    };
    digits.push_str(part);
    Some(Decimal::new(&digits, exponent - part.len() as i64))
}

/// Splits `1.5e-3` and `1.5 × 10^-3` (also `x`, `*`, `·`, `\times`, `**`, `^{-3}`) in two.
fn split_exponent(text: &str) -> Option<(&str, &str)> {
    if let Some(split) = text.split_once(['e', 'E']) {
        // `\times` has an e of its own.
        if is_exponent(split.1) {
            return Some(split);
        }
    }
    let power = |text: &str, power: &str| text.rfind(power).map(|at| (at, at + power.len()));
    let (end, start) = power(text, "10^").or_else(|| power(text, "10**"))?;
    let mantissa = text[..end].trim_end();
    let mantissa = ["\\times", "\\cdot", "×", "·", "x", "X", "*"]
        .iter()
        .find_map(|times| mantissa.strip_suffix(times))?;
    let exponent = text[start..].trim();
    let exponent = exponent
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(exponent);
    Some((mantissa.trim_end(), exponent))
}

fn is_exponent(text: &str) -> bool {
    is_digits(sign(text).1)
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = sign(text);
    if !is_digits(digits) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if MAX_EXPONENT_DIGITS < digits.len() {
        return None;
    }
    let size: i64 = digits.bytes().fold(0, |n, b| 10 * n + i64::from(b - b'0'));
    Some(if is_negative { -size } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The digits of `1,234,567`: one kind of separator, three digits after each.
fn ungrouped(text: &str) -> Option<Cow<'_, str>> {
    const SEPARATORS: [char; 4] = [',', '\u{a0}', '\u{2009}', '\u{202f}'];
    let Some(separator) = text.chars().find(|c| SEPARATORS.contains(c)) else {
        return is_digits(text).then_some(Cow::Borrowed(text));
    };
    let mut groups = text.split(separator);
    let first = groups.next()?;
    if !is_digits(first) || 3 < first.len() {
        return None;
    }
    let mut digits = first.to_owned();
    for group in groups {
        if group.len() != 3 || !is_digits(group) {
            return None;
        }
        digits.push_str(group);
    }
    Some(Cow::Owned(digits))
}

#[cfg(test)]
mod tests {
    use super::parse_number;
    use proptest::prelude::*;

    #[track_caller]
    fn check_equal(texts: &[&str]) {
        let first = parse_number(texts[0]);
        assert!(first.is_some(), "{:?} is a number", texts[0]);
        for text in texts {
            assert_eq!(parse_number(text), first, "{text:?} and {:?}", texts[0]);
        }
    }

    #[track_caller]
    fn check_different(left: &str, right: &str) {
        let (left_number, right_number) = (parse_number(left), parse_number(right));
        assert!(
            left_number.is_some() && right_number.is_some(),
            "{left:?} {right:?}"
        );
        assert_ne!(left_number, right_number, "{left:?} and {right:?}");
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            " ",
            ".",
            "-",
            "+",
            "%",
            "$",
            "/",
            "e5",
            "1/",
            "/2",
            "1/0",
            "0/0",
            "1/0.0",
            "--1",
            "+-1",
            "1.2.3",
            "5..",
            "1 2",
            "1 1/2",
            "1/2/3",
            "1,5",
            "12,34",
            "1,2345",
            ",123",
            "1234,567",
            "1,234 567",
            "1.5,000",
            "three",
            "x",
            "nan",
            "inf",
            "Infinity",
            "0x10",
            "1e",
            "1e+",
            "1e5.5",
            "e",
            "1_000",
            "１２",
            "٣",
            "½",
            "5 km",
            "$",
            "$$5",
            "5%%",
            "1e99999999999999999999",
            "×10^5",
            "2×10^",
            "10^",
            "1ee5",
            "-$-5",
        ] {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn zero_has_many_names() {
        check_equal(&[
            "0",
            "-0",
            "+0.000",
            "0/7",
            "-0/7",
            "0%",
            "$0",
            "0e999999999",
            "00",
            ".0",
            "0.",
        ]);
    }

    #[test]
    fn the_same_number_written_differently() {
        check_equal(&[
            "42", "+42", " 42. ", "042", "42.0", "4.2e1", "4.2E+01", "420e-1", "84/2", "4200%",
            "$42", "42 $", "42$", "$42$",
        ]);
        check_equal(&[
            "-1234567.5",
            "-1,234,567.50",
            "−1\u{202f}234\u{202f}567.5",
            "-$1,234,567.5",
            "$-1,234,567.5",
            "\\$ -1234567.5",
            "-2469135/2",
            "2469135/-2",
        ]);
        check_equal(&[
            "1/2", ".5", "50%", "50\\%", "50 %", "2/4", "-1/-2", "1.5/3", "1 / 2", "1⁄2", "5e-1",
            "100/2%",
        ]);
        check_equal(&[
            "0.0015",
            "1.5e-3",
            "1.5×10^-3",
            "1.5 x 10^-3",
            "1.5*10**-3",
            "1.5 \\times 10^{-3}",
            "1.5·10^−3",
            "3/2000",
        ]);
        check_equal(&["€5", "5€", "5 €", "£5", "\u{20bd}5"]);
        check_equal(&["1/3", "2/6", "0.5/1.5", "1e400/3e400", "10/30"]);
    }

    #[test]
    fn near_numbers_stay_different() {
        check_different("1/3", "0.3333333333333333");
        check_different("0.1", "0.1000000000000000055511151231257827");
        check_different("9007199254740993", "9007199254740992");
        check_different("1e400", "1e401");
        check_different("1e-400", "0");
        check_different("5", "-5");
        check_different("50%", "50");
        check_different(
            "123456789123456789/1000000007",
            "123456789123456788/1000000007",
        );
    }

    #[test]
    fn hostile_numbers_end_fast() {
        check_different("1e999999999999999999", "1e-999999999999999999");
        check_different("1e999999999999999999/3", "1e999999999999999998/3");
        check_equal(&["10e999999999", "1e1000000000", "1e1000000001/10"]);
        let long = "7".repeat(2_000_000);
        check_different(&long, &format!("{}8", &long[1..]));
        check_equal(&[&long, &format!("{long}.000")]);
        assert_eq!(parse_number(&format!("{long}/3")), None);
        let limit = "7".repeat(4096);
        check_equal(&[&format!("{limit}/{limit}"), "1"]);
        check_different(
            &format!("{limit}/{limit}"),
            &format!("{limit}/{}8", &limit[1..]),
        );
    }

    proptest! {
        #[test]
        fn fractions_are_equal_exactly_when_their_cross_products_are(
            a in -60_i64..60, b in 1_i64..60, c in -60_i64..60, d in 1_i64..60,
        ) {
            let left = parse_number(&format!("{a}/{b}")).unwrap();
            let right = parse_number(&format!("{c}/{d}")).unwrap();
            prop_assert_eq!(left == right, a * d == c * b);
        }

        #[test]
        fn big_fractions_too(a in any::<u64>(), b in 1..u64::MAX, c in any::<u32>(), d in 1..u32::MAX) {
            let left = parse_number(&format!("{a}/{b}")).unwrap();
            let scaled = |n: u64, k: u32| u128::from(n) * u128::from(k);
            let stretched = parse_number(&format!("{}/{}", scaled(a, d), scaled(b, d))).unwrap();
            prop_assert_eq!(&left, &stretched);
            let right = parse_number(&format!("{c}/{d}")).unwrap();
            prop_assert_eq!(left == right, scaled(a, d) == scaled(b, c));
        }

        #[test]
        fn a_decimal_is_its_scientific_grouped_and_percent_forms(
            n in -1_000_000_000_i64..1_000_000_000, places in 0_usize..6,
        ) {
            let plain = parse_number(&format!("{n}e-{places}")).unwrap();
            let scale = 10_i64.pow(places as u32);
            prop_assert_eq!(&plain, &parse_number(&format!("{n}/{scale}")).unwrap());
            let sign = if n < 0 { "-" } else { "" };
            let (whole, part) = (n.abs() / scale, n.abs() % scale);
            let mut grouped = whole.to_string();
            for at in (1..grouped.len()).rev().filter(|at| (whole.to_string().len() - at) % 3 == 0) {
                grouped.insert(at, ',');
            }
            let part = if places == 0 { String::new() } else { format!(".{part:0places$}") };
            prop_assert_eq!(&plain, &parse_number(&format!("{sign}{grouped}{part}")).unwrap());
            prop_assert_eq!(&plain, &parse_number(&format!("{n}e{}%", 2 - places as i64)).unwrap());
            let next = parse_number(&format!("{}e-{places}", n + 1)).unwrap();
            prop_assert!(plain != next);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC*|[-+0-9.,/%$eE×^ ]*") {
            if let Some(number) = parse_number(&text) {
                prop_assert_eq!(&number, &number);
            }
        }
    }
}
