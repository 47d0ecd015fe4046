//! Whole numbers, which Spotify has also sent as `2345.0`.

use super::fields::text;

/// The digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;

/// Parses a whole number in any notation: `70`, `70.0`, `7.0E1`, and each of them as a string.
pub(super) fn whole(json: &str) -> Option<i128> {
    match text(json) {
        Some(text) => decimal(text.trim()),
        None => decimal(json),
    }
}

/// Parses a decimal number exactly. Returns `None` if it has a fraction, or more digits than any 64-bit
/// integer.
fn decimal(number: &str) -> Option<i128> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent)),
        None => (number, "0"),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let size = exponent.strip_prefix('-').unwrap_or(exponent);
    if ![integer, fraction, size].into_iter().all(are_digits) {
        return None;
    }
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // An exponent that does not fit makes a number that is too large, or has a fraction.
    let exponent: i64 = exponent.parse().ok()?;
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let zeros = exponent.checked_add(trailing as i64)?.checked_sub(fraction.len() as i64)?;
    let zeros = usize::try_from(zeros).ok()?;
    if significant.len().checked_add(zeros)? > MAX_DIGITS {
        return None;
    }
    let value: i128 = format!("{significant}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_every_form() {
        for (json, expected) in [
            ("70", Some(70)),
            ("70.0", Some(70)),
            ("7.0E1", Some(70)),
            ("4.9022656E7", Some(49_022_656)),
            ("0.7e+2", Some(70)),
            ("700e-1", Some(70)),
            ("\"70\"", Some(70)),
            ("\" 7.0e1 \"", Some(70)),
            ("-70.0", Some(-70)),
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("0e999999999999999999999", Some(0)),
            ("9223372036854775807", Some(i64::MAX.into())),
            ("9223372036854775807.0", Some(i64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("99999999999999999999", Some(99_999_999_999_999_999_999)),
            ("100000000000000000000", None),
            ("1e20", None),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
            ("70.5", None),
            ("7e-1", None),
            ("\"\"", None),
            ("\"seventy\"", None),
            ("\"7_0\"", None),
            ("\"0x46\"", None),
            ("\"-\"", None),
            ("\".5\"", None),
            ("\"1e\"", None),
            ("\"1e+-1\"", None),
            ("\"NaN\"", None),
            ("\"７０\"", None),
            ("true", None),
            ("[]", None),
            ("{\"ms\":70}", None),
        ] {
            assert_eq!(whole(json), expected, "{json}");
        }
    }
}
