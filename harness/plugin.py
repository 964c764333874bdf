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
    """The same options as run_tests.py has; --timeout has another name, which pytest-timeout uses."""
    group = parser.getgroup("lhv", "stacks and what to run on them (docs/harness.md)")
    for name, text in settings.LISTS.items():
        group.addoption(option_name(name), dest=f"lhv_{name}", action="append", default=[], help=text)
    for name, text in settings.VALUES.items():
        group.addoption(option_name(name), dest=f"lhv_{name}", help=text)
    group.addoption("--splits", dest="lhv_splits", help="boots that the items of one machine are spread over")
    group.addoption("--no-build", dest="lhv_no_build", action="store_true", help="don't run make")


def option_name(name: str) -> str:
    return "--boot-timeout" if name == "timeout" else f"--{name.replace('_', '-')}"


@lru_cache
def _settings(config: pytest.Config) -> Settings:
    return settings.from_options(lambda name: config.getoption(f"lhv_{name}"))


def pytest_configure(config: pytest.Config) -> None:
    try:
        wanted = _settings(config)
        worker = hasattr(config, "workerinput")
        if _boots_wanted(config) and not (worker or wanted.l1 or config.getoption("lhv_no_build")):
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
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if case := _case_of(item):
            item.extra_keyword_matches.update(case.item.title.split("+"))
    if hasattr(config, "workerinput"):
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
