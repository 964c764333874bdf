# SPDX-License-Identifier: BSD-2-Clause
"""Several reports as one. Stacks of the same name stay apart: before theirs comes the report's. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import differences
from harness.report.collect import SCHEMA
from harness.rows import Row, summary

Document = dict[str, Any]


@dataclass(frozen=True)
class Source:
    name: str
    document: Document

    @property
    def stacks(self) -> list[str]:
        """Also those on which nothing could be run."""
        return list(dict.fromkeys([*(r["stack"] for r in self.document["results"]), *self.document["stacks"]]))


def documents(sources: Sequence[Source]) -> Document:
    """As one run would have written it, but that nobody has counted its exit code."""
    labels = _labels(sources)
    everywhere = {stack: label for own in reversed(labels) for stack, label in own.items()}
    results: list[Row] = []
    out: Document = {"schema": SCHEMA, "stacks": {}, "boots": {}, "logs": {}, "warnings": [], "notes": []}
    for source, own in zip(sources, labels):
        document = source.document
        for stack, row in document["stacks"].items():
            below = own.get(row["below"]) or everywhere.get(row["below"], row["below"])
            out["stacks"][own[stack]] = row | {"below": below}
        results += [_relabel(row, own[row["stack"]]) for row in document["results"]]
        boots, logs = _keys(document["results"], own, "boot"), _keys(document["results"], own, "log")
        out["boots"] |= {boots.get(k, k): row | {"stack": own[row["stack"]]} for k, row in document["boots"].items()}
        out["logs"] |= {logs.get(k, k): text for k, text in document["logs"].items()}
        for key in ("warnings", "notes"):
            out[key] += document[key]
    interrupted = any(s.document["summary"]["interrupted"] for s in sources)
    out["results"], out["differences"] = results, differences.find(results)
    out["summary"] = {**summary(results), "exit": 0, "interrupted": interrupted}
    return out


def _labels(sources: Sequence[Source]) -> list[dict[str, str]]:
    """By source, from its stacks to what they are called."""
    names = _distinct([s.name for s in sources])
    times = Counter(stack for source in sources for stack in source.stacks)
    return [
        {stack: stack if times[stack] == 1 else f"{name}={stack}" for stack in source.stacks}
        for name, source in zip(names, sources)
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    """The same name twice: they are numbered, as they were given."""
    times = Counter(names)
    return [name if times[name] == 1 else f"{name}{n}" for n, name in enumerate(names, 1)]


def _relabel(row: Row, label: str) -> Row:
    return row | {key: _renamed(row[key], row["stack"], label) for key in ("id", "item", "log", "boot")} | {"stack": label}


def _renamed(id: str, stack: str, label: str) -> str:
    return f"{label}{id.removeprefix(stack)}" if id else id


def _keys(results: Iterable[Row], labels: Mapping[str, str], key: str) -> dict[str, str]:
    return {row[key]: _renamed(row[key], row["stack"], labels[row["stack"]]) for row in results}
