# SPDX-License-Identifier: BSD-2-Clause
"""The pytest side: options, collection, and results that travel from workers to the controller."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from harness import build, l1, plan, settings
from harness.errors import EnvironmentProblem, UsageError
from harness.lab import Lab
from harness.plan import Case
from harness.rows import Payload
from harness.settings import Settings

PAYLOAD = pytest.StashKey[Payload]()
_TEST_FILE = Path(__file__).parent / "test_boot.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lhv", "stacks and what to run on them (docs/harness.md)")
    for name, text in (
        ("--stack", "bochs, bochs@VERSION, bochs:MODEL, qemu-tcg, qemu-kvm; repeatable"),
        ("--cpu-model", "CPU model of Bochs; repeatable"),
        ("--arch", "i386, amd64; repeatable"),
        ("--opt", "mask, number or names joined by +; repeatable"),
        ("--test", "glob over AREA/NAME or NAME; repeatable"),
        ("--cpus", "number of CPUs; repeatable"),
        ("--expect", "with --l1: must appear on COM1; repeatable"),
        ("--reject", "with --l1: must not appear; repeatable"),
    ):
        group.addoption(name, action="append", default=[], help=text)
    for name, default, text in (
        ("--bochs", "", "the Bochs to use"),
        ("--boot-timeout", "", "CPU seconds without progress"),
        ("--shard", "1/1", "I/N: the I-th of N parts"),
        ("--keep", "", "folder in which everything of each boot stays"),
        ("--iter", "0", "iterations per mask"),
        ("--seed", "1", "seed of lhv's pseudo-random choices"),
        ("--splits", "1", "boots that the items of one machine are spread over"),
        ("--memory", "64", "MiB of each machine"),
        ("--build-dir", "", "where lhv and tables.json are"),
        ("--l1", "", "multiboot kernel or disk image to run instead of lhv"),
        ("--append", "", "with --l1: command line of the kernel"),
    ):
        group.addoption(name, default=default, help=text)
    group.addoption("--no-build", action="store_true", help="don't run make")


@lru_cache
def _settings(config: pytest.Config) -> Settings:
    get = config.getoption
    foreign = bool(get("--l1"))
    default = Settings()
    return Settings(
        stacks=settings.words(get("--stack")) or default.stacks,
        models=settings.words(get("--cpu-model")),
        archs=settings.parse_archs(get("--arch")) or default.archs,
        cpus=settings.parse_cpus(get("--cpus")) or ((1,) if foreign else default.cpus),
        opts=tuple(get("--opt")),
        tests=tuple(get("--test")),
        bochs=get("--bochs"),
        timeout=settings.parse_timeout(get("--boot-timeout") or (l1.TIMEOUT if foreign else default.timeout)),
        shard=settings.parse_shard(get("--shard")),
        iterations=settings.parse_number("--iter", get("--iter"), 0, 1_000_000),
        seed=settings.parse_number("--seed", get("--seed"), 0, 2**64 - 1),
        splits=settings.parse_number("--splits", get("--splits"), 1, 1000),
        memory_mb=settings.parse_number("--memory", get("--memory"), 16, 4096),
        keep=str(Path(get("--keep")).resolve()) if get("--keep") else "",
        build=Path(get("--build-dir")).resolve() if get("--build-dir") else default.build,
        l1=get("--l1"),
        append=get("--append"),
        expect=settings.parse_regexes("--expect", get("--expect")),
        reject=settings.parse_regexes("--reject", get("--reject")),
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        wanted = _settings(config)
        worker = hasattr(config, "workerinput")
        if _boots_wanted(config) and not (worker or wanted.l1 or config.getoption("--no-build")):
            build.make(wanted, quiet=True)
    except (UsageError, EnvironmentProblem) as e:
        raise pytest.UsageError(str(e)) from e


def _boots_wanted(config: pytest.Config) -> bool:
    roots = [Path(config.invocation_params.dir, a.split("::")[0]).resolve() for a in config.args]
    return any(root == _TEST_FILE or root in _TEST_FILE.parents for root in roots)


def cases_for(wanted: Settings) -> list[Case]:
    return l1.plan(wanted) if wanted.l1 else plan.make(wanted)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if Path(str(metafunc.module.__file__)) != _TEST_FILE:
        return
    try:
        cases = cases_for(_settings(metafunc.config))
    except (UsageError, EnvironmentProblem) as e:
        raise pytest.UsageError(str(e)) from e
    # xdist takes what follows the last @ for the group's name.
    params = [pytest.param(c, id=c.id, marks=pytest.mark.xdist_group(c.group.replace("@", "="))) for c in cases]
    metafunc.parametrize("case", params)


def _case_of(item: pytest.Item) -> Case | None:
    case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    return case if isinstance(case, Case) else None


def _cost(item: pytest.Item) -> int:
    case = _case_of(item)
    return case.machine.cpus if case else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if case := _case_of(item):
            item.extra_keyword_matches.update(case.item.title.split("+"))
    # The longest boots first, so that no worker is left alone with one at the end.
    items.sort(key=_cost, reverse=True)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """After all deselection: boots what is really wanted."""
    selected = [c for c in map(_case_of, request.session.items) if c]
    return Lab(_settings(request.config), selected)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    outcome: Any = yield
    if call.when == "call" and PAYLOAD in item.stash:
        outcome.get_result().lhv = item.stash[PAYLOAD]
