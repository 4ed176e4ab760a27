"""What training writes while it runs: JSON lines."""

import json
import math
from collections.abc import Mapping
from pathlib import Path


class JsonLinesLog:
    """One JSON object per logged step; after a resume the log goes on at the restored step."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(path) if (line["step"] or 0) <= resume_at]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append the numbers of a training step."""
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")


def read_log(path: Path) -> list[dict[str, float | int | None]]:
    """All complete lines of a log; the last one may have been cut by a crash."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
