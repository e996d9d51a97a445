//! What writers were told, and whether the cluster holds to it.

use super::cluster::Cluster;
use std::collections::HashMap;

/// What a client knows of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Acknowledged: it must be there, exactly once.
    Acked,
    /// Refused with this SQLSTATE, or given up before COMMIT was said: it must not be there.
    Failed(String),
    /// 08007, or no answer at all: it may be there, once and whole, or not.
    Unknown(String),
}

/// One transaction: the ids it inserts, and what its client was told.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub content: i64,
    pub ids: Vec<i64>,
    pub told: Told,
}

/// Every attempt of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    pub attempts: Vec<Attempt>,
}

impl Ledger {
    pub fn acked(&self) -> usize {
        self.attempts.iter().filter(|a| a.told == Told::Acked).count()
    }

    /// How often each answer was given.
    pub fn summary(&self) -> String {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for attempt in &self.attempts {
            *counts.entry(format!("{:?}", attempt.told)).or_default() += 1;
        }
        let mut lines: Vec<String> = counts.into_iter().map(|(told, n)| format!("{n} {told}")).collect();
        lines.sort();
        lines.join(", ")
    }

    /// Reads every id back through the gateway, and demands the property of all of them.
    #[track_caller]
    pub fn assert_held_by(&self, cluster: &Cluster) {
        let mut contents: Vec<i64> = self.attempts.iter().map(|a| a.content).collect();
        contents.sort_unstable();
        contents.dedup();
        println!("told: {}", self.summary());
        for content in contents {
            let rows = cluster.content(content).rows("select id, count(*) from journal group by id");
            let found = rows.iter().map(|row| {
                let (id, count) = row.split_once('|').expect("two columns");
                (id.parse().expect("an id"), count.parse().expect("a count"))
            });
            let wrong = self.violations(content, &found.collect());
            assert!(
                wrong.is_empty(),
                "content {content}, {} violations: {:#?}",
                wrong.len(),
                &wrong[..wrong.len().min(12)]
            );
        }
    }

    /// Where what is found is not what was told.
    pub fn violations(&self, content: i64, found: &HashMap<i64, i64>) -> Vec<String> {
        let mut rest = found.clone();
        let mut wrong = Vec::new();
        for attempt in self.attempts.iter().filter(|a| a.content == content) {
            let counts: Vec<i64> = attempt.ids.iter().map(|id| rest.remove(id).unwrap_or(0)).collect();
            if let Some(complaint) = complaint(&attempt.told, &counts) {
                wrong.push(format!("{complaint}: {attempt:?}, found {counts:?}"));
            }
        }
        wrong.extend(rest.into_keys().map(|id| format!("id {id} was never tried on content {content}")));
        wrong
    }
}

fn complaint(told: &Told, counts: &[i64]) -> Option<&'static str> {
    let all = |n: i64| counts.iter().all(|c| *c == n);
    match told {
        Told::Acked if !all(1) => Some("acknowledged, and not there exactly once"),
        Told::Failed(_) if !all(0) => Some("refused, and there"),
        Told::Unknown(_) if !all(0) && !all(1) => Some("unknown, and there in part or twice"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(told: Told, found: &[(i64, i64)]) -> usize {
        let ledger = Ledger { attempts: vec![Attempt { content: 0, ids: vec![1, 2], told }] };
        ledger.violations(0, &found.iter().copied().collect()).len()
    }

    #[test]
    fn the_ledger_accepts_what_was_promised_and_nothing_else() {
        let both = [(1, 1), (2, 1)];
        let unknown = || Told::Unknown("08007".into());
        let failed = || Told::Failed("40001".into());
        assert_eq!(violations(Told::Acked, &both), 0);
        assert_eq!(violations(unknown(), &both), 0);
        assert_eq!(violations(unknown(), &[]), 0);
        assert_eq!(violations(failed(), &[]), 0);

        assert_eq!(violations(Told::Acked, &[(1, 1)]), 1, "half of an acknowledged transaction");
        assert_eq!(violations(Told::Acked, &[(1, 1), (2, 2)]), 1, "an id twice");
        assert_eq!(violations(unknown(), &[(2, 1)]), 1, "half of an unknown one");
        assert_eq!(violations(failed(), &both), 1, "a refused one");
        assert_eq!(violations(Told::Acked, &[(1, 1), (2, 1), (3, 1)]), 1, "an id that nobody tried");
    }
}
