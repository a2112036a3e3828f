"""The task file: read safely, checked whole, held as frozen values. It does not know how a task is run."""

from apportion.spec.data import Splits
from apportion.spec.formats import Row
from apportion.spec.identity import differences, fingerprint
from apportion.spec.jsonschema import json_schema
from apportion.spec.load import LoadedSpec, load_spec
from apportion.spec.schema import TaskSpec

__all__ = ["LoadedSpec", "Row", "Splits", "TaskSpec", "differences", "fingerprint", "json_schema", "load_spec"]
