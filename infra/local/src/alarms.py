"""What the emulator's CloudWatch lacks for the template's alarms. It leans on the version that is pinned.

- Metrics that AWS counts by itself: the gateway's by route, the queues', and those that programs and the gateway write into
  their logs (the embedded metric format, and metric filters).
- What the gateway answers by itself: 413 to what is larger than 10 MB, and 429 where its stage allows no burst.
- Alarms by the metrics of their own dimensions, period by period, over expressions too, and with missing data as the alarm
  says. They are evaluated whenever somebody looks at them.
"""

import json
import re
import time

from ministack.services import apigateway, cloudwatch, cloudwatch_logs, lambda_svc, sqs
from ministack.services.cloudformation import provisioners

emit_logs = lambda_svc._emit_lambda_logs
execute = apigateway._handle_execute_in_scope
describe = cloudwatch._describe_alarms
alarm_record = provisioners._cw_metric_alarm_record


def counted_by_logs(function, request_id, text, *rest, **named):
    emit_logs(function, request_id, text, *rest, **named)
    config = function.get("config") or function
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config.get('FunctionName')}"
    for line in (text or "").splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if not isinstance(fields, dict):
            continue
        for directive in (fields.get("_aws") or {}).get("CloudWatchMetrics", []):
            dimensions = {name: fields[name] for name in directive["Dimensions"][0]}
            for metric in directive["Metrics"]:
                values = fields[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    cloudwatch.record_metric(
                        directive["Namespace"], metric["Name"], value, metric.get("Unit", "None"), dimensions
                    )
        count_by_filters(group, fields)


def count_by_filters(group, fields):
    for metric_filter in list(cloudwatch_logs._metric_filters.values()):
        if metric_filter["logGroupName"] == group and matches(metric_filter["filterPattern"], fields):
            for to in metric_filter["metricTransformations"]:
                dimensions = {key: fields[at[2:]] for key, at in (to.get("dimensions") or {}).items()}
                cloudwatch.record_metric(
                    to["metricNamespace"], to["metricName"], float(to["metricValue"]), "Count", dimensions
                )


def matches(pattern, fields):
    """The two forms that the template has: a field that is there, and fields with these values."""
    there = re.fullmatch(r"\{ \$\.(\w+) = \* \}", pattern)
    if there:
        return fields.get(there[1]) is not None
    one = r'\(\$\.(\w+) = "([^"]*)"\)'
    if not re.fullmatch(rf"\{{ {one}( && {one})* \}}", pattern):
        raise ValueError(f"no such pattern is known here: {pattern}")
    return all(fields.get(name) == value for name, value in re.findall(one, pattern))


def refused_by_the_gateway(stage, body):
    if len(body or b"") > 10_000_000:
        return 413, {"Content-Type": "application/json"}, b'{"message":"Request Entity Too Large"}'
    if (stage.get("defaultRouteSettings") or {}).get("throttlingBurstLimit") == 0:
        return 429, {"Content-Type": "application/json"}, b'{"message":"Too Many Requests"}'
    return None


def count_the_access(stage, route, answer, refused):
    """The line of the access log is counted by its filters, and not kept."""
    settings = stage.get("accessLogSettings")
    if settings:
        known = {
            "routeKey": (route or {}).get("routeKey", "-"),
            "status": str(answer[0]),
            "integrationLatency": "-" if refused else "1",
        }
        line = re.sub(r"\$context\.([\w.]+)", lambda found: known.get(found[1], "-"), settings["format"])
        count_by_filters(settings["destinationArn"].split(":log-group:", 1)[1].removesuffix(":*"), json.loads(line))


async def counted_by_the_gateway(api, stage, path, method, headers, body, *rest):
    since = time.time()
    known_stage = apigateway._stages.get(api, {}).get(stage) or {}
    refused = refused_by_the_gateway(known_stage, body)
    answer = refused or await execute(api, stage, path, method, headers, body, *rest)
    route = apigateway._match_route(api, method, "/" + path.lstrip("/"))
    count_the_access(known_stage, route, answer, refused)
    if route and " " in route["routeKey"]:
        by_method, resource = route["routeKey"].split(" ", 1)
        dimensions = {"ApiId": api, "Stage": stage, "Method": by_method, "Resource": resource}
        for name, value in [
            ("Count", 1),
            ("4xx", int(400 <= answer[0] < 500)),
            ("5xx", int(answer[0] >= 500)),
            ("Latency", 1000 * (time.time() - since)),
        ]:
            cloudwatch.record_metric("AWS/ApiGateway", name, value, "Count", dimensions)
    return answer


def count_the_queues():
    now = time.time()
    for url, queue in list(sqs._queues.items()):
        sqs._refresh_counts(queue)
        dimensions = {"QueueName": url.rsplit("/", 1)[-1]}
        visible = float(queue["attributes"]["ApproximateNumberOfMessages"])
        ages = [now - message.get("enqueued_at", message.get("sent_at", now)) for message in queue["messages"]]
        cloudwatch.record_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", visible, "Count", dimensions)
        cloudwatch.record_metric("AWS/SQS", "ApproximateAgeOfOldestMessage", max(ages, default=0), "Seconds", dimensions)


def value_of(namespace, name, dimensions, stat, begin, end):
    """A statistic of one metric in a span of time; none where nothing was counted."""
    key = (namespace, name, cloudwatch._dims_key({d["Name"]: d["Value"] for d in dimensions or []}))
    points = [point for point in cloudwatch._metrics.get(key) or [] if begin < point["Timestamp"] <= end]
    return cloudwatch._stat_value(cloudwatch._calc_stats(points), stat, points) if points else None


def value_of_expression(queries, begin, end):
    """The value of the one expression; none where it lacks a value, or divides by zero."""
    values, expression = {}, ""
    for query in queries:
        if "Expression" in query:
            expression = query["Expression"]
        else:
            stat, metric = query["MetricStat"], query["MetricStat"]["Metric"]
            values[query["Id"]] = value_of(
                metric["Namespace"], metric["MetricName"], metric.get("Dimensions"), stat["Stat"], begin, end
            )
    known = {
        "FILL": lambda value, other: other if value is None else value,
        "IF": lambda holds, value, other: value if holds else other,
        "MIN": lambda many: min((one for one in many if one is not None), default=None),
        "MAX": lambda many: max((one for one in many if one is not None), default=None),
        "SUM": lambda many: sum(one for one in many if one is not None),
    }
    try:
        # The template's own expressions, and nobody else's.
        return eval(expression, {"__builtins__": {}}, {**known, **values})
    except (TypeError, ZeroDivisionError):
        return None


def evaluate(alarm):
    period, periods, now = alarm["Period"], alarm["EvaluationPeriods"], time.time()
    breaching = 0
    for index in range(periods):
        begin, end = now - (index + 1) * period, now - index * period
        if alarm.get("Metrics"):
            value = value_of_expression(alarm["Metrics"], begin, end)
        else:
            stat = alarm.get("ExtendedStatistic") or alarm["Statistic"]
            value = value_of(alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"], stat, begin, end)
        breaching += (
            alarm["TreatMissingData"] == "breaching"
            if value is None
            else {
                "GreaterThanThreshold": value > alarm["Threshold"],
                "GreaterThanOrEqualToThreshold": value >= alarm["Threshold"],
                "LessThanThreshold": value < alarm["Threshold"],
            }[alarm["ComparisonOperator"]]
        )
    old, new = alarm["StateValue"], "ALARM" if breaching >= alarm.get("DatapointsToAlarm", periods) else "OK"
    if old != new:
        reason = f"{breaching} of {periods} periods"
        alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(now))
        cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
        cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)


def looked_at(*given):
    count_the_queues()
    cloudwatch._evaluate_all_alarms()
    return describe(*given)


def record_with_expressions(name, properties):
    queries = properties.get("Metrics")
    if not queries:
        return alarm_record(name, properties)
    named = {key: value for key, value in properties.items() if key != "Metrics"}
    period = next(query["MetricStat"]["Period"] for query in queries if "MetricStat" in query)
    alarm = alarm_record(name, {**named, "MetricName": "-", "Namespace": "-", "Period": period})
    return {**alarm, "Metrics": queries}


lambda_svc._emit_lambda_logs = counted_by_logs
apigateway._handle_execute_in_scope = counted_by_the_gateway
cloudwatch._evaluate_alarm = evaluate
cloudwatch._describe_alarms = looked_at
provisioners._cw_metric_alarm_record = record_with_expressions

