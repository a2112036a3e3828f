"""A run folder: one process at a time, one task for ever, one store.

It knows what a run *is* (spec, data, store), not how it is carried out.
"""

from __future__ import annotations

import contextlib
import fcntl
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from apportion.errors import StoreError
from apportion.search.trial import Trial
from apportion.spec import TaskSpec, differences
from apportion.spec.plugins import run as run_plugin
from apportion.spec.plugins import said
from apportion.store import Calls, Database, Trials
from apportion.store import calls as calls_table
from apportion.store import trials as trials_table
from apportion.store.archive import to_look_at
from apportion.stored import check_facts, check_rows, damaged, spec_of, trials_of

STORE = "run.sqlite"


class RunFolder:
    """An open run folder.

    Attributes:
        path: the folder.
        trials: trials, scores and events.
        calls: the bank and the ledger of this run; in the run's own file, or in a bank shared with other runs.
    """

    def __init__(self, path: Path, bank: Path | None, lock: IO[str] | None) -> None:
        self.path = path
        self._lock = lock
        own = trials_table.SCHEMA + ("" if bank else calls_table.SCHEMA)
        opened = to_look_at if lock is None else Database
        self._database = opened(path / STORE, own)
        try:
            check_facts(path / STORE, self._database)
            check_rows(path / STORE, self._database)
            _check_bank(Trials(self._database), bank)
            self._bank = opened(bank, calls_table.SCHEMA) if bank else self._database
        except BaseException:
            self._database.close()
            raise
        self.trials = Trials(self._database)
        self.calls = Calls(self._bank, self.trials.fact("run") or uuid.uuid4().hex)

    @classmethod
    def start(cls, path: Path, fingerprint: Mapping[str, Any], bank: Path | None) -> RunFolder:
        """Open a folder to run in, new or to go on with.

        Args:
            fingerprint: what makes two runs the same task.
            bank: store of the calls, None for the run's own file.

        Raises:
            StoreError: another process runs in it, or it holds a run of another task, or one that is damaged.
        """
        lock = _locked(path)
        try:
            folder = cls(path, bank, lock)
        except BaseException:
            lock.close()
            raise
        try:
            folder._adopt(fingerprint, bank)
            folder.told()  # what is wrong with a trial is said before one is added
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def view(cls, path: Path) -> RunFolder:
        """Open a folder to look at, also while another process runs in it.

        Raises:
            StoreError: there is no run.
        """
        return cls._begun(path, None)

    @classmethod
    def hold(cls, path: Path) -> RunFolder:
        """Open the folder of a run that has begun to write into it; no other process may run in it meanwhile.

        Raises:
            StoreError: there is no run, or another process runs in it.
        """
        _check_store(path)
        lock = _locked(path)
        try:
            return cls._begun(path, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def _begun(cls, path: Path, lock: IO[str] | None) -> RunFolder:
        _check_store(path)
        with contextlib.closing(to_look_at(path / STORE, trials_table.SCHEMA)) as database:
            check_facts(path / STORE, database)
            bank, begun, plugins = (Trials(database).fact(name) for name in ("bank", "fingerprint", "plugins"))
        if begun is None:
            raise StoreError(f"a run must have begun to be looked at, but {path} holds only an empty store; run it.")
        for plugin in plugins or ():
            _run_plugin(path, Path(plugin))
        return cls(path, Path(bank) if bank else None, lock)

    @property
    def spec(self) -> TaskSpec:
        """The task that the folder belongs to.

        Raises:
            StoreError: what is stored is none.
        """
        try:
            return spec_of(self.trials.fact("fingerprint"))
        except (ValueError, LookupError) as error:
            raise damaged(self.path / STORE, "the task", error) from None

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How the study ended, None if it has not."""
        outcome: dict[str, Any] | None = self.trials.fact("outcome")
        return outcome

    def told(self) -> list[Trial]:
        """Every trial, in order.

        Raises:
            StoreError: what is stored of one is none.
        """
        return trials_of(self.path / STORE, self.trials.all())

    def close(self) -> None:
        """Commit and release. May be called twice."""
        with contextlib.ExitStack() as stack:  # from the last to the first, each whether or not another fails
            if self._lock:
                stack.callback(self._lock.close)
            stack.callback(self._database.close)
            stack.callback(self._bank.close)

    def _adopt(self, fingerprint: Mapping[str, Any], bank: Path | None) -> None:
        known = self.trials.fact("fingerprint")
        if known is None:
            self.trials.set_fact("run", self.calls.run)
            self.trials.set_fact("bank", str(bank.resolve()) if bank else None)
            self.trials.set_fact("fingerprint", fingerprint)
            return
        changed = differences(_renewed(known), fingerprint)
        if changed:
            listed = "; ".join(changed[:5]) + ("; ..." if len(changed) > 5 else "")
            raise StoreError(
                f"a run goes on with the spec it began with, but {self.path} differs in {listed}; "
                "restore that, or name another folder with --out."
            )


def _renewed(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """A fingerprint as this version writes it: keys that the spec did not have then stand at their defaults."""
    try:
        spec = spec_of(known)
    except (ValueError, LookupError):
        return known
    return {**known, "spec": spec.model_dump(mode="json", by_alias=True)}


def _run_plugin(path: Path, plugin: Path) -> None:
    """Make the roles of a task's own plugin known: the graphs of its trials cannot be read without."""
    try:
        run_plugin(plugin)
    except (Exception, SystemExit) as error:
        raise StoreError(
            f"the graphs in {path} have roles of {plugin}, which raises {said(error)}; bring it back as it was."
        ) from error


def _check_store(path: Path) -> None:
    if not (path / STORE).is_file():
        raise StoreError(f"a run folder must hold {STORE}, but {path} does not; name the folder of a run.")


def _check_bank(trials: Trials, bank: Path | None) -> None:
    """A run that goes on, or is looked at, does so with the bank that holds its calls."""
    known = trials.fact("bank") if trials.fact("run") else None
    if known is None:
        return
    if bank is None or bank.resolve() != Path(known):
        raise StoreError(f"a run keeps its bank, which is {known}, but {bank} is named; restore `bank`.")
    if not bank.is_file():
        raise StoreError(f"the calls of this run are in {known}, but it is gone; bring it back.")


def _locked(path: Path) -> IO[str]:
    """The lock of a run folder, which is made if need be; held until the process ends or closes it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / "run.lock").open("w")
    except OSError as error:
        raise StoreError(f"a run folder must be writable, but {error.strerror}: {path}; name another.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreError(
            f"one process at a time may run in {path}, and another does; wait for it or stop it."
        ) from error
    return file
