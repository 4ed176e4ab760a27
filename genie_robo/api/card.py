"""The model card of an exported Genie: a README.md in the layout of Hugging Face."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from genie_robo.api.loaded import LoadedGenie
from genie_robo.command_line import printable
from genie_robo.data.schema import open_schema
from genie_robo.data.settings import DatasetConfig, members
from genie_robo.eval_suites.results import metric_table
from genie_robo.inference.world import Codes, Latents, RobotActions
from genie_robo.provenance import read_provenance
from genie_robo.report.suites import INTERVALS, protocol_lines, read_suite
from genie_robo.run_folder import RunFolder

TAGS = ("robotics", "world-model", "latent-actions", "video-prediction", "genie")
_VERSION = re.compile(r"v?\d+(\.\d+)*")
_KINDS = {Codes: "codes", Latents: "latents", RobotActions: "robot actions"}


def model_card(genie: LoadedGenie, run: RunFolder, *, name: str) -> str:
    """The text of the card; it has no path of this machine.

    Args:
        genie: What is exported.
        run: The run that it comes from, whose evaluations are quoted.
        name: Of the exported folder.

    Raises:
        ValueError: A metrics.json of the run cannot be read.
    """
    data = genie.model.config.data
    datasets = list(dict.fromkeys(dataset_name(each) for each in members(data).values()))
    lines = [
        *_front_matter(datasets),
        f"# {printable(name)}",
        "",
        *_description_lines(genie),
        *_data_lines(genie, run, datasets),
        *_number_lines(run),
        *_usage_lines(genie, printable(name)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def dataset_name(data: DatasetConfig) -> str:
    """The name in the dataset's own files, else that of its folder."""
    try:
        return open_schema(Path(data.path)).name
    except (OSError, ValueError):
        parts = [part for part in Path(data.path).parts if not _VERSION.fullmatch(part)]
        return parts[-1] if parts else "unknown"


def _front_matter(datasets: Sequence[str]) -> list[str]:
    """YAML; text in quotes, as JSON writes it."""
    return [
        "---",
        "library_name: genie_robo",
        "pipeline_tag: robotics",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
        "datasets:",
        *(f"- {json.dumps(name)}" for name in datasets),
        "---",
        "",
    ]


def _description_lines(genie: LoadedGenie) -> list[str]:
    model, (height, width) = genie.model, genie.image_size
    counts = {
        "tokenizer": model.tokenizer,
        "latent action model": model.latent_action,
        "dynamics": model.dynamics,
    }
    sizes = ", ".join(
        f"{what} {sum(p.numel() for p in part.parameters()) / 1e6:.1f} M"
        for what, part in counts.items()
    )
    kinds = " and ".join(_KINDS[kind] for kind in genie.world.takes)
    units = zip(genie.action_names, model.action_units, strict=True)
    return [
        "A Genie world model of robot videos. It infers the latent action between two frames, one "
        f"of {genie.num_codes} codes that are clusters of {genie.latent_dim} continuous numbers, "
        "and imagines the frames that follow a given one under actions.",
        "",
        f"- frames: {height}x{width} pixels, {_rate(genie)}; images of other sizes are scaled by "
        f"`{model.config.data.resize}`",
        f"- steered by {kinds}; its window has {model.num_frames} frames",
        f"- parameters: {sizes}",
        f"- robot action: {', '.join(f'{name} ({unit})' for name, unit in units)}",
        f"- robot actions {_by(genie)}",
        "",
    ]


def _rate(genie: LoadedGenie) -> str:
    rate = genie.frames_per_second
    return f"{rate:g} per second" if rate else "at an unknown rate"


def _by(genie: LoadedGenie) -> str:
    if genie.model.takes_robot_actions:
        return "steer the dynamics, which was trained on them"
    if genie.action_map is None:
        return "do not steer it: there is no action map"
    report = genie.action_map.report
    return (
        f"steer it through an action map that was fitted to {report.num_labels} labelled steps of "
        f"{report.num_fit_episodes} validation episodes"
    )


def _data_lines(genie: LoadedGenie, run: RunFolder, datasets: Sequence[str]) -> list[str]:
    content = read_provenance(run)
    lines = ["## Data", "", f"Trained on {', '.join(map(printable, datasets))}."]
    if content is not None:
        counts = ", ".join(f"{len(ids)} {split}" for split, ids in content["episodes"].items())
        lines[-1] += (
            f" Episodes, split by a hash of their content: {counts}"
            f" (fingerprint {content['dataset_fingerprint']})."
        )
    return [
        *lines,
        "Tokenizer, latent actions and the dynamics that they steer were trained without robot "
        "actions; action maps and dynamics that robot actions steer were fitted to them.",
        "",
    ]


def _number_lines(run: RunFolder) -> list[str]:
    paths = sorted(run.path.glob("eval/*/metrics.json"))
    if not paths:
        return ["## Numbers", "", "Not evaluated.", ""]
    lines = ["## Numbers", "", INTERVALS, ""]
    for path in paths:
        headline, notes = read_suite(path)
        lines += [f"### {path.parent.name}", "", *metric_table(headline), ""]
        lines += [*(f"- {note}" for note in notes), ""]
        lines += ["<details><summary>How these numbers were measured</summary>", ""]
        lines += [*protocol_lines(headline), "", "</details>", ""]
    return lines


def _usage_lines(genie: LoadedGenie, name: str) -> list[str]:
    action = "codes=0" if genie.model.takes_codes else "robot_actions=robot_actions"
    zeros = f"robot_actions = np.zeros((10, {len(genie.action_names)}))"
    height, width = genie.image_size
    return [
        "## Use",
        "",
        "```python",
        "import numpy as np",
        "import genie_robo",
        "",
        f"genie = genie_robo.load({json.dumps(name)})  # this folder",
        f"video = np.zeros((8, {height}, {width}, 3), np.uint8)  # yours, {_rate(genie)}",
        "found = genie.actions(video)",
        "print([genie.code_names[code] for code in found.codes])",
        "print(found.latents.shape, found.robot_actions)",
        *([] if genie.model.takes_codes else [zeros]),
        f"imagined = genie.imagine(video[0], {action}, num_frames=10)",
        "print(imagined.frames.shape, imagined.uncertainty, imagined.trust)",
        "```",
        "",
        "Loading reads JSON, numpy arrays and safetensors, and executes none of them. Frames are "
        "predictions of a small model: do not act on a robot by them without checks of your own.",
    ]
