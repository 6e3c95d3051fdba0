//! The lines in which two texts differ.

/// Equal lines that are shown around a difference.
const AROUND: usize = 3;
/// Most pairs of lines that are compared; larger differences are shown as one.
const PAIRS: usize = 1 << 22;

/// A line of two texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DiffLine<'a> {
    /// In both.
    Same(&'a str),
    /// In the first one only.
    Removed(&'a str),
    /// In the second one only.
    Added(&'a str),
    /// So many equal lines, which are not shown.
    Omitted(usize),
}

/// Compares two texts line by line, with a longest common subsequence.
pub(super) fn line_diff<'a>(before: &'a str, after: &'a str) -> Vec<DiffLine<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = |of: &[&'a str]| of.get(..of.len() - tail).unwrap_or_default().to_vec();
    let (old_middle, new_middle) = (middle(old_rest), middle(new_rest));
    let mut lines: Vec<_> = old.iter().take(head).map(|it| DiffLine::Same(it)).collect();
    lines.extend(changed(&old_middle, &new_middle));
    lines.extend(old_rest.iter().skip(old_middle.len()).map(|it| DiffLine::Same(it)));
    folded(lines)
}

fn changed<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<DiffLine<'a>> {
    if old.len().saturating_mul(new.len()) > PAIRS {
        let removed = old.iter().map(|it| DiffLine::Removed(it));
        return removed.chain(new.iter().map(|it| DiffLine::Added(it))).collect();
    }
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or_default();
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best =
                if a == b { at(&common, i + 1, j + 1) + 1 } else { at(&common, i + 1, j).max(at(&common, i, j + 1)) };
            if let Some(place) = common.get_mut(i * width + j) {
                *place = best;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(DiffLine::Same(a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), other) if other.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                lines.push(DiffLine::Removed(a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(DiffLine::Added(b));
                j += 1;
            }
            _ => return lines,
        }
    }
}

/// Leaves out equal lines that are far from a difference.
fn folded(lines: Vec<DiffLine<'_>>) -> Vec<DiffLine<'_>> {
    let differs: Vec<usize> =
        lines.iter().enumerate().filter(|(_, it)| !matches!(it, DiffLine::Same(_))).map(|(at, _)| at).collect();
    let is_near = |at: usize| {
        let after = differs.partition_point(|it| *it < at.saturating_sub(AROUND));
        differs.get(after).is_some_and(|it| *it <= at + AROUND)
    };
    let mut shown = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        match (is_near(at), shown.last_mut()) {
            (true, _) => shown.push(line),
            (false, Some(DiffLine::Omitted(number))) => *number += 1,
            (false, _) => shown.push(DiffLine::Omitted(1)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown_with_those_around_them() {
        use DiffLine::{Added, Omitted, Removed, Same};
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let new = old.replace('7', "seven\nmore");
        let shown = line_diff(old, &new);
        assert_eq!(
            shown,
            [Omitted(3), Same("4"), Same("5"), Same("6"), Removed("7"), Added("seven"), Added("more"), Same("8")]
        );
        assert_eq!(line_diff("a\nb", "b\na"), [Removed("a"), Same("b"), Added("a")]);
        assert_eq!(line_diff("", "a"), [Added("a")]);
        assert_eq!(line_diff("a\na\na", "a"), [Same("a"), Removed("a"), Removed("a")]);
        let long = |word: &str| (0..5000).map(|it| format!("{word}{it}\n")).collect::<String>();
        let (old, new) = (long("a"), long("b"));
        assert_eq!(line_diff(&old, &new).len(), 10_000, "in bounded memory");
    }
}
