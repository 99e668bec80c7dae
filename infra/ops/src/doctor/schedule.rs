//! The schedules: whether each rule of the stack is enabled, and whether what they wake has run lately and well.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::RuleState;
use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;
use crate::failure::{Doing as _, Failure};
use crate::metric::{self, Metric};
use crate::stack::Stack;

const ENABLED: &str = "schedules";

/// What a schedule wakes.
struct Woken {
    check: &'static str,
    /// In the template.
    function: &'static str,
    /// Within how many minutes it must have run: some rounds of its schedule, and the minutes that AWS counts late.
    lately: i64,
    /// What stands still without it.
    for_want: &'static str,
}

const WOKEN: [Woken; 2] = [
    Woken {
        check: "token-refresh-runs",
        function: "TokenRefresh",
        lately: 10,
        for_want: "no token is renewed, and no link settled",
    },
    Woken {
        check: "canary-runs",
        function: "Canary",
        lately: 20,
        for_want: "nobody tries the Webhook URL",
    },
];

/// What is found of them.
pub(super) async fn look(stack: &Stack, now: Timestamp) -> Vec<Finding> {
    let (mut findings, [refresh, canary]) = tokio::join!(async { vec![enabled(stack).await] }, async {
        tokio::join!(WOKEN[0].look(stack, now), WOKEN[1].look(stack, now)).into()
    });
    findings.extend([refresh, canary]);
    findings
}

async fn enabled(stack: &Stack) -> Finding {
    let client = Client::new(&stack.aws);
    let (mut rules, mut off) = (0, Vec::new());
    for (logical, name) in stack.all("AWS::Events::Rule") {
        let what = || format!("The rule {logical} can't be looked at");
        match client.describe_rule().name(name).send().await.or_fail(what) {
            Err(failure) => return Finding::of_failure(ENABLED, failure),
            Ok(rule) if rule.schedule_expression().is_none() => {}
            Ok(rule) => {
                rules += 1;
                if rule.state() == Some(&RuleState::Disabled) {
                    off.push(name);
                }
            }
        }
    }
    of_rules(rules, &off)
}

fn of_rules(rules: usize, off: &[&str]) -> Finding {
    if rules == 0 {
        return Finding::fails(
            ENABLED,
            "the stack has no schedule",
            "deploy this version of the template: without one no token is renewed",
        );
    }
    if off.is_empty() {
        return Finding::holds(ENABLED, format!("all {rules} are enabled"));
    }
    let commands: Vec<_> = off
        .iter()
        .map(|name| format!("aws events enable-rule --name {name}"))
        .collect();
    Finding::fails(
        ENABLED,
        format!("{} of {rules} are disabled: {}", off.len(), off.join(", ")),
        commands.join(" && "),
    )
}

impl Woken {
    async fn look(&self, stack: &Stack, now: Timestamp) -> Finding {
        match self.counted(stack, now).await {
            Ok([runs, errors]) => self.judge(runs, errors),
            Err(failure) => Finding::of_failure(self.check, failure),
        }
    }

    /// How often it ran lately, and how often it failed.
    async fn counted(&self, stack: &Stack, now: Timestamp) -> Result<[u64; 2], Failure> {
        let function = stack.resource(self.function)?;
        let ids = [("runs", "Invocations"), ("errors", "Errors")];
        let metrics = ids.map(|(id, name)| Metric {
            id,
            namespace: "AWS/Lambda",
            name,
            dimensions: vec![("FunctionName", function.to_owned())],
        });
        let since = now - SignedDuration::from_mins(self.lately);
        let counted = metric::read(stack, &metrics, since, now + SignedDuration::from_mins(1)).await?;
        let sum = |id: &str| {
            let of_it = counted.series.iter().filter(|series| series.id == id);
            of_it.flat_map(|series| series.minutes()).map(|(_, count)| count).sum()
        };
        Ok(ids.map(|(id, _)| sum(id)))
    }

    fn judge(&self, runs: u64, errors: u64) -> Finding {
        let Self { lately, for_want, .. } = self;
        if runs == 0 {
            return Finding::fails(
                self.check,
                format!("it has not run in the last {lately} minutes: {for_want}"),
                "see whether its rule is enabled and may invoke it, and whether the function is throttled; where the stack is \
                 younger than that, look again later",
            );
        }
        if errors >= runs {
            return Finding::fails(
                self.check,
                format!("each of its {runs} runs in the last {lately} minutes failed: {for_want}"),
                "read its log, and docs/runbook.md on its alarms",
            );
        }
        Finding::holds(
            self.check,
            format!("it ran {runs} times in the last {lately} minutes, and failed {errors} times"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_rule_that_is_disabled_is_named_with_what_enables_it() {
        assert_eq!(of_rules(3, &[]).verdict, Verdict::Holds);
        let found = of_rules(3, &["stack-EachMinute"]);
        assert_eq!(found.verdict, Verdict::Fails);
        assert!(
            found
                .to_string()
                .contains("aws events enable-rule --name stack-EachMinute"),
            "{found}"
        );
        assert_eq!(of_rules(0, &[]).verdict, Verdict::Fails);
    }

    #[test]
    fn a_schedule_lives_when_what_it_wakes_ran_lately_and_not_only_failed() {
        let [refresh, _] = &WOKEN;
        let cases = [
            (9, 0, Verdict::Holds),
            (9, 8, Verdict::Holds),
            (9, 9, Verdict::Fails),
            (0, 0, Verdict::Fails),
        ];
        for (runs, errors, verdict) in cases {
            assert_eq!(refresh.judge(runs, errors).verdict, verdict, "{runs} {errors}");
        }
    }
}
