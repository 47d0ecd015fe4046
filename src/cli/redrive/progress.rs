//! What was done with the dead letters: counts, the summary, and whether the goal is reached.

/// What the command is asked to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goal {
    pub(super) dry_run: bool,
    pub(super) limit: Option<usize>,
}

/// What was done with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not selected: it has another reason, exceeds the limit, or was republished before.
    NotSelected,
    /// Selected, but not republished.
    Failed,
    /// Republished but not acknowledged; in a dry run, selected.
    Republished,
    Acknowledged,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    found: usize,
    failed: usize,
    pub(super) republished: usize,
    acknowledged: usize,
}

impl Counts {
    pub(super) fn new(statuses: impl Iterator<Item = Status>) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            counts.found += 1;
            counts.failed += usize::from(status == Status::Failed);
            counts.republished +=
                usize::from(matches!(status, Status::Republished | Status::Acknowledged));
            counts.acknowledged += usize::from(status == Status::Acknowledged);
        }
        counts
    }

    /// Returns whether everything that was asked for is done.
    pub(super) fn is_complete(&self, goal: &Goal) -> bool {
        goal.dry_run
            || match goal.limit {
                Some(limit) => self.acknowledged == limit,
                None => self.failed == 0 && self.acknowledged == self.republished,
            }
    }

    pub(super) fn summary(&self, goal: &Goal, topic: &str) -> String {
        let Self { found, republished, acknowledged, .. } = self;
        if goal.dry_run {
            return format!(
                "{republished} of {found} dead letters would be republished to {topic}"
            );
        }
        let left = found - acknowledged;
        format!(
            "{republished} of {found} dead letters republished to {topic}, {acknowledged} acknowledged, {left} left"
        )
    }

    /// Returns what to do next, if there is anything to do.
    pub(super) fn next_step(&self, goal: &Goal) -> Option<String> {
        if self.found == 0 {
            return Some(
                "If another client pulled dead letters just now, run the command again in a few minutes."
                    .to_owned(),
            );
        }
        if goal.dry_run {
            return (self.republished > 0)
                .then(|| "To republish, run the command without --dry-run.".to_owned());
        }
        if self.failed > 0 || self.acknowledged < self.republished {
            return Some("Fix the errors above, then run the command again.".to_owned());
        }
        let limit = goal.limit.filter(|limit| self.acknowledged < *limit)?;
        Some(format!("--limit asks for {limit}, but no more matching dead letters were found."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_reached_if_all_selected_dead_letters_are_acknowledged() {
        use Status::{Acknowledged as A, Failed as F, NotSelected as N, Republished as R};
        for (statuses, limit, is_complete) in [
            (&[][..], None, true),
            (&[A, A, N], None, true),
            (&[A, F], None, false),
            (&[A, R], None, false),
            (&[A, A, N], Some(2), true),
            (&[A], Some(2), false),
            (&[A, R], Some(2), false),
            (&[A, A, F], Some(2), true),
            (&[], Some(1), false),
        ] {
            let counts = Counts::new(statuses.iter().copied());
            let goal = Goal { limit, dry_run: false };
            assert_eq!(counts.is_complete(&goal), is_complete, "{statuses:?} {limit:?}");
            assert!(is_complete || counts.next_step(&goal).is_some(), "{statuses:?} {limit:?}");
            assert!(counts.is_complete(&Goal { limit, dry_run: true }));
        }
        let counts = Counts::new([A, R, F, N].into_iter());
        assert_eq!(
            counts.summary(&Goal::default(), "t"),
            "2 of 4 dead letters republished to t, 1 acknowledged, 3 left"
        );
    }
}
