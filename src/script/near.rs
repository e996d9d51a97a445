//! The near miss: which known name was probably meant.

/// The candidate closest to `word`, when it is close enough to be meant.
pub fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= limit && *d < c.chars().count())
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// `; is it `x`?`, or nothing.
pub fn is_it<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    near_miss(word, candidates).map(|c| format!("; is it `{c}`?")).unwrap_or_default()
}

/// Edit distance with a swap of neighbours counted as one slip, as fingers do.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_meant_name_and_a_stranger_finds_none() {
        let names = ["contents", "dbids", "hosts", "raise"];
        assert_eq!(near_miss("contens", names), Some("contents"));
        assert_eq!(near_miss("dbdis", names), Some("dbids"));
        assert_eq!(near_miss("zebra", names), None);
        assert_eq!(near_miss("x", names), None);
    }
}
