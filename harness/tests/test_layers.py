# SPDX-License-Identifier: BSD-2-Clause
"""Stacks with an L0 between the engine and lhv: names, what is booted, L0's death, what is known of them."""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from harness import expectations, layers, plan
from harness.engines import Boot, Engine, Launch
from harness.errors import EnvironmentProblem, UsageError
from harness.expectations import FOLDER, load, of_stack, parse as parse_data
from harness.judge import End, Seen
from harness.l1 import RegexListener, verdict
from harness.layers import LayeredEngine
from harness.session import LhvListener
from harness.settings import Settings, check_layers
from harness.stacks import LAYERS, Stack, expand, parse
from harness.tests.conftest import Runner
from harness.tests.fake_lhv import L0_LINE, L0_PANIC
from harness.transcript import Request
from harness.verdicts import Outcome, Verdict
from harness.wire import encode

NEST = "bochs/xmhf-nest"
REASON = "CRASH of xmhf-nest: cpu=0 at=xmhf-nest/exit.c:7 exit of L1 for reason 0x21"


def test_names() -> None:
    for spec in (NEST, "bochs@2.7:tigerlake/xmhf-nest", "bochs/xmhf-nest-i386+disk", "qemu-kvm/xmhf-nest", "bochs/l0"):
        assert parse(spec).name == spec
    assert parse("bochs/xmhf-nest+module").name == NEST
    assert parse(NEST, "disk").name == "bochs/xmhf-nest+disk"
    assert parse("bochs/xmhf-nest+module", "disk").name == NEST, "what a stack says itself counts"
    assert parse("bochs", "disk").name == "bochs" and parse("bochs/l0").way == "disk"
    below = parse("bochs:tigerlake/xmhf-nest+disk").below
    assert below and below.name == "bochs:tigerlake" and below == parse("bochs:tigerlake") and parse("bochs").below is None
    names = [s.name for s in expand(["bochs", NEST], ["corei7_haswell_4770", "corei7_skylake_x"], "disk")]
    assert names == [
        "bochs", "bochs:corei7_skylake_x", "bochs/xmhf-nest+disk", "bochs:corei7_skylake_x/xmhf-nest+disk",
    ]  # fmt: skip
    for spec in ("bochs/", "bochs/xmhf-nest+", "bochs/xmhf-nest+cd", "bochs/xmhf-nest/xmhf-nest", "bochs/l0+module", "/l0"):
        with pytest.raises(UsageError):
            parse(spec)


def test_a_32_bit_l0_has_32_bit_l1s(fake_build_dir: Path) -> None:
    settings = Settings(build=fake_build_dir, stacks=("bochs/xmhf-nest-i386", NEST), opts=("0",))
    machines = list(dict.fromkeys(c.machine.name for c in plan.make(replace(settings, cpus=(1,)))))
    assert machines == ["bochs/xmhf-nest-i386/i386/1cpu", f"{NEST}/i386/1cpu", f"{NEST}/amd64/1cpu"]
    assert plan.not_planned(settings) == ["bochs/xmhf-nest-i386/amd64 isn't planned: xmhf-nest-i386 runs i386 only"]


def test_what_is_not_planned_is_told(run: Runner) -> None:
    note = "# bochs/xmhf-nest-i386/amd64 isn't planned: xmhf-nest-i386 runs i386 only\n"
    words = ["--stack=bochs,bochs/xmhf-nest-i386", "--opt=0"]
    done = run(*words)
    assert done.code == 0 and note in done.out and done.document["notes"] == [note[2:-1]]
    assert note in run(*words, "--list").out
    done = run("--stack=bochs/xmhf-nest-i386", "--opt=0")
    assert done.code == 4 and "xmhf-nest-i386 runs i386 only" in done.err


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "other.img"
    path.write_bytes(bytes(510) + b"\x55\xaa" + bytes(512 * 1007))
    return path


class Recorder(Engine):
    """An engine that only remembers what it was asked to boot."""

    def __init__(self, version: str = "9.0") -> None:
        super().__init__("bochs", version, "a_model")
        self.boots: list[Boot]
        object.__setattr__(self, "boots", [])

    @property
    def exit_word(self) -> str:
        return "bochs"

    def prepare(self, boot: Boot, folder: Path) -> Launch:
        self.boots.append(boot)
        return Launch((), folder / "com1", ())

    def explain(self, status: int, console: str, said_something: bool) -> End:
        return End(Verdict.CRASH, "ended")


def booted(spec: str, settings: Settings, boot: Boot, options: tuple[str, ...] = ()) -> Boot:
    below, stack = Recorder(), parse(spec)
    engine = LayeredEngine(
        "bochs", "9.0", "a_model", "", below, settings.layer(stack.layers[-1]), stack.layers[-1] == "l0", stack.way, options
    )
    engine.prepare(boot, Path())
    return below.boots[0]


def test_an_engine_s_data_has_options_for_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.find", lambda stack, bochs: Recorder(stack.version))

    def options(spec: str) -> tuple[str, ...]:
        engine = layers.find(parse(spec), Settings(l0="somebody.img"))
        assert isinstance(engine, LayeredEngine)
        return engine.options

    assert options("bochs@2.7/xmhf-nest") == ("kick=timer",)
    assert options("bochs@3.0/xmhf-nest") == ()


def test_what_is_booted(fake_build_dir: Path, disk: Path) -> None:
    settings = Settings(build=fake_build_dir, l0=str(disk))
    lhv, nest = settings.kernel("i386"), settings.layer("xmhf-nest")
    boot = Boot(2, lhv, "opt=0x4 exit=bochs", memory_mb=77)
    assert nest.name == "xmhf-nest-amd64.elf" and settings.layer("xmhf-nest-i386").name == "xmhf-nest-i386.elf"
    got = booted(NEST, settings, boot)
    assert got == Boot(2, nest, "exit=bochs", memory_mb=77, modules=((lhv, "opt=0x4 exit=bochs"),))
    got = booted(NEST + "+disk", settings, boot)
    assert (got.kernel, got.cmdline, got.disk, got.modules) == (nest, "exit=bochs", None, ())
    assert got.second and got.second[510:512] == b"\x55\xaa" and b"opt=0x4 exit=bochs\0" in got.second
    got = booted("bochs/l0", settings, boot)
    assert (got.kernel, got.disk, got.cmdline) == (None, disk, "")
    assert got.second and b"opt=0x4 exit=bochs\0" in got.second
    # What the data of the engine says goes to a layer of ours only.
    assert booted(NEST, settings, boot, ("kick=timer",)).cmdline == "exit=bochs kick=timer"
    assert booted("bochs/l0", settings, boot, ("kick=timer",)).cmdline == ""
    # An image of somebody else's as L1: a disk can't be a module.
    got = booted(NEST + "+disk", settings, Boot(1, disk=disk))
    assert got.second == disk.read_bytes() and got.disk is None
    with pytest.raises(EnvironmentProblem, match="--l1-boot disk"):
        booted(NEST, settings, Boot(1, disk=disk))


def test_both_disks_get_to_bochs(run: Runner, tmp_path: Path, disk: Path) -> None:
    keep = tmp_path / "kept"
    done = run("--opt=0", "--stack=bochs/xmhf-nest+disk,bochs/l0", f"--l0={disk}", f"--keep={keep}")
    assert done.code == 0, done.out + done.err
    for folder in keep.iterdir():
        rc = (folder / "bochsrc").read_text()
        assert f'ata0-master: type=disk, path="{folder}/disk.img"' in rc
        assert f'ata0-slave: type=disk, path="{folder}/second.img"' in rc
        assert ((folder / "disk.img").read_bytes() == disk.read_bytes()) == ("l0" in folder.name)
    texts = {name: (s["below"], s["layer"], s["l0"], s["l1_boot"]) for name, s in done.document["stacks"].items()}
    assert texts == {
        "bochs/xmhf-nest+disk": ("bochs", "xmhf-nest", "xmhf-nest-amd64.elf", "disk"),
        "bochs/l0": ("bochs", "l0", "other.img", "disk"),
    }
    assert "# bochs/l0: bochs 9.0, corei7_haswell_4770; other.img, which gets L1 by disk\n" in done.out
    repeats = [r["repeat"] for r in done.document["results"]]
    assert repeats == [
        "./run_tests.py --stack bochs/xmhf-nest+disk --arch amd64 --cpus 1 --opt 0x0000",
        f"./run_tests.py --stack bochs/l0 --arch amd64 --cpus 1 --opt 0x0000 --l0 {disk}",
    ]


def test_l0_alone_means_its_stack(run: Runner, disk: Path) -> None:
    done = run("--opt=0", f"--l0={disk}")
    assert done.code == 0 and list(done.verdicts) == ["bochs/l0/amd64/1cpu/opt/0x0000/base/cpu0"]
    assert list(run("--opt=0", f"--stack={NEST}", "--l1-boot=disk").verdicts) == [f"{NEST}+disk/amd64/1cpu/opt/0x0000/base/cpu0"]


def test_usage(disk: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.img"
    nothing.write_bytes(bytes(512))
    for wrong, part in (
        (Settings(l0=str(disk)), "--l0 needs a stack"), (Settings(stacks=("bochs/l0",)), "needs --l0"),
        (Settings(stacks=("bochs/l0",), l0="/nosuch"), "No such file"), (Settings(stacks=("bochs/l0",), l0=str(nothing)), "boot sector"),
        (Settings(l1_boot="disk"), "--l1-boot needs"), (Settings(stacks=("bochs/l0",), l0=str(disk), l1_boot="disk"), "--l1-boot needs"),
        (Settings(stacks=(NEST,), l1_boot="cd"), "--l1-boot cd"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=part):
            check_layers(wrong)
    check_layers(Settings(stacks=("bochs", "bochs/l0", NEST), l0=str(disk), l1_boot="disk"))


def test_l1_image_as_a_module(run: Runner, disk: Path) -> None:
    done = run(f"--l1={disk}", "--expect=x", f"--stack={NEST}", defaults=False)
    assert done.code == 2 and "--l1-boot disk" in done.err
    done = run(f"--l1={disk}", "--expect=hello", f"--stack={NEST}", "--l1-boot=disk", script={"text": "hello\n"}, defaults=False)
    assert done.code == 0, done.err


def test_l0_that_is_not_built(run: Runner, tmp_path: Path, fake_build_dir: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    for name in ("tables.json", "lhv"):
        (build / name).symlink_to(fake_build_dir / name)
    done = run("--opt=0", f"--stack={NEST}", f"--build-dir={build}")
    assert done.code == 3 and set(done.verdicts.values()) == {"INFRA"}
    assert f"# environment: {build}/xmhf-nest/xmhf-nest-amd64.elf isn't there: run `make xmhf-nest`\n" in done.out


def test_panic_of_l0(run: Runner) -> None:
    """In the middle of an item: that one is a CRASH, and the run goes on behind it."""
    words = ["--opt=0,4", "--test=*", f"--stack={NEST}"]
    done = run(*words, script={"items": {"opt/0x0004": "l0panic"}, "before": L0_LINE.decode()})
    assert done.code == 1 and len(done.document["boots"]) == 2
    path = f"{NEST}/amd64/1cpu"
    bad = {k: v for k, v in done.verdicts.items() if v != "GOOD"}
    assert bad == {f"{path}/opt/0x0004/base/cpu0": "CRASH", f"{path}/opt/0x0004/ept/cpu0": "CRASH"}
    assert {done.reasons[k] for k in bad} == {REASON}
    assert "GUEST_RIP=0x1234" in done.document["logs"][f"{path}/opt/0x0004"], "the dump is in the log"
    assert f"not ok 2 {path}/opt/0x0004 # {REASON}\n" in done.out
    assert [b["end"] for b in done.document["boots"].values()] == [REASON, "done"]


def test_panic_of_an_l0_that_halts(run: Runner) -> None:
    """No need to wait for the time limit."""
    done = run("--opt=0", f"--stack={NEST}", script={"items": {"opt/0x0000": "l0panic:halt"}})
    assert set(done.verdicts.values()) == {"CRASH"} and set(done.reasons.values()) == {REASON}


def test_panic_before_lhv(run: Runner) -> None:
    script = {"before": (L0_LINE + L0_PANIC).decode(), "then": "hang"}
    done = run("--opt=0,4", f"--stack={NEST}", script=script)
    assert done.code == 1 and len(done.document["boots"]) == 1
    assert set(done.verdicts.values()) == {"CRASH"} and set(done.reasons.values()) == {REASON}


def test_panic_after_the_end(run: Runner) -> None:
    done = run("--opt=0,4", f"--stack={NEST}", script={"items": {"done": "l0panic"}})
    verdicts = {k.split("1cpu/")[1]: v for k, v in done.verdicts.items()}
    assert verdicts == {"opt/0x0000/base/cpu0": "GOOD", "opt/0x0004/base/cpu0": "CRASH", "opt/0x0004/ept/cpu0": "CRASH"}
    assert done.code == 1 and f"after the item's end: {REASON}" in done.reasons.values() and len(done.document["boots"]) == 1


def test_words_of_a_panic_alone_are_none(run: Runner) -> None:
    """lhv got to its end: whoever printed that, nothing died."""
    done = run("--opt=0,4", f"--stack={NEST}", script={"items": {"opt/0x0000": "l0panic:go_on"}})
    assert done.code == 0 and set(done.verdicts.values()) == {"GOOD"}
    done = run("--opt=0,4", "--stack=bochs", script={"items": {"opt/0x0000": "l0panic"}})
    assert "3rd (13) exception" in done.reasons["bochs/amd64/1cpu/opt/0x0000/base/cpu0"], "there is no such layer"


def test_listener_in_pieces() -> None:
    """However the bytes come in, the panic is noticed at once, and lhv's next line takes it back."""
    engine = LayeredEngine("bochs", "9.0", "m", "", Recorder())
    line = encode(1, "note", text="alive")
    for size in (1, 7, 1000):
        listener = LhvListener(Request("t", "amd64", 1, ()), engine.last_words)
        data, seen = L0_LINE + line + L0_PANIC, []
        for at in range(0, len(data), size):
            listener.feed(data[at : at + size])
            seen.append(listener.over)
        assert seen[-1] and (size == 1000 or not seen[0])
        listener.feed(L0_LINE)
        assert listener.over
        listener.feed(encode(2, "note", text="alive"))
        assert not listener.over


def test_panic_below_another_image() -> None:
    settings = Settings(expect=("PASS",), reject=("FAIL",))
    engine = LayeredEngine("bochs", "9.0", "m", "", Recorder())
    end = engine.last_words(L0_LINE + L0_PANIC)
    assert end and end.below and end.text == REASON and engine.last_words(L0_LINE) is None

    def judged(text: bytes) -> Seen:
        assert end
        listener = RegexListener(settings)
        listener.feed(text)
        return verdict(listener, text, end)

    assert judged(L0_PANIC) == Seen(Verdict.CRASH, REASON)
    assert judged(b"FAIL\n" + L0_PANIC).verdict is Verdict.CRASH
    assert judged(b"PASS\n").verdict is Verdict.GOOD


BELOW = """
schema = 1
[models.small]
absent = ["unrestricted guest"]
[models.large]
absent = []
[[known]]
id = "*/test/a/*"
verdict = "BAD"
reason = "the CPU is wrong"
evidence = "e"
"""
ABOVE = """
schema = 1
lacks = ["A/D flags"]
offers = ["private pages"]
[[hidden]]
id = "amd64/*/test/a/seen_by_l0"
reason = "L0 does it itself"
evidence = "e"
[[known]]
id = "*/test/b/x"
verdict = "CRASH"
reason = "L0 is wrong"
evidence = "e"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bochs.toml").write_text(BELOW)
    (tmp_path / "xmhf-nest.toml").write_text(ABOVE)
    return tmp_path


def test_a_layer_inherits(folder: Path) -> None:
    """The same CPU executes L2: what it does wrong is known, until L0's file says that it is hidden."""
    bare, nested = of_stack("bochs", "", (), folder), of_stack("bochs", "", ("xmhf-nest",), folder)
    assert (bare.source, nested.source) == ("bochs.toml", "bochs.toml + xmhf-nest.toml")

    def outcomes(id: str, verdict: Verdict) -> tuple[Outcome, Outcome]:
        first, second = (data.judge(id, "large", verdict, "") for data in (bare, nested))
        return first.outcome, second.outcome

    for id in ("amd64/1cpu/test/a/x", "i386/1cpu/test/a/seen_by_l0"):
        assert outcomes(id, Verdict.BAD) == (Outcome.KNOWN, Outcome.KNOWN)
        assert outcomes(id, Verdict.GOOD) == (Outcome.UNEXPECTED_GOOD, Outcome.UNEXPECTED_GOOD), "must be noticed"
    assert outcomes("amd64/1cpu/test/a/seen_by_l0", Verdict.GOOD) == (Outcome.UNEXPECTED_GOOD, Outcome.OK)
    note = nested.judge("amd64/1cpu/test/a/seen_by_l0", "large", Verdict.GOOD, "").note
    assert note.startswith("doesn't show through this L0: ") and not nested.judge("amd64/1cpu/test/c/x", "large", Verdict.GOOD, "").note
    assert outcomes("amd64/1cpu/test/a/seen_by_l0", Verdict.BAD) == (Outcome.KNOWN, Outcome.UNEXPECTED)
    assert outcomes("amd64/1cpu/test/b/x", Verdict.CRASH) == (Outcome.UNEXPECTED, Outcome.KNOWN)
    assert outcomes("amd64/1cpu/test/b/x", Verdict.GOOD) == (Outcome.OK, Outcome.UNEXPECTED_GOOD)


def test_what_a_layer_lacks_and_offers(folder: Path) -> None:
    nested = of_stack("bochs", "", ("xmhf-nest",), folder)

    def outcome(model: str, capability: str) -> Outcome:
        return nested.judge("amd64/1cpu/test/c/x", model, Verdict.SKIP, f"missing: {capability}").outcome

    assert outcome("large", "A/D flags") is outcome("small", "unrestricted guest") is Outcome.OK
    assert outcome("large", "private pages") is outcome("large", "unrestricted guest") is Outcome.UNEXPECTED


def test_a_layer_of_which_nothing_is_known(folder: Path) -> None:
    """Somebody else's L0 may hide what the CPU does wrong, or not, and needn't offer everything."""
    unknown = of_stack("bochs", "", ("l0",), folder)
    assert unknown.source == "bochs.toml"
    for verdict, outcome in ((Verdict.BAD, Outcome.KNOWN), (Verdict.GOOD, Outcome.OK), (Verdict.CRASH, Outcome.UNEXPECTED)):
        assert unknown.judge("amd64/1cpu/test/a/x", "large", verdict, "").outcome is outcome
    assert unknown.judge("amd64/1cpu/test/b/x", "large", Verdict.BAD, "").outcome is Outcome.UNEXPECTED
    assert unknown.judge("amd64/1cpu/test/b/x", "large", Verdict.SKIP, "missing: all").outcome is Outcome.OK


@pytest.mark.parametrize("text,part", [
    ('[[hidden]]\nid = "x"\nreason = "r"', "evidence"), ('[[hidden]]\nid = []\nreason = "r"\nevidence = "e"', "id"),
    ('[[hidden]]\nid = "x"\nreason = "r"\nevidence = "e"\nverdict = "BAD"', "verdict"), ("lacks = [1]", "lacks"),
    ("offers = 1", "offers"),
])  # fmt: skip
def test_bad_data_on_a_layer(text: str, part: str) -> None:
    with pytest.raises(EnvironmentProblem, match=part):
        parse_data("schema = 1\n" + text, "test.toml")


def test_what_our_layers_hide_is_known_below() -> None:
    """A glob that hides nothing any more is stale, or misspelt."""
    engines = [load(p) for p in sorted(FOLDER.glob("*.toml")) if p.stem.partition("-")[0] in ("bochs", "qemu")]
    globs = [g for data in engines for k in data.known for g in k.ids]
    for layer in LAYERS:
        path = FOLDER / f"{layer}.toml"
        if not path.is_file():
            continue
        data = load(path)
        alike = load(path.with_name(f"{data.like}.toml")).known if data.like else ()
        below = globs + [g for k in alike for g in k.ids]
        for hidden in data.hidden:
            for own in hidden.ids:
                name = own.rpartition("/")[2]
                assert any(fnmatchcase(name, g.rpartition("/")[2]) or fnmatchcase(g.rpartition("/")[2], name) for g in below), own


def test_lines_of_a_host_are_alike(folder: Path) -> None:
    """A newer line has what the older one has, but for what is repaired; its own entries come first."""
    (folder / "newer.toml").write_text("""
schema = 1
like = "xmhf-nest"
[[hidden]]
id = "*/test/b/x"
reason = "repaired"
evidence = "e"
[[known]]
id = "*/test/b/y"
verdict = "BAD"
reason = "new"
evidence = "e"
""")
    data = of_stack("bochs", "", ("newer",), folder)
    good = data.judge("amd64/1cpu/test/b/x", "m", Verdict.GOOD, "")
    assert good.outcome is Outcome.OK and "repaired" in good.note
    assert data.judge("amd64/1cpu/test/b/x", "m", Verdict.CRASH, "").outcome is Outcome.UNEXPECTED
    assert data.judge("amd64/1cpu/test/b/y", "m", Verdict.BAD, "").outcome is Outcome.KNOWN
    assert data.judge("amd64/1cpu/test/a/seen_by_l0", "m", Verdict.GOOD, "").outcome is Outcome.OK
    assert data.judge("i386/1cpu/test/a/seen_by_l0", "m", Verdict.BAD, "").outcome is Outcome.KNOWN
    assert load(folder / "newer.toml").lacks == {"A/D flags"}


def test_alike_goes_no_further(folder: Path) -> None:
    (folder / "b.toml").write_text('schema = 1\nlike = "xmhf-nest"\n')
    (folder / "c.toml").write_text('schema = 1\nlike = "b"\n')
    with pytest.raises(EnvironmentProblem, match="itself like"):
        load(folder / "c.toml")
    (folder / "d.toml").write_text('schema = 1\nlike = "nobody"\n')
    with pytest.raises(EnvironmentProblem, match="nobody"):
        load(folder / "d.toml")


def test_data_decides_in_a_run(run: Runner) -> None:
    """The same log, bare and nested: what only a bare Bochs is known for is unexpected on top of xmhf-nest."""
    words = ["--opt=4", "--stack=bochs,bochs/xmhf-nest"]
    done = run(*words, script={"items": {"opt/0x0004/ept": "skip:EPT accessed and dirty flags"}, "version": "3.0"})
    outcomes = {r["stack"]: r["outcome"] for r in done.document["results"] if r["verdict"] == "SKIP"}
    assert outcomes == {"bochs": "unexpected", NEST: "ok"} and done.code == 1
    assert done.document["stacks"][NEST]["expectations"] == "bochs-3.0.toml + xmhf-nest.toml"


def test_layers_of_a_skipped_engine_are_skipped(tmp_path: Path) -> None:
    from harness.engines.qemu import why_no_kvm

    if not why_no_kvm():
        pytest.skip("this machine has VMX")
    engine = layers.find(Stack("qemu-kvm", "", "host", ("xmhf-nest",)), Settings(build=tmp_path))
    assert engine.skip == why_no_kvm()


def test_workers_on_other_hosts_get_the_kernels() -> None:
    from harness.cli_args import _not_needed_there

    assert not {p.name for p in _not_needed_there()} & {"xmhf-nest", "xmhf-nest-amd64.elf", "xmhf-nest-i386.elf", "lhv-amd64.elf"}


def test_json_is_json(run: Runner) -> None:
    assert json.dumps(run("--opt=0", f"--stack={NEST}").document)
    assert expectations.NONE.below_unknown() == expectations.NONE
