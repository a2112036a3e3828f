"""Taking a finished run elsewhere: its trials as a study in an Optuna storage, for the dashboard and its plots."""

from __future__ import annotations

import warnings

import optuna

from apportion.build import objectives_of, space_of
from apportion.errors import ApportionError
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen


def to_optuna(folder: RunFolder, url: str) -> int:
    """Write the measured trials of a run as a new Optuna study named like the task.

    Args:
        url: an Optuna storage URL such as `sqlite:///study.db`.

    Returns:
        The number of trials written.

    Raises:
        ApportionError: the storage already has a study of that name, or cannot be opened.
    """
    spec = folder.spec
    objectives, space = objectives_of(spec), space_of(spec)
    told = [trial for trial in folder.told() if trial.state not in ("running", "repeated")]
    try:
        study = optuna.create_study(storage=url, study_name=spec.name, directions=directions(objectives))
    except optuna.exceptions.DuplicatedStudyError:
        raise ApportionError(
            f"a study is exported once, but {url} already has {spec.name!r}; name another storage."
        ) from None
    except Exception as error:
        raise ApportionError(
            f"`URL` must open an Optuna storage, but {url}: {error}; try sqlite:///study.db."
        ) from error
    with warnings.catch_warnings():  # experimental since Optuna 3.2; the dashboard shows the names
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([o.metric for o in objectives])
    study.add_trials([frozen(trial, space, objectives) for trial in told])
    return len(told)
