"""Looks in a bundle for what is known to fail or to be slow: applies every rule in `export/lint/rules/` to every graph.

A finding is an error if the artifact claims to run in the rule's place, else a warning: a graph for the CPU need not
suit the Neural Engine. If a rule can't see what it needs, that is a finding, too, because the rule hasn't passed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.bundle.manifest import Artifact, Bundle, read_bundle

from ..bundle.inspect import spans, table
from ..places import HALF
from ..target import TARGETS, Target
from ..views.graph_view import HEADROOM, GraphView
from .rule import ERROR, RULES, WARNING, Rule

UNSEEN = "not looked at"
ORDER = (ERROR, WARNING, UNSEEN)


@dataclass(frozen=True)
class Finding:
    """What a rule found in a graph.

    Attributes:
        what: in words.
        where: the first place.
        count: number of places.
        place: where the artifact wouldn't run, or not well.
        source: where that is known from.
    """

    rule: str
    target: str
    precision: str
    graph: str
    severity: str
    what: str
    where: str
    count: int
    place: str
    source: str


def lint(folder: Path) -> tuple[str, dict[str, Any]]:
    """A table of what all rules found in a bundle, and the same as plain data.

    Raises:
        BundleError: the folder holds no bundle, or a damaged one.
        MissingExtraError: a target's package isn't there.
    """
    bundle = read_bundle(folder)
    rules = {name: RULES.get(name) for name in RULES.names()}
    findings = [found for artifact in bundle.manifest.artifacts for found in of_artifact(bundle, artifact, rules)]
    report = {
        "bundle": str(folder),
        "rules": list(rules),
        "findings": [asdict(found) for found in findings],
        "ok": all(found.severity != ERROR for found in findings),
    }
    return in_words(findings, rules, bundle), report


def of_artifact(bundle: Bundle, artifact: Artifact, rules: dict[str, Rule]) -> Iterator[Finding]:
    """What the rules find in each graph of an artifact."""
    target: Target = TARGETS.get(artifact.target)
    name = f"{artifact.target} {artifact.precision}"
    for graph in tqdm(artifact.files, desc=name, unit="graph", file=sys.stderr, disable=not sys.stderr.isatty()):
        if target.graph_view is None:
            view = GraphView("", graph, (), {})
            yield finding("", view, artifact, UNSEEN, "any rule", f"target {artifact.target} shows no graph")
            continue
        view = replace(target.graph_view(bundle.path(artifact, graph), graph), headroom=artifact.numerics.get(HEADROOM))
        for rule, entry in rules.items():
            yield from apply(rule, entry, view, artifact, target.runs_on)


def apply(name: str, rule: Rule, view: GraphView, artifact: Artifact, runs_on: tuple[str, ...]) -> Iterator[Finding]:
    """What one rule finds in one graph: at most one finding of what is there, and one of what can't be seen."""
    place = rule.places.get(view.format)
    if place is None:
        return
    claimed = place in runs_on or (place == HALF and view.half)
    if broken := list(rule.find(view)):
        severity = rule.severity if claimed else WARNING
        yield finding(name, view, artifact, severity, rule.what, broken[0], len(broken), place, rule.source)
    hidden = unseen(view)
    if facts := [hidden[fact] for fact in rule.needs if fact in hidden]:
        yield finding(name, view, artifact, UNSEEN, rule.what, facts[0], 1, place, rule.source)


def unseen(view: GraphView) -> dict[str, str]:
    """What can't be seen of a graph. If it computes in half precision, its activations should have been measured."""
    missing = {HEADROOM: "no headroom in the manifest"} if view.half and view.headroom is None else {}
    return missing | view.not_seen()


def finding(
    rule: str, view: GraphView, artifact: Artifact, severity: str, what: str, where: str, count: int = 1,
    place: str = "", source: str = "",
) -> Finding:  # fmt: skip
    return Finding(rule, artifact.target, artifact.precision, view.graph, severity, what, where, count, place, source)


def in_words(findings: list[Finding], rules: dict[str, Rule], bundle: Bundle) -> str:
    """A table with a row for each rule and artifact, its graphs taken together; then the reason for each rule."""
    rows: dict[tuple[str, ...], list[Finding]] = {}
    for found in sorted(findings, key=lambda found: ORDER.index(found.severity)):
        key = (found.severity, f"{found.target} {found.precision}", found.rule, found.place)
        rows.setdefault(key, []).append(found)
    lines = [(*key, spans(found.graph for found in group), first(group)) for key, group in rows.items()]
    heads = ("severity", "artifact", "rule", "place", "graphs", "found")
    counts = ", ".join(f"{sum(key[0] == severity for key in rows)} {severity}" for severity in ORDER)
    graphs = sum(len(artifact.files) for artifact in bundle.manifest.artifacts)
    parts = [table(heads, lines)] if lines else []
    seen = sorted({found.rule for found in findings if found.severity != UNSEEN and found.rule})
    if seen:
        parts.append(table(("rule", "why", "source"), [(name, rules[name].why, rules[name].source) for name in seen]))
    return "\n\n".join([*parts, f"{graphs} graphs, {len(rules)} rules: {counts}"])


def first(group: list[Finding]) -> str:
    """What was found, how often, and the first place."""
    found = max(group, key=lambda item: item.count)
    if found.severity == UNSEEN:
        return f"{found.what}? {found.where}"
    more = f" and {found.count - 1} more" if found.count > 1 else ""
    return f"{found.what}: {found.where}{more}"
