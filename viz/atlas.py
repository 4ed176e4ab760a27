"""The atlas: one prompt imagined under every latent action, and how each one moves the robot.

Where transitions are labelled with robot actions, a code also has the displacements of the end
effector in its labelled steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from genie_robo.inference.code_names import code_colors
from genie_robo.viz.entities import ATLAS_AXES, ATLAS_CODE, ATLAS_MOTION, SUMMARY, entity
from genie_robo.viz.images import log_video
from genie_robo.viz.recording import log_markdown, stable_id, time_columns, write_recording
from genie_robo.viz.scene import Eye
from genie_robo.viz.series import GREY
from genie_robo.viz.views import image, playing, space, text

Displacements = Float[np.ndarray, "_ 3"]

_AXES, _THICK, _THIN = 1.25, 0.018, 0.006
"""Length of the axes and radii of arrows and axes, as shares of the longest mean displacement."""
_EYE = (1.9, 1.7, 1.3)
"""Position of the eye, in lengths of the longest mean displacement."""
_SMALLEST_REACH_M, _GRID_M = 1e-3, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasView:
    """The contents of an atlas."""

    title: str
    control_hz: float
    """Steps per second, 0 when unknown."""
    names: tuple[str, ...]
    """By code: its number and direction."""
    videos: UInt8[np.ndarray, "k t h w c"]
    """From one prompt, each code held to the end."""
    num_prompt_frames: int
    displacements: tuple[Displacements, ...] | None
    """By code: dx dy dz (m) of every labelled transition with it, in the robot's axes; None
    without labels."""

    def __post_init__(self) -> None:
        """Refuse parts for different numbers of codes."""
        for name in ("names", "displacements"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self.videos):
                raise ValueError(
                    f"atlas {self.title!r}: {name} are of {len(part)} codes, but there are videos "
                    f"of {len(self.videos)}"
                )


def write_atlas(path: Path, view: AtlasView) -> Path:
    """Write an atlas as a recording with its layout."""
    shape = (*map(str, range(len(view.names))), str(view.displacements is not None))
    return write_recording(
        path,
        application_id=stable_id("atlas", shape),
        recording_id=stable_id(path.stem, (view.title,)),
        log=lambda recording: log_atlas(recording, view),
        blueprint=atlas_blueprint(view),
        name=path.stem,
    )


def atlas_blueprint(view: AtlasView) -> rrb.Blueprint:
    """A video per code in a grid about as wide as high; the arrows and the numbers on the right."""
    videos = [image("", f"{ATLAS_CODE}/{code}", name) for code, name in enumerate(view.names)]
    grid = rrb.Grid(*videos, grid_columns=ceil(sqrt(len(videos))), name="imagined")
    right: list[rrb.View] = [text("", SUMMARY, "summary")]
    if view.displacements is not None:
        x, y, z = (reach(view.displacements) * share for share in _EYE)
        eye = Eye(position=(x, y, z), target=(0, 0, 0))
        name = f"mean motion per code with 1-sigma ellipsoid (grid {1000 * _GRID_M:g} mm)"
        right.insert(0, space("", ATLAS_MOTION, eye, name=name, grid_m=_GRID_M))
    shares = [52, 48][-len(right) :]
    content = rrb.Horizontal(grid, rrb.Vertical(*right, row_shares=shares), column_shares=[60, 40])
    return playing(content, control_hz=view.control_hz)


def log_atlas(recording: rr.RecordingStream, view: AtlasView) -> None:
    """Log one video per code, and one arrow with its spread per code that has labels."""
    steps = np.arange(view.videos.shape[1])
    times = time_columns(steps, control_hz=view.control_hz)
    for code, video in enumerate(view.videos):
        log_video(recording, entity("", f"{ATLAS_CODE}/{code}"), video, times)
    if view.displacements is not None:
        length = reach(view.displacements)
        _log_axes(recording, length)
        for code, seen in enumerate(view.displacements):
            if len(seen):
                _log_motion(recording, view, code, seen, radius=_THICK * length)
    log_markdown(recording, entity("", SUMMARY), describe(view))


def _log_motion(
    recording: rr.RecordingStream, view: AtlasView, code: int, seen: Displacements, *, radius: float
) -> None:
    """Log a code's mean displacement as an arrow, and around its tip an ellipsoid of one sigma."""
    path, mean = f"{entity('', ATLAS_MOTION)}/{code}", seen.mean(axis=0)
    color = code_colors(len(view.names))[code]
    arrow = rr.Arrows3D(
        vectors=[mean],
        origins=[(0, 0, 0)],
        radii=[radius],
        colors=[color],
        labels=[view.names[code]],
    )
    recording.log(f"{path}/mean", arrow, static=True)
    if len(seen) > 1:
        half_sizes, quaternion = spread(seen)
        ellipsoid = rr.Ellipsoids3D(
            centers=[mean],
            half_sizes=[half_sizes],
            quaternions=[rr.Quaternion(xyzw=quaternion)],
            colors=[(*color, 90)],
            fill_mode=rr.components.FillMode.MajorWireframe,
        )
        recording.log(f"{path}/spread", ellipsoid, static=True)


def _log_axes(recording: rr.RecordingStream, length: float) -> None:
    recording.log(entity("", ATLAS_MOTION), rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    path, tips, radius = entity("", ATLAS_AXES), np.eye(3) * _AXES * length, _THIN * length
    axes = rr.Arrows3D(vectors=tips, origins=np.zeros((3, 3)), radii=[radius], colors=[GREY])
    recording.log(path, axes, static=True)
    ends = rr.Points3D(tips, radii=[radius], colors=[GREY], labels=["x", "y", "z"])
    recording.log(f"{path}/ends", ends, static=True)


def reach(displacements: Sequence[Displacements]) -> float:
    """Length of the longest mean displacement (m)."""
    lengths = [float(np.linalg.norm(seen.mean(axis=0))) for seen in displacements if len(seen)]
    return max([*lengths, _SMALLEST_REACH_M])


def spread(
    displacements: Displacements,
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 4"]]:
    """Standard deviations along the principal axes (m), and the rotation to those (x y z w)."""
    variances, axes = np.linalg.eigh(np.cov(displacements.T, bias=True))
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    return np.sqrt(variances.clip(min=0.0)), Rotation.from_matrix(axes).as_quat()


def describe(view: AtlasView) -> str:
    """Markdown: what is shown, and a line of numbers per code."""
    num_imagined = view.videos.shape[1] - view.num_prompt_frames
    lines = [
        f"## {view.title}",
        f"Each of the {len(view.names)} latent actions is held for {num_imagined} frames, from the "
        f"same {view.num_prompt_frames} prompt frame(s) and random seed.",
        "",
    ]
    if view.displacements is None:
        lines.append("No arrows: no episode of the run has labels to fit an action map to.")
        return "\n".join(lines)
    lines += [
        "Displacement of the end effector, mean ± one sigma over labelled validation steps:",
        "",
        "| code | steps | dx (mm) | dy (mm) | dz (mm) |",
        "|---|---|---|---|---|",
        *_rows(view.names, view.displacements),
    ]
    return "\n".join(lines)


def _rows(names: Sequence[str], displacements: Sequence[Displacements]) -> Iterator[str]:
    for name, seen in zip(names, displacements, strict=True):
        cells = ["no labelled step", "", ""]
        if len(seen):
            means, sigmas = 1000 * seen.mean(axis=0), 1000 * seen.std(axis=0)
            cells = [f"{m:+.0f} ± {s:.0f}" for m, s in zip(means, sigmas, strict=True)]
        yield f"| {name} | {len(seen)} | {' | '.join(cells)} |"
