// SPDX-License-Identifier: MPL-2.0

//! Parts of a conversion, for job arrays.

/// A part of a tree, `index` of `count`, from 1.
pub type Shard = Option<(usize, usize)>;

/// Every n-th of the clips, so that the parts are alike in classes.
pub fn take<T>(jobs: Vec<T>, shard: Shard) -> Vec<T> {
    let Some((index, count)) = shard else {
        return jobs;
    };
    jobs.into_iter().skip(index - 1).step_by(count).collect()
}

/// `i/n`, from 1.
pub fn parse(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err(format!("expected i/n with i from 1 to n, found {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_clip_once() {
        let all: Vec<u32> = (0..23).collect();
        for count in [1, 2, 7, 30] {
            let mut met: Vec<u32> = (1..=count).flat_map(|i| take(all.clone(), Some((i, count)))).collect();
            met.sort_unstable();
            assert_eq!(met, all);
        }
    }

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!(parse("2/3"), Ok((2, 3)));
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
