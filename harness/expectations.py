# SPDX-License-Identifier: BSD-2-Clause
"""What each host is expected to do, from harness/expect/*.toml (docs/expectations.md)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import EnvironmentProblem
from harness.verdicts import Outcome, Verdict

FOLDER = Path(__file__).parent / "expect"

# A host can't be known not to start, and to be good or to skip is no deviation.
_LISTABLE = {v.name: v for v in Verdict if v not in (Verdict.GOOD, Verdict.SKIP, Verdict.INFRA)}
_MISSING = "missing: "


@dataclass(frozen=True)
class Hidden:
    """A deviation of the layers below that doesn't show through a layer."""

    ids: tuple[str, ...]  # globs, like Known's
    reason: str
    evidence: str


@dataclass(frozen=True)
class Known:
    ids: tuple[str, ...]  # globs over ids without the stack: amd64/2cpu/opt/0x003c/ept/cpu1
    verdict: Verdict
    reason: str
    link: str = ""
    evidence: str = ""
    models: tuple[str, ...] = ()  # empty: all
    match: str = ""  # regular expression that the seen reason must contain; empty: any reason
    hidden: tuple[Hidden, ...] = ()  # where a layer above hides it
    sometimes: bool = False  # a matter of timing: GOOD is no surprise
    perhaps: bool = False  # there is a layer above of which nothing is known: it may hide it or not

    def covers(self, id: str, model: str) -> bool:
        return (not self.models or model in self.models) and any(fnmatchcase(id, g) for g in self.ids)

    def hidden_by(self, id: str) -> Hidden | None:
        return next((h for h in self.hidden if any(fnmatchcase(id, g) for g in h.ids)), None)


@dataclass(frozen=True)
class Expected:
    """What the data says of one result, and how what was seen compares."""

    verdict: Verdict
    outcome: Outcome
    known: Known | None = None
    note: str = ""


@dataclass(frozen=True)
class Expectations:
    source: str  # file, or "" if there is no data
    absent: Mapping[str, frozenset[str]]  # model: capabilities that it rightly lacks
    known: tuple[Known, ...]
    hidden: tuple[Hidden, ...] = ()  # of a layer: what of the data of the layers below doesn't count
    lacks: frozenset[str] = frozenset()  # of a layer: capabilities that it rightly doesn't offer
    offers: frozenset[str] = frozenset()  # of a layer: its own, that no CPU has
    layer_options: tuple[str, ...] = ()  # of an engine: what a layer of ours must be told to run on it
    like: str = ""  # another host's file that holds as well

    def over(self, below: Expectations) -> Expectations:
        """This layer's data on top of that of what it runs on: L2 is executed by the same CPU."""
        left = tuple(replace(k, hidden=k.hidden + self.hidden) for k in below.known)
        absent = {model: (names | self.lacks) - self.offers for model, names in below.absent.items()}
        source = " + ".join(s for s in (below.source, self.source) if s)
        return Expectations(source, absent, self.known + left)

    def with_alike(self, other: Expectations) -> Expectations:
        """Another line of the same host's data holds too, but for what this one hides."""
        left = tuple(replace(k, hidden=k.hidden + self.hidden) for k in other.known)
        return replace(
            self, absent={**other.absent, **self.absent}, known=self.known + left, hidden=self.hidden + other.hidden,
            lacks=self.lacks | other.lacks, offers=self.offers | other.offers,
            layer_options=other.layer_options + self.layer_options,
        )  # fmt: skip

    def below_unknown(self) -> Expectations:
        """With a layer above on which there is no data: what the CPU does wrong may show through or not, and any
        capability may be missing."""
        return replace(self, absent={}, known=tuple(replace(k, perhaps=True) for k in self.known))

    def judge(self, id: str, model: str, verdict: Verdict, reason: str) -> Expected:
        """Holds a verdict against the data. `id` is without the stack."""
        covering = [k for k in self.known if k.covers(id, model)]
        entries = [k for k in covering if not k.hidden_by(id)]
        for known in entries:
            if verdict is known.verdict and re.search(known.match, reason):
                return Expected(known.verdict, Outcome.KNOWN, known)
        if verdict is Verdict.SKIP:
            return self._judge_skip(model, reason)
        if entries:
            first = entries[0]
            if verdict is Verdict.GOOD and all(k.perhaps or k.sometimes for k in entries):
                why = "not seen this time" if first.sometimes else "doesn't show through this L0"
                return Expected(Verdict.GOOD, Outcome.OK, note=f"{why}: {first.reason}")
            if all(k.sometimes for k in entries):
                return Expected(Verdict.GOOD, Outcome.UNEXPECTED, first, f"known is another {first.verdict.name}: {first.reason}")
            outcome = Outcome.UNEXPECTED_GOOD if verdict is Verdict.GOOD else Outcome.UNEXPECTED
            return Expected(first.verdict, outcome, first, f"known as {first.verdict.name}: {first.reason}")
        hidden = next((h for k in covering if (h := k.hidden_by(id))), None)
        note = f"doesn't show through this L0: {hidden.reason}" if hidden else ""
        return Expected(Verdict.GOOD, Outcome.OK if verdict is Verdict.GOOD else Outcome.UNEXPECTED, note=note)

    def _judge_skip(self, model: str, reason: str) -> Expected:
        if not reason.startswith(_MISSING):
            return Expected(Verdict.SKIP, Outcome.OK)
        capability = reason[len(_MISSING) :]
        if model not in self.absent:
            return Expected(Verdict.SKIP, Outcome.OK, note=f"no data on {model}")
        if capability in self.absent[model]:
            return Expected(Verdict.SKIP, Outcome.OK)
        return Expected(Verdict.GOOD, Outcome.UNEXPECTED, note=f"{model} is expected to have {capability}")


NONE = Expectations("", {}, ())


def _check_keys(where: str, table: Mapping[str, Any], required: set[str], optional: set[str]) -> None:
    if unknown := set(table) - required - optional:
        raise EnvironmentProblem(f"{where}: unknown key {sorted(unknown)[0]!r}")
    if missing := required - set(table):
        raise EnvironmentProblem(f"{where}: {sorted(missing)[0]!r} is missing")


def _strings(where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        raise EnvironmentProblem(f"{where}: must be a text or a list of texts")
    return tuple(value)


def _parse_known(where: str, entry: Mapping[str, Any]) -> Known:
    _check_keys(where, entry, {"id", "verdict", "reason", "evidence"}, {"link", "models", "match", "sometimes"})
    if entry["verdict"] not in _LISTABLE:
        raise EnvironmentProblem(f"{where}: verdict must be one of {', '.join(_LISTABLE)}")
    for key in ("reason", "evidence", "link", "match"):
        if key in entry and (not isinstance(entry[key], str) or not entry[key].strip()):
            raise EnvironmentProblem(f"{where}: {key} must be a text")
    if not isinstance(entry.get("sometimes", False), bool):
        raise EnvironmentProblem(f"{where}: sometimes must be true or false")
    if entry.get("sometimes") and "match" not in entry:
        raise EnvironmentProblem(f"{where}: what is only seen sometimes needs a match")
    try:
        re.compile(entry.get("match", ""))
    except re.error as e:
        raise EnvironmentProblem(f"{where}: match: {e}") from e
    models = _strings(f"{where}: models", entry["models"]) if "models" in entry else ()
    return Known(
        _strings(f"{where}: id", entry["id"]), _LISTABLE[entry["verdict"]], entry["reason"],
        entry.get("link", ""), entry["evidence"], models, entry.get("match", ""), sometimes=entry.get("sometimes", False),
    )  # fmt: skip


def _parse_hidden(where: str, entry: Mapping[str, Any]) -> Hidden:
    _check_keys(where, entry, {"id", "reason", "evidence"}, set())
    reason, evidence = (_strings(f"{where}: {key}", entry[key])[0] for key in ("reason", "evidence"))
    return Hidden(_strings(f"{where}: id", entry["id"]), reason, evidence)


def parse(text: str, where: str) -> Expectations:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise EnvironmentProblem(f"{where}: {e}") from e
    _check_keys(where, data, {"schema"}, {"models", "known", "hidden", "lacks", "offers", "layer_options", "like"})
    if data["schema"] != 1:
        raise EnvironmentProblem(f"{where}: schema must be 1")
    absent = {}
    for model, entry in data.get("models", {}).items():
        _check_keys(f"{where}: models.{model}", entry, {"absent"}, set())
        names = entry["absent"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise EnvironmentProblem(f"{where}: models.{model}.absent must be a list of texts")
        absent[model] = frozenset(names)
    known = [_parse_known(f"{where}: known[{i}]", e) for i, e in enumerate(data.get("known", []))]
    hidden = [_parse_hidden(f"{where}: hidden[{i}]", e) for i, e in enumerate(data.get("hidden", []))]
    options = _strings(f"{where}: layer_options", data["layer_options"]) if "layer_options" in data else ()
    lacks, offers = (frozenset(_strings(f"{where}: {k}", data[k]) if k in data else ()) for k in ("lacks", "offers"))
    like = _strings(f"{where}: like", data["like"])[0] if "like" in data else ""
    return Expectations(where, absent, tuple(known), tuple(hidden), lacks, offers, options, like)


def load(path: Path) -> Expectations:
    try:
        data = parse(path.read_text(), path.name)
    except OSError as e:
        raise EnvironmentProblem(f"{path}: {e.strerror}") from e
    if not data.like:
        return data
    if (other := load(path.with_name(f"{data.like}.toml"))).like:
        raise EnvironmentProblem(f"{path.name}: like: {other.source} is itself like another")
    return data.with_alike(other)


@lru_cache
def of_host(host: str, version: str, folder: Path = FOLDER) -> Expectations:
    """The most specific file: bochs-2.7.1, bochs-2.7, bochs-2, bochs. No file: no data."""
    parts = re.split(r"[.+-]", version) if version else []
    for n in range(len(parts), 0, -1):
        path = folder / f"{host}-{'.'.join(parts[:n])}.toml"
        if path.is_file():
            return load(path)
    path = folder / f"{host}.toml"
    return load(path) if path.is_file() else NONE


def of_stack(host: str, version: str, layers: Sequence[str], folder: Path = FOLDER) -> Expectations:
    """The engine's data, with the data of each layer on top."""
    data = of_host(host, version, folder)
    for layer in layers:
        own = of_host(layer.split("/")[0], "", folder)  # whatever the VMM
        data = data.below_unknown() if own is NONE else own.over(data)
    return data
