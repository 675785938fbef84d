//! Amounts as Kubernetes writes them, such as `10Gi` and `500m`.

/// The amount as a number, absent for text that is none. Exact for any size that a volume can have.
pub fn amount(text: &str) -> Option<f64> {
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (number, factor) = match (text.parse(), factor(suffix)) {
        // An exponent, such as 1e9.
        (Ok(whole), _) => (whole, 1.0),
        (Err(_), Some(factor)) => (number.parse().ok()?, factor),
        (Err(_), None) => return None,
    };
    let amount: f64 = number;
    amount.is_finite().then_some(amount * factor)
}

/// The smallest amount in whole mebibytes that is no less than so many bytes.
pub fn whole_mebibytes(bytes: f64) -> String {
    let mebibytes = (bytes / MEBI).ceil();
    format!("{mebibytes}Mi")
}

const MEBI: f64 = 1_048_576.0;

fn factor(suffix: &str) -> Option<f64> {
    const KIBI: f64 = 1024.0;
    Some(match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => KIBI,
        "Mi" => KIBI.powi(2),
        "Gi" => KIBI.powi(3),
        "Ti" => KIBI.powi(4),
        "Pi" => KIBI.powi(5),
        "Ei" => KIBI.powi(6),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_in_other_words_is_the_same_number() {
        for (one, other) in [
            ("1Gi", "1024Mi"),
            ("1e9", "1G"),
            ("64Mi", "67108864"),
            ("1500m", "1.5"),
            ("2E", "2e18"),
        ] {
            assert_eq!(amount(one), amount(other), "{one} {other}");
            assert!(amount(one).is_some());
        }
        assert!(amount("10Gi") > amount("9.9Gi"));
    }

    #[test]
    fn other_text_is_no_amount() {
        for text in ["", "Gi", "10 Gi", "10gb", "ten", "1.2.3", "inf", "nan"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }
}
