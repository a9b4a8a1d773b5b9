#!/usr/bin/env python3
"""Writes the Grafana dashboards into grafana/*.json.

Six dashboards of one style are easier kept in step here than in two thousand lines of JSON. The JSON files are what is
imported and what is committed; a test runs this and compares. Run it after a change:

    dashboards/grafana.py

With a directory as argument it writes there. Only the standard library is needed.
"""

import json
import sys
from pathlib import Path

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#808080"

# Values as colours and words. −1 is "unknown" wherever it appears, and never green.
HEALTH = {0: ("active", GREEN), 1: ("throttled", YELLOW), 2: ("probation", ORANGE), 3: ("suspended", RED)}
LISTED = {-1: ("unknown", GREY), 0: ("not listed", GREEN), 1: ("LISTED", RED)}
GOOD = {-1: ("unknown", GREY), 0: ("bad", RED), 1: ("good", GREEN)}
VERDICT = {-1: ("unknown", GREY), 0: ("good", GREEN), 1: ("warn", YELLOW), 2: ("BAD", RED)}
REFUSED = {0: ("accepted", GREEN), 1: ("REFUSED", RED)}
YES_IS_BAD = {0: ("no", GREEN), 1: ("yes", ORANGE)}

HERE = 'instance=~"$instance"'

# What mail waits for by choice, or for others: as in the alert QueueOld.
CHOSEN = "cap|warmup|pace|reserved|tenant_held|tenant_held_by_operator|drained|operator_suspended|rate_limited|spf_not_covered|dns"


def mappings(words):
    return [
        {"type": "value", "options": {str(value): {"text": text, "color": colour, "index": place}}}
        for place, (value, (text, colour)) in enumerate(words.items())
    ]


def thresholds(*steps):
    """Steps as (from, colour); the first from None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def target(expr, legend="", *, instant=False, ref="A"):
    query = {"refId": ref, "datasource": SOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend or "__auto"}
    query |= {"instant": True, "range": False, "format": "table"} if instant else {"instant": False, "range": True}
    if "$__rate_interval" in expr:
        # Otherwise it follows the scrape interval that the data source is set to, 15 s by default: with a scrape a minute
        # a rate would have one sample and show nothing.
        query["interval"] = "1m"
    return query


class Panel:
    """One panel: its size, and everything but its place."""

    def __init__(self, kind, title, description, targets, width, height=8, **more):
        self.width, self.height = width, height
        self.body = {
            "type": kind,
            "title": title,
            "description": description,
            "datasource": SOURCE,
            "targets": [query | {"refId": chr(ord("A") + number)} for number, query in enumerate(targets)],
            **more,
        }


def lines(title, description, *targets, unit="short", width=12, height=8, stack=False, words=None, most=None, steps=False):
    custom = {"lineWidth": 1, "fillOpacity": 30 if stack else 8, "showPoints": "never", "spanNulls": False}
    custom["stacking"] = {"mode": "normal" if stack else "none", "group": "A"}
    if steps:
        custom["lineInterpolation"] = "stepAfter"
    defaults = {"unit": unit, "min": 0, "custom": custom}
    if most is not None:
        defaults["max"] = most
    if words:
        defaults["mappings"] = mappings(words)
        defaults.pop("min")
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(
        "timeseries", title, description, targets, width, height,
        fieldConfig={"defaults": defaults, "overrides": []}, options=options,
    )


def number(title, description, expr, *, unit="short", width=4, height=4, steps=((None, BLUE),), words=None, decimals=None):
    defaults = {"unit": unit, "thresholds": thresholds(*steps)}
    if words:
        defaults["mappings"] = mappings(words)
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background" if words or len(steps) > 1 else "value",
        "graphMode": "none", "textMode": "auto", "orientation": "auto", "justifyMode": "auto",
    }
    return Panel(
        "stat", title, description, [target(expr, "{{instance}}")], width, height,
        fieldConfig={"defaults": defaults, "overrides": []}, options=options,
    )


def timeline(title, description, expr, legend, words, *, width=24, height=8):
    defaults = {"mappings": mappings(words), "custom": {"fillOpacity": 80, "lineWidth": 0}, "thresholds": thresholds((None, GREY))}
    options = {
        "mergeValues": True, "showValue": "never", "rowHeight": 0.85, "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel(
        "state-timeline", title, description, [target(expr, legend)], width, height,
        fieldConfig={"defaults": defaults, "overrides": []}, options=options,
    )


def coloured(unit, words, steps):
    defaults = {"unit": unit, "custom": {"align": "center", "cellOptions": {"type": "color-background", "mode": "basic"}}}
    if words:
        defaults["mappings"] = mappings(words)
    defaults["thresholds"] = thresholds(*steps)
    return defaults


def matrix(title, description, expr, row, column, *, unit="short", words=None, steps=((None, GREY),), width=12, height=10):
    """A table with a value per row and column."""
    plain = {"align": "left", "cellOptions": {"type": "auto"}}
    first = {"matcher": {"id": "byName", "options": f"{row}\\{column}"}, "properties": [{"id": "custom", "value": plain}]}
    return Panel(
        "table", title, description, [target(expr, instant=True)], width, height,
        fieldConfig={"defaults": coloured(unit, words, steps), "overrides": [first]},
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {"columnField": column, "rowField": row, "valueField": "Value", "emptyValue": "null"},
            }
        ],
    )


def table(title, description, expr, columns, *, unit="short", words=None, steps=((None, GREY),), value="Value", width=12, height=8):
    """A table with the labels of `columns` and the value."""
    order = {name: place for place, name in enumerate([*columns, "Value"])}
    hidden = {"Time": True}
    cell = {"matcher": {"id": "byName", "options": value}, "properties": []}
    look = coloured(unit, words, steps)
    for key, what in (("unit", look["unit"]), ("custom.cellOptions", look["custom"]["cellOptions"]), ("thresholds", look["thresholds"])):
        cell["properties"].append({"id": key, "value": what})
    if words:
        cell["properties"].append({"id": "mappings", "value": mappings(words)})
    return Panel(
        "table", title, description, [target(expr, instant=True)], width, height,
        fieldConfig={"defaults": {"custom": {"align": "auto"}}, "overrides": [cell]},
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        transformations=[
            {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": {"Value": value}}}
        ],
    )


def bars(title, description, expr, legend, *, unit="percentunit", most=1, steps=((None, GREEN), (0.8, YELLOW), (0.9, RED)), width=12, height=8):
    defaults = {"unit": unit, "min": 0, "max": most, "thresholds": thresholds(*steps)}
    options = {
        "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel(
        "bargauge", title, description, [target(expr, legend)], width, height,
        fieldConfig={"defaults": defaults, "overrides": []}, options=options,
    )


def cloud(title, description, expr, *, width=12, height=8):
    """A histogram over time."""
    query = target(expr, "{{le}}") | {"format": "heatmap"}
    options = {
        "calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 32},
        "cellGap": 1, "legend": {"show": True}, "tooltip": {"mode": "single"}, "filterValues": {"le": 1e-9},
    }
    return Panel(
        "heatmap", title, description, [query], width, height,
        fieldConfig={"defaults": {"custom": {}}, "overrides": []}, options=options,
    )


class Row:
    """A heading."""

    def __init__(self, title):
        self.title = title


def laid_out(items):
    """Panels from left to right, top to bottom, as they fit into 24 columns."""
    panels, x, y, tallest = [], 0, 0, 0
    for item in items:
        is_row = isinstance(item, Row)
        width, height = (24, 1) if is_row else (item.width, item.height)
        if x + width > 24 or is_row:
            x, y, tallest = 0, y + tallest, 0
        body = {"type": "row", "title": item.title, "collapsed": False, "panels": []} if is_row else item.body
        place = {"x": x, "y": y, "w": width, "h": height}
        panels.append({"id": len(panels) + 1, **body, "gridPos": place})
        x, tallest = x + width, max(tallest, height)
    return panels


def variable(name, label, query, *, many=True):
    found = {
        "name": name, "label": label, "type": "query", "datasource": SOURCE,
        "definition": query, "query": {"query": query, "refId": "Variable"},
        "refresh": 2, "sort": 1, "multi": many, "includeAll": many, "skipUrlSync": False,
    }
    if many:
        found |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return found


INSTANCE = variable("instance", "Relay", "label_values(remuda_build_info, instance)")
POOL = variable("pool", "Pool", f"label_values(remuda_pool_bindings{{{HERE}}}, pool)")
BINDING = variable("binding", "Binding", f"label_values(remuda_binding_health{{{HERE}}}, binding)")
ONE_BINDING = variable("binding", "Binding", f"label_values(remuda_binding_health{{{HERE}}}, binding)", many=False)
PROVIDER = variable("provider", "Receiver", f"label_values(remuda_attempts_total{{{HERE}}}, destination)")
TENANT = variable("tenant", "Tenant", f"label_values(remuda_recipients_accepted_total{{{HERE}}}, tenant)")

DASHBOARDS = {
    "overview": "Overview",
    "matrix": "Bindings × receivers",
    "binding": "One binding",
    "tenants": "Tenants",
    "queue": "Queue",
    "monitor": "Monitor",
}


def dashboard(name, description, variables, items, refresh="30s", since="now-6h"):
    links = [
        {
            "type": "link", "title": title, "url": f"/d/remuda-{other}", "icon": "dashboard",
            "includeVars": True, "keepTime": True, "targetBlank": False, "asDropdown": False, "tags": [],
        }
        for other, title in DASHBOARDS.items()
        if other != name
    ]
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    return {
        "uid": f"remuda-{name}",
        "title": f"Remuda / {DASHBOARDS[name]}",
        "description": description,
        "tags": ["remuda", "mail"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": since, "to": "now"},
        "refresh": refresh,
        "links": links,
        "annotations": {"list": []},
        "templating": {"list": [source, INSTANCE, *variables]},
        "panels": laid_out(items),
    }


def rate(metric, labels="", by="", window="$__rate_interval"):
    inside = ", ".join(part for part in (HERE, labels) if part)
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate(remuda_{metric}{{{inside}}}[{window}]))"


def rise(metric, labels="", by=""):
    """How much a counter rose in an hour, from its first appearance on.

    increase() alone misses the first: a series that appears with the value 4 never rose, and the first refusals of a
    route are just what a dashboard is for. The difference to an hour ago alone misses what was counted before a restart.
    The larger of the two is right in both cases.
    """
    inside = ", ".join(part for part in (HERE, labels) if part)
    grouped = f" by ({by})" if by else ""
    series = f"remuda_{metric}{{{inside}}}"
    now, before = f"sum{grouped} ({series})", f"sum{grouped} ({series} offset 1h)"
    grown = f"sum{grouped} (increase({series}[1h]))"
    return f"(({now} - ({before} or {now} * 0)) > {grown} or {grown})"


def quantile(share, metric, by=""):
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', by=grouped)})"


def worst(series, by=""):
    """The worst of what is 1 good, 0 bad, −1 unknown: unknown only where nobody knows.

    The plain minimum would hide the one relay that says "bad" behind another that has not looked yet.
    """
    smallest = f"min by ({by})" if by else "min"
    return f"({smallest} ({series} >= 0)) or {smallest} ({series})"


def overview():
    return dashboard(
        "overview",
        "Does mail flow, what stands in its way, and who should be looked at.",
        [],
        [
            number("Delivered per second", "Recipients that receivers took responsibility for.",
                   rate("dispositions_total", 'disposition="delivered"'), unit="ops", decimals=2),
            number("Waiting", "Entries in the queue: message × pool × recipient domain.",
                   f"sum (remuda_queue_entries{{{HERE}}})"),
            number("Never tried for", "The oldest entry nobody tried, leaving aside what waits by choice (caps, warm-up, rates, holds) or for its domain's name servers.",
                   f'max (remuda_queue_untried_oldest_seconds{{{HERE}, reason!~"{CHOSEN}"}} or remuda_queue_oldest_seconds{{{HERE}}} * 0)',
                   unit="s", steps=((None, GREEN), (900, YELLOW), (3600, RED))),
            number("Bindings out", "Bindings that are suspended everywhere.",
                   f'sum (remuda_binding_health{{{HERE}, state="suspended"}})', steps=((None, GREEN), (1, RED))),
            number("Pools on backup", "Pools that send from a backup tier because too few of the others can be counted on.",
                   f"sum (remuda_pool_on_backup{{{HERE}}})", steps=((None, GREEN), (1, ORANGE))),
            number("Listings", "Pairs of binding and list for which the list says \"listed\" now.",
                   f"count (remuda_dnsbl_listed{{{HERE}}} == 1) or vector(0)", steps=((None, GREEN), (1, RED))),
            Row("Flow"),
            lines("Accepted and decided", "Recipients per second: taken in, and what became of them.",
                  target(rate("recipients_accepted_total"), "accepted"),
                  target(rate("dispositions_total", by="disposition"), "{{disposition}}"), unit="ops"),
            lines("Attempts by outcome", "Recipients tried per second. A deferral is tried again; it is no fate.",
                  target(rate("attempts_total", by="disposition"), "{{disposition}}"), unit="ops", stack=True),
            lines("Waiting, by reason", "Entries in the queue and what they wait for. The reasons are the verdicts of `remuda explain`.",
                  target(f"sum by (reason) (remuda_queue_waiting_entries{{{HERE}}})", "{{reason}}"), stack=True),
            lines("Time to delivery", "From the answer 250 to the receiver's, for what was delivered: half of it within, 95 % within.",
                  target(quantile(0.5, "delivery_delay_seconds"), "half"),
                  target(quantile(0.95, "delivery_delay_seconds"), "95 %"), unit="s"),
            Row("Addresses"),
            table("Pools", "Bindings that may carry mail now. 0 means that the pool's mail waits.",
                  f"sum by (pool) (remuda_pool_eligible_bindings{{{HERE}}})", ["pool"], value="eligible",
                  steps=((None, RED), (1, GREEN)), width=6),
            table("Not active", "What is throttled, suspended or on probation, and why; destination * is the binding everywhere.",
                  f"sum by (binding, destination, state, reason) (remuda_not_active{{{HERE}}})",
                  ["binding", "destination", "state", "reason"], value="routes"),
            table("Alerts", "Alerts of dashboards/alerts.yml that fire or are about to.",
                  'ALERTS{alertname!="", job="remuda", ' + HERE + "}", ["alertname", "severity", "alertstate", "binding", "pool", "tenant"],
                  width=6),
            lines("Moves of health", "Bindings and routes that changed state, per hour, by new state and reason.",
                  target(rise("health_changes_total", by="state, reason"), "{{state}}: {{reason}}"), steps=True),
            lines("Why recipients were not delivered", "Recipients per second by cause, whatever became of them later.",
                  target(rate("attempts_total", 'disposition!="delivered"', by="cause"), "{{cause}}"), unit="ops", stack=True),
            Row("The relay"),
            number("Spool free", "Part of the spool's file system that is free.",
                   f"min (remuda_spool_free_bytes{{{HERE}}} / remuda_spool_size_bytes{{{HERE}}})", unit="percentunit",
                   steps=((None, RED), (0.05, YELLOW), (0.1, GREEN))),
            number("Configuration", "Whether what was read last is in force.", f"min (remuda_config_reload_success{{{HERE}}})", words=GOOD),
            number("Running for", "Since the last start.", f"min (time() - remuda_start_time_seconds{{{HERE}}})", unit="s"),
            number("Sessions", "SMTP sessions open now.", f"sum (remuda_ingress_sessions{{{HERE}}})"),
            number("Possible duplicates", "Attempts of a day that ended after the final dot without a reply.",
                   f"sum (increase(remuda_duplicates_possible_total{{{HERE}}}[1d]))", decimals=0),
            table("Version", "Of each relay.", f"sum by (instance, version) (remuda_build_info{{{HERE}}})", ["instance", "version"],
                  width=4, height=4),
        ],
    )


def matrices():
    pair = f'{HERE}, binding=~"$binding", destination=~"$provider"'
    routes = 'binding=~"$binding", destination=~"$provider"'
    each = "binding, destination"
    tried = rise("attempts_total", routes, by=each)
    delivered = rise("attempts_total", f'{routes}, disposition="delivered"', by=each)
    blamed = rise("attempts_total", f'{routes}, cause=~"spam_block_ip|protocol_or_config|rate_limited"', by=each)
    return dashboard(
        "matrix",
        "Each binding against each receiver: health, acceptance, volume. One bad column is a receiver, one bad row a binding.",
        [BINDING, PROVIDER],
        [
            matrix("Health", "The worse of the binding's state and that of its route to the receiver.",
                   f"max by (binding, destination) (remuda_route_health{{{pair}}})", "binding", "destination", words=HEALTH),
            matrix("Accepted, last hour", "Part of the recipients tried that the receiver took. Empty: none tried.",
                   f"({delivered} or {tried} * 0) / ({tried} > 0)", "binding", "destination", unit="percentunit",
                   steps=((None, RED), (0.5, ORANGE), (0.8, YELLOW), (0.95, GREEN))),
            matrix("Recipients tried, last hour", "How much each route carries. A route on probation shows a trickle.",
                   f"round({tried})", "binding", "destination", steps=((None, GREY), (1, BLUE))),
            matrix("Blamed, last hour", "Recipients refused or put off because of our address.",
                   f"round({blamed})",
                   "binding", "destination", steps=((None, GREEN), (1, YELLOW), (20, RED))),
            matrix("Connections allowed", "How many connections the route may have now; 0 while the receiver wants none.",
                   f"sum by (binding, destination) (remuda_window_limit{{{pair}}})", "binding", "destination",
                   steps=((None, RED), (1, BLUE))),
            matrix("Complaints, seven days", "Complaints about mail of the last seven days, per delivered recipient.",
                   f"sum by (binding, destination) (remuda_complaints_window{{{pair}}}) / (sum by (binding, destination) (remuda_complaint_base_window{{{pair}}}) > 0)",
                   "binding", "destination", unit="percentunit", steps=((None, GREEN), (0.001, YELLOW), (0.003, RED))),
            Row("Over time"),
            timeline("Health of routes", "Each route to a named receiver. Hover to see which.",
                     f"max by (binding, destination) (remuda_route_health{{{pair}}})", "{{binding}} → {{destination}}", HEALTH, height=12),
            lines("Deferred, by receiver", "Part of the recipients tried that were put off.",
                  target(f'sum by (destination) (rate(remuda_attempts_total{{{pair}, disposition="deferred"}}[$__rate_interval])) / (sum by (destination) (rate(remuda_attempts_total{{{pair}}}[$__rate_interval])) > 0)',
                         "{{destination}}"), unit="percentunit", most=1),
            lines("Refused, by binding", "Part of the recipients tried that bounced.",
                  target(f'sum by (binding) (rate(remuda_attempts_total{{{pair}, disposition="bounced"}}[$__rate_interval])) / (sum by (binding) (rate(remuda_attempts_total{{{pair}}}[$__rate_interval])) > 0)',
                         "{{binding}}"), unit="percentunit", most=1),
        ],
    )


def binding():
    one = f'{HERE}, binding="$binding"'
    named = f'{HERE}, name="$binding"'
    return dashboard(
        "binding",
        "Everything about one binding: state, volume, receivers, caps, warm-up, lists, names.",
        [ONE_BINDING],
        [
            table("State", "What is not active, where (* is everywhere) and why. Empty: all is well.",
                  f"sum by (destination, state, reason) (remuda_not_active{{{one}}})", ["destination", "state", "reason"],
                  value="routes", width=8, height=6),
            bars("Caps today", "Used part of each daily cap: of the binding, and towards providers.",
                 f'remuda_daily_cap_used{{{named}, of=~"binding|route"}} / (remuda_daily_cap_limit{{{named}, of=~"binding|route"}} > 0)',
                 "{{of}} {{provider}}", width=8, height=6),
            number("Connections", "Attempts on the wire.", f"sum (remuda_binding_connections{{{one}}})", height=6),
            number("Reverse DNS", "Whether the PTR record leads back to the address.", worst(f"remuda_fcrdns_confirmed{{{one}}}"),
                   words=GOOD, height=6),
            timeline("Health", "The binding as a whole.", f"max by (state) (remuda_binding_health{{{one}}}) == 1", "{{state}}",
                     {1: ("so", BLUE)}, height=5),
            timeline("Health at receivers", "The worse of its own state and that of the route.",
                     f"max by (destination) (remuda_route_health{{{one}}})", "{{destination}}", HEALTH),
            Row("Volume"),
            lines("By outcome", "Recipients tried per second.", target(rate("attempts_total", 'binding="$binding"', by="disposition"), "{{disposition}}"),
                  unit="ops", stack=True),
            lines("By receiver", "Recipients tried per second.", target(rate("attempts_total", 'binding="$binding"', by="destination"), "{{destination}}"),
                  unit="ops", stack=True),
            lines("What went wrong", "Recipients per second by cause.",
                  target(rate("attempts_total", 'binding="$binding", disposition!="delivered"', by="cause"), "{{cause}}"), unit="ops", stack=True),
            lines("Connections allowed", "The window of each route; 0 while the receiver wants none.",
                  target(f"max by (destination) (remuda_window_limit{{{one}}})", "{{destination}}"), steps=True),
            Row("Reputation"),
            lines("Lists", "1 listed, 0 not listed, −1 unknown.", target(f"max by (zone) (remuda_dnsbl_listed{{{one}}})", "{{zone}}"),
                  words=LISTED, steps=True),
            lines("Complaints and bounces by mail", "Per recipient delivered in the last seven days.",
                  target(f"sum by (destination) (remuda_complaints_window{{{one}}}) / (sum by (destination) (remuda_complaint_base_window{{{one}}}) > 0)",
                         "complaints {{destination}}"),
                  target(f"sum by (destination) (remuda_late_bounces_window{{{one}}}) / (sum by (destination) (remuda_complaint_base_window{{{one}}}) > 0)",
                         "bounces {{destination}}"), unit="percentunit"),
            table("Names", "EHLO name, PTR record and what else is checked of them.",
                  worst(f"remuda_name_check{{{one}}}", "check"), ["check"], words=GOOD, width=6),
            lines("Moves of health", "Per hour, by level, new state and reason.",
                  target(rise("health_changes_total", 'binding="$binding"', by="level, state, reason"), "{{level}} {{state}}: {{reason}}"),
                  width=9, steps=True),
            lines("Expected acceptance", "The chance that the next recipient is accepted, and the part of its weight the binding keeps, where its pool follows reputation.",
                  target(f"max by (destination) (remuda_predicted_chance{{{one}}})", "chance {{destination}}"),
                  target(f"max by (destination) (remuda_weight_kept{{{one}}})", "weight {{destination}}"),
                  unit="percentunit", most=1, width=9),
            Row("Warm-up"),
            lines("Stage", "Of each ladder that holds it back, from 0; none when warm.",
                  target(f"max by (destination) (remuda_warmup_stage{{{one}}})", "{{destination}}"), steps=True),
            lines("Allowance", "Recipients that the stage allows today.",
                  target(f"max by (destination) (remuda_warmup_allowance{{{one}}})", "{{destination}}"), steps=True),
        ],
    )


def tenants():
    whose = f'{HERE}, tenant=~"$tenant"'
    decided = rise("dispositions_total", 'tenant=~"$tenant"', by="tenant")
    bounced = rise("dispositions_total", 'tenant=~"$tenant", disposition="bounced"', by="tenant")
    return dashboard(
        "tenants",
        "Who sends how much, with what success, and who is held.",
        [TENANT],
        [
            lines("Recipients accepted", "Per second and tenant.", target(rate("recipients_accepted_total", 'tenant=~"$tenant"', by="tenant"), "{{tenant}}"),
                  unit="ops", stack=True),
            lines("Recipients decided", "Per second, by tenant and what became of them.",
                  target(rate("dispositions_total", 'tenant=~"$tenant"', by="tenant, disposition"), "{{tenant}} {{disposition}}"), unit="ops"),
            bars("Bounced, last hour", "Part of the recipients decided that bounced. Lists with more than 5 % harm everybody.",
                 f"({bounced} or {decided} * 0) / ({decided} > 0)", "{{tenant}}", most=0.2,
                 steps=((None, GREEN), (0.02, YELLOW), (0.05, RED)), width=8),
            bars("Daily caps", "Used part of the tenants' caps, also towards providers.",
                 f'remuda_daily_cap_used{{{HERE}, name=~"$tenant", of=~"tenant|tenant_route"}} / (remuda_daily_cap_limit{{{HERE}, name=~"$tenant", of=~"tenant|tenant_route"}} > 0)',
                 "{{name}} {{provider}}", width=8),
            table("Held", "Mail that a receiver refuses whichever binding carries it: it waits, others go on.",
                  f"sum by (tenant, destination) (remuda_tenant_holds{{{whose}}})", ["tenant", "destination"], value="holds",
                  steps=((None, RED),), width=8),
            lines("Complaints", "Per hour, by tenant and receiver.",
                  target(rise("complaints_total", 'tenant=~"$tenant"', by="tenant, destination"), "{{tenant}} at {{destination}}")),
            lines("Moves of holds", "Per hour: held, probing, released.",
                  target(rise("tenant_hold_changes_total", 'tenant=~"$tenant"', by="tenant, state"), "{{tenant}} {{state}}"), steps=True),
            table("SPF", "Sender domains by whether their SPF record covers the binding.",
                  f"sum by (tenant, binding, state) (remuda_spf_domains{{{whose}}})", ["tenant", "binding", "state"], value="domains"),
            lines("Refused at the door", "Messages per second that were refused at the end of data, by reason.",
                  target(rate("messages_refused_total", by="reason"), "{{reason}}"), unit="ops"),
        ],
    )


def queue():
    pool = f'{HERE}, pool=~"$pool"'
    return dashboard(
        "queue",
        "What waits and why, how long it takes, and what the relay itself needs for it.",
        [POOL],
        [
            lines("Waiting, by reason", "Entries. The reasons are the verdicts of `remuda explain`.",
                  target(f"sum by (reason) (remuda_queue_waiting_entries{{{pool}}})", "{{reason}}"), stack=True),
            lines("Waiting, by pool", "Entries.", target(f"sum by (pool) (remuda_queue_waiting_entries{{{pool}}})", "{{pool}}"), stack=True),
            lines("Never tried for", "Age of the oldest entry that was never tried, by pool and reason.",
                  target(f"max by (pool, reason) (remuda_queue_untried_oldest_seconds{{{pool}}})", "{{pool}} {{reason}}"), unit="s"),
            lines("Oldest", "Age of the oldest entry of all: mail to hosts that are down stays until its lifetime ends.",
                  target(f"max by (instance) (remuda_queue_oldest_seconds{{{HERE}}})", "{{instance}}"), unit="s"),
            lines("Answers of the scheduler", "Per second, by verdict; eligible is an attempt that starts.",
                  target(rate("selection_verdicts_total", 'pool=~"$pool"', by="verdict"), "{{verdict}}"), unit="ops"),
            lines("Bindings of the pools", "How many may carry mail, and how many are out for which verdict.",
                  target(f"sum by (pool) (remuda_pool_eligible_bindings{{{pool}}})", "{{pool}} eligible"),
                  target(f"sum by (pool, verdict) (remuda_pool_bindings_out{{{pool}}})", "{{pool}} {{verdict}}"), steps=True),
            lines("Attempts from backups", "Per second, by pool.", target(rate("failover_attempts_total", 'pool=~"$pool"', by="pool"), "{{pool}}"), unit="ops"),
            lines("In the queue", "Entries, recipients, and recipients whose pool or tenant is not configured any more.",
                  target(f"sum (remuda_queue_entries{{{HERE}}})", "entries"),
                  target(f"sum (remuda_queue_recipients{{{HERE}}})", "recipients"),
                  target(f"sum (remuda_queue_stranded_recipients{{{HERE}}})", "stranded")),
            Row("Time"),
            cloud("Time to delivery", "From the answer 250 to the receiver's.", rate("delivery_delay_seconds_bucket", by="le")),
            lines("Duration of attempts", "Half and 95 % of the attempts took no longer.",
                  target(quantile(0.5, "attempt_duration_seconds"), "half"),
                  target(quantile(0.95, "attempt_duration_seconds"), "95 %"), unit="s"),
            Row("The relay"),
            lines("Space of the spool", "Free, and the floor below which new mail is refused.",
                  target(f"min by (instance) (remuda_spool_free_bytes{{{HERE}}})", "{{instance}} free"),
                  target(f"min by (instance) (remuda_spool_floor_bytes{{{HERE}}})", "{{instance}} floor"), unit="bytes", width=8),
            lines("Commits", "Group commits per second: each one sync of the disk.",
                  target(f"sum (deriv(remuda_spool_commits{{{HERE}}}[$__rate_interval]))", "commits"), unit="ops", width=8),
            lines("Errors of the spool", "Per hour, by operation; and records set aside in all.",
                  target(rise("spool_errors_total", by="operation"), "{{operation}}"),
                  target(f"sum (remuda_spool_quarantined_records{{{HERE}}})", "set aside"), width=8),
            lines("SMTP sessions", "Open now.", target(f"sum (remuda_ingress_sessions{{{HERE}}})", "open"), width=8),
            lines("New sessions", "Per second, and those refused by a limit.",
                  target(rate("ingress_sessions_total"), "new"),
                  target(rate("ingress_refused_connections_total"), "refused"), unit="ops", width=8),
            lines("Reports", "Reports of failed delivery sent, and mails that came to addresses for reports, per hour.",
                  target(rise("dsns_total"), "sent"),
                  target(rise("reports_total", by="kind, verdict"), "{{kind}} {{verdict}}"), width=8),
            lines("Memory", "Resident.", target(f"max by (instance) (remuda_process_resident_memory_bytes{{{HERE}}})", "{{instance}}"), unit="bytes", width=8),
            lines("Processor", "Processors in use.", target(rate("process_cpu_seconds_total", by="instance"), "{{instance}}"), width=8),
            lines("File descriptors", "Open, and the limit.",
                  target(f"max by (instance) (remuda_process_open_fds{{{HERE}}})", "{{instance}} open"),
                  target(f"max by (instance) (remuda_process_max_fds{{{HERE}}})", "{{instance}} limit"), width=8),
        ],
    )


def monitor():
    zone_states = f"max by (zone, state) (remuda_dnsbl_zone_health{{{HERE}}}) == 1"
    return dashboard(
        "monitor",
        "What lists, names and feeds say of us, and whether they are to be believed.",
        [BINDING],
        [
            matrix("Listings", "What each list says of each binding. Grey is unknown: the list did not answer, or is not believed.",
                   f'max by (binding, zone) (remuda_dnsbl_listed{{{HERE}, binding=~"$binding"}})', "binding", "zone", words=LISTED, width=16),
            table("Lists", "State of each list: only a healthy one is believed.", zone_states, ["zone", "state"], width=8, height=10),
            timeline("Lists that are not healthy", "While the probes of a list fail nobody is suspended for what it says.",
                     f'max by (zone, state) (remuda_dnsbl_zone_health{{{HERE}, state!="healthy"}}) == 1', "{{zone}} {{state}}",
                     {1: ("so", ORANGE)}, height=6),
            lines("Age of answers", "Since the last conclusive answer, the oldest of each list. Twice the interval of the rounds is fine.",
                  target(f'max by (zone) (remuda_dnsbl_answer_age_seconds{{{HERE}, binding=~"$binding"}})', "{{zone}}"), unit="s"),
            lines("From listing to the last message", "To the end of the last attempt, from the first answer with the listing (first_answer) and from the last one without (last_clean): half and 95 % of the listings.",
                  target(quantile(0.5, "listing_reaction_seconds", "from"), "half, from {{from}}"),
                  target(quantile(0.95, "listing_reaction_seconds", "from"), "95 %, from {{from}}"), unit="s"),
            table("Weights of listings", "What each listing weighs: 0 ignore, 1 notice, 2 warn, 3 throttle, 4 suspend.",
                  f'max by (binding, zone) (remuda_dnsbl_listing_weight{{{HERE}, binding=~"$binding"}})', ["binding", "zone"], value="weight",
                  steps=((None, GREY), (2, YELLOW), (3, ORANGE), (4, RED)), width=8),
            table("Domains on lists", "Domains that a list names, of a binding (EHLO, PTR) or a tenant (senders), by the heaviest listing.",
                  f"max by (zone, of, name) (remuda_dnsbl_domain_listing_weight{{{HERE}}})", ["zone", "of", "name"], value="weight",
                  steps=((None, GREY), (2, YELLOW), (3, ORANGE)), width=8),
            lines("Questions not put", "Per hour, because the day's budget of the list was used up.",
                  target(rise("dnsbl_budget_denied_total", by="zone"), "{{zone}}"), width=8),
            Row("Names"),
            matrix("Names of bindings", "EHLO name and PTR record, check by check.",
                   worst(f'remuda_name_check{{{HERE}, binding=~"$binding"}}', "binding, check"), "binding", "check", words=GOOD, width=8),
            table("Reverse DNS", "Whether the PTR record of the public address leads back to it.",
                  worst(f'remuda_fcrdns_confirmed{{{HERE}, binding=~"$binding"}}', "binding"), ["binding"], words=GOOD, width=8, height=10),
            table("Resolvers", "Whether the name servers can be trusted: what they strip, rewrite or refuse.",
                  worst(f"remuda_resolver_ok{{{HERE}}}", "purpose, check"), ["purpose", "check"], words=GOOD, width=8, height=10),
            table("SPF not covered", "Sender domains whose SPF record does not cover a binding.",
                  f'sum by (tenant, binding) (remuda_spf_domains{{{HERE}, binding=~"$binding", state="not_covered"}}) > 0',
                  ["tenant", "binding"], value="domains", steps=((None, RED),)),
            Row("Feeds and alerts"),
            table("Feeds", "Whether the last fetch was good.", worst(f"remuda_feed_up{{{HERE}}}", "feed"), ["feed"], words=GOOD, width=6),
            lines("Age of feeds", "Of the newest observation. What is missing is neither good nor bad news.",
                  target(f"max by (feed) (remuda_feed_age_seconds{{{HERE}}})", "{{feed}}"), unit="s", width=6),
            table("Credentials", "Time until a feed's credentials expire.",
                  f"min by (feed) (remuda_feed_credential_expiry_timestamp_seconds{{{HERE}}}) - time()", ["feed"], unit="s", value="left",
                  steps=((None, RED), (14 * 86400, GREEN)), width=6),
            matrix("What feeds say", "Of each binding, by the thresholds of the feed.",
                   f'max by (feed, binding) (remuda_feed_state{{{HERE}, binding=~"$binding"}})', "binding", "feed", words=VERDICT, width=12, height=8),
            table("Credentials accepted", "Whether those of the feed were refused, or a page to log in came instead of data.",
                  f"max by (feed) (remuda_feed_credentials_refused{{{HERE}}})", ["feed"], value="refused", words=REFUSED, width=6),
            lines("Since the test of the resolvers", "Hourly unless configured otherwise (monitor.self_check).",
                  target(f"max by (instance) (remuda_resolver_check_age_seconds{{{HERE}}})", "{{instance}}"), unit="s", width=6),
            lines("Alerts of the relay itself", "Alerts it pushes, by severity.",
                  target(f"sum by (severity) (remuda_alerts_firing{{{HERE}}})", "{{severity}}"), width=6, steps=True),
            lines("Pushes of alerts", "Per hour, by target and outcome.",
                  target(rise("alert_pushes_total", by="target, outcome"), "{{target}} {{outcome}}"), steps=True),
            lines("Replies that no rule knows", "Per hour, by receiver and class of code.",
                  target(rise("unmatched_replies_total", by="provider, class"), "{{provider}} {{class}}xx")),
        ],
    )


def main():
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "grafana"
    for made in (overview(), matrices(), binding(), tenants(), queue(), monitor()):
        name = made["uid"].removeprefix("remuda-")
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        (into / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
