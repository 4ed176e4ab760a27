"""Edits of the two JSON files of a written RLDS folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FEATURES = "tensorflow_datasets.core.features."


def change_json(file: Path, change: Callable[[Any], Any]) -> None:
    """Edit a JSON file in place; what `change` returns is ignored."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def step_columns(features: Any) -> dict[str, Any]:
    """The features of a step, in the content of features.json."""
    steps = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    return steps["featuresDict"]["features"]


def change_columns(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the features of a step in features.json."""
    change_json(folder / "features.json", lambda content: change(step_columns(content)))


def tensor(*shape: float | str | None, **fields: Any) -> dict[str, Any]:
    """A tensor column as features.json describes it."""
    content = {"shape": {"dimensions": [str(axis) for axis in shape]}, "dtype": "float32"}
    return {"pythonClassName": f"{FEATURES}tensor_feature.Tensor", "tensor": content | fields}
