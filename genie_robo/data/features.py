"""The columns of a step, as features.json describes them.

The file names Python classes. They are only compared with those of tensorflow_datasets, never
imported: opening a dataset runs none of its code. A column of another class is listed, with the
reason why it cannot be read, and disturbs no other column.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MAX_COLUMN_BYTES = 2**28
"""Limit for one compressed column of an episode."""

_MODULES = "tensorflow_datasets.core.features."
_CLASSES = {
    "features_dict.FeaturesDict": "featuresDict",
    "dataset_feature.Dataset": "sequence",
    "sequence_feature.Sequence": "sequence",
    "tensor_feature.Tensor": "tensor",
    "feature.Tensor": "tensor",
    "scalar.Scalar": "tensor",
    "image_feature.Image": "image",
    "text_feature.Text": "text",
    "class_label_feature.ClassLabel": "classLabel",
}
"""The classes that are read, with the field that holds what they are. Source: the features.json
format of tensorflow_datasets 1.3 to 4.9, `feature.proto` and the older `type` and `content`."""
_NO_CLASS = "a feature without a class"
_NUMBERS = {
    f"{kind}{bits}"
    for kind, sizes in {
        "float": (16, 32, 64),
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
    }.items()
    for bits in sizes
} | {"bool"}
_STRINGS = {"string", "object", "str", "bytes"}
_ENCODINGS = {"", "none", "bytes", "zlib"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column, as the dataset describes it."""

    kind: str
    """image, text, tensor or other."""
    dtype: str
    shape: tuple[int | None, ...]
    """Shape of one step; None where it varies."""
    encoding: str = ""
    """jpeg, png or video of an image, zlib or bytes of a tensor, empty when plain."""
    why_unreadable: str = ""
    """Empty when the column can be read."""
    names: tuple[str, ...] = ()
    """Names of the numbers of a vector, where the dataset has them."""

    @property
    def size(self) -> int | None:
        """Numbers in one step, or None when it varies."""
        size = 1
        for axis in self.shape:
            if axis is None:
                return None
            size *= axis
        return size

    @property
    def step_bytes(self) -> int:
        """Bytes of one step of a tensor of numbers whose shape does not vary."""
        return (self.size or 0) * np.dtype(self.dtype).itemsize

    @property
    def is_camera(self) -> bool:
        """Whether this is an 8-bit colour image, not a depth image."""
        return self.kind == "image" and self.dtype == "uint8" and self.shape[-1:] == (3,)

    @property
    def is_text(self) -> bool:
        """Text, or the code points of one in a vector of integers."""
        is_vector = self.kind == "tensor" and len(self.shape) == 1
        return self.kind == "text" or (is_vector and self.dtype.startswith("int"))

    @property
    def holds_numbers(self) -> bool:
        """Whether it is a tensor of numbers, not of strings."""
        return self.kind == "tensor" and self.dtype in _NUMBERS

    def __str__(self) -> str:
        if self.kind == "text":
            return "text"
        shape = ",".join("?" if axis is None else str(axis) for axis in self.shape)
        text = f"{self.dtype}[{shape}]" if self.shape else self.dtype
        words = (text, self.encoding, "image") if self.kind == "image" else (text,)
        return " ".join(word for word in words if word)


_TEXT = Feature(kind="text", dtype="string", shape=())
"""Also used for string tensors, in which older datasets store their instructions."""


def step_features(content: Mapping[str, Any]) -> dict[str, Feature]:
    """Columns of a step by key, for example observation/image.

    Args:
        content: The content of features.json.

    Raises:
        ValueError: It describes no RLDS episodes; the message begins with what it lacks.
    """
    top = _open(content)
    if top.kind != "featuresDict":
        raise ValueError(f"it describes {top.class_name}, not a FeaturesDict")
    found = _children(top)
    if "steps" not in found:
        raise ValueError(f"it has no `steps` dataset, only {', '.join(sorted(found)) or 'nothing'}")
    steps = _open(found["steps"])
    rows = _open(steps.content.get("feature")) if steps.kind == "sequence" else steps
    if steps.kind != "sequence" or rows.kind != "featuresDict":
        raise ValueError(f"its `steps` are {rows.class_name}, not a Dataset of a FeaturesDict")
    try:
        return dict(sorted(_columns(rows, "")))
    except RecursionError as error:
        raise ValueError("its columns are nested too deeply") from error


class _Node(NamedTuple):
    """A feature in either layout of features.json."""

    class_name: str
    kind: str
    """The field of `feature.proto` that holds the content; empty for a class that is not read."""
    content: Mapping[str, Any]


def _open(node: Any) -> _Node:
    node = node if isinstance(node, Mapping) else {}
    name = str(node.get("pythonClassName", node.get("type", _NO_CLASS)))
    kind = _CLASSES.get(name.removeprefix(_MODULES), "") if name.startswith(_MODULES) else ""
    content = node.get(kind, node.get("content", {}))
    return _Node(name, kind, content if isinstance(content, Mapping) else {})


def _children(node: _Node) -> Mapping[str, Any]:
    """Features inside a FeaturesDict; the oldest layout has them without a level between."""
    inside = node.content.get("features", node.content)
    return inside if isinstance(inside, Mapping) else {}


def _columns(node: _Node, prefix: str) -> Iterator[tuple[str, Feature]]:
    for name, child in _children(node).items():
        opened, key = _open(child), f"{prefix}{name}"
        if opened.kind == "featuresDict":
            yield from _columns(opened, f"{key}/")
        else:
            yield key, _leaf(opened)


def _leaf(node: _Node) -> Feature:
    match node.kind:
        case "text":
            return _TEXT
        case "classLabel":
            return Feature(kind="tensor", dtype="int64", shape=())
        case "image" | "tensor":
            return _array(node)
    why = f"genie_robo does not read the class {_printable(node.class_name)}"
    return _other(node.class_name, why if node.class_name != _NO_CLASS else "it names no class")


def _array(node: _Node) -> Feature:
    content = node.content
    encoding = content.get("encodingFormat") or content.get("encoding_format")
    encoding = str(encoding or content.get("encoding") or "").lower()
    dtype = str(content.get("dtype") or "uint8")
    try:
        shape = _shape(content.get("shape"))
    except (TypeError, ValueError, OverflowError):
        return _other(node.class_name, "its shape is not a list of numbers")
    feature = Feature(
        kind=node.kind, dtype=dtype, shape=shape, encoding="" if encoding == "none" else encoding
    )
    if node.kind == "image":
        return feature
    if dtype in _STRINGS and not shape:
        return _TEXT
    why = _why_unreadable(feature)
    if dtype not in _NUMBERS | _STRINGS:
        return _other(dtype, why)
    return Feature(
        kind="tensor", dtype=dtype, shape=shape, encoding=feature.encoding, why_unreadable=why
    )


def _why_unreadable(feature: Feature) -> str:
    if feature.dtype not in _NUMBERS | _STRINGS:
        return f"its number type {_printable(feature.dtype)} is unknown"
    if feature.encoding not in _ENCODINGS:
        return f"its encoding {_printable(feature.encoding)} is unknown"
    if feature.size is None:
        return "its shape varies from step to step"
    if feature.size == 0:
        return "its steps hold no numbers"
    num_bytes = feature.step_bytes if feature.holds_numbers else feature.size
    if num_bytes > MAX_COLUMN_BYTES:
        return f"one step of it has {num_bytes} bytes, more than {MAX_COLUMN_BYTES}"
    return ""


def _shape(shape: Any) -> tuple[int | None, ...]:
    """`{"dimensions": ["8", "-1"]}`, or `[8, null]` in the older layout."""
    axes = shape.get("dimensions", []) if isinstance(shape, Mapping) else shape or []
    sizes = [None if axis is None else int(axis) for axis in axes]
    return tuple(None if size is None or size < 0 else size for size in sizes)


def _other(name: str, why: str) -> Feature:
    short = _printable(name.rpartition(".")[2] or name)
    return Feature(kind="other", dtype=short, shape=(), why_unreadable=why)


def _printable(text: str) -> str:
    """Text of a dataset for a message: one line, of bounded length."""
    return (text if text.isprintable() else ascii(text))[:100]
