# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

from pathlib import Path

import pytest

from images import build_bochs
from images.common import ImageError

SHOWSRC = """Package: bochs
Version: 3.0+dfsg-1
Checksums-Sha256:
 {0} 2554 bochs_3.0+dfsg-1.dsc
 {1} 3896488 bochs_3.0+dfsg.orig.tar.xz
Directory: pool/main/b/bochs

"""


def test_source_entry() -> None:
    text = SHOWSRC.format("0" * 64, "1" * 64)
    assert build_bochs.source_entry(text) == ("bochs_3.0+dfsg.orig.tar.xz", "1" * 64, "pool/main/b/bochs")
    with pytest.raises(ImageError, match="no source package"):
        build_bochs.source_entry(text.replace("3.0", "2.7"))


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build_bochs.default_folder() == tmp_path / "lhv" / "bochs-3.0"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build_bochs.default_folder().is_absolute()


def test_wrong_tarball(tmp_path: Path) -> None:
    wrong = tmp_path / "bochs.tar.xz"
    wrong.write_bytes(b"wrong")
    folder = tmp_path / "bochs"
    build = build_bochs.Build(folder, jobs=1, mirror="", tarball=wrong)
    assert not build.is_done()
    with pytest.raises(ImageError, match="SHA256 differs"):
        build.run()
