"""The atlas: one prompt imagined under every latent action, and how each one moves the robot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from viz.entities import ATLAS_AXES, ATLAS_CODE, ATLAS_MOTION, SUMMARY, entity
from viz.images import log_video
from viz.recording import stable_id, time_columns, write_recording
from viz.series import code_colors
from viz.views import GRID_COLOR, camera, side_panels, time_panel

_EYE = (1.9, 1.7, 1.3)
"""Where the eye is, in lengths of the longest arrow."""
_GRID_M = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasLayout:
    """What the layout of one atlas depends on."""

    root: str
    names: tuple[str, ...]
    """Of the codes, from 0."""
    control_hz: float
    reach: float | None
    """Length of the longest arrow (m); None without arrows."""


def atlas_blueprint(layout: AtlasLayout) -> rrb.Blueprint:
    """A picture per code in a grid about as wide as high; beside it the arrows and the numbers."""
    root = layout.root
    pictures = [
        camera(root, f"{ATLAS_CODE}/{code}", name) for code, name in enumerate(layout.names)
    ]
    grid = rrb.Grid(*pictures, grid_columns=ceil(sqrt(len(pictures))), name="imagined")
    aside: list[rrb.View] = [rrb.TextDocumentView(origin=entity(root, SUMMARY), name="summary")]
    if layout.reach is not None:
        aside.insert(0, _arrows(root, layout.reach))
    content = rrb.Horizontal(
        grid, rrb.Vertical(*aside, row_shares=[52, 48][-len(aside) :]), column_shares=[60, 40]
    )
    return rrb.Blueprint(content, time_panel(layout.control_hz), *side_panels(), auto_views=False)


def _arrows(root: str, reach: float) -> rrb.Spatial3DView:
    x, y, z = (reach * share for share in _EYE)
    return rrb.Spatial3DView(
        origin=entity(root, ATLAS_MOTION),
        name=f"mean motion of each code, one sigma around it (grid {1000 * _GRID_M:g} mm)",
        background=rrb.BackgroundKind.GradientDark,
        line_grid=rrb.LineGrid3D(visible=True, spacing=_GRID_M, color=GRID_COLOR),
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=(x, y, z),
            look_target=(0, 0, 0),
            eye_up=(0, 0, 1),
        ),
    )


Displacements = Float[np.ndarray, "_ 3"]

_GREY = (150, 150, 158)
_AXES, _THICK, _THIN = 1.25, 0.018, 0.006
"""Length of the axes and radii of arrows and axes, as shares of the longest mean displacement."""
_SMALLEST_REACH = 1e-3
"""Metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasView:
    """Everything that an atlas shows."""

    title: str
    control_hz: float
    """Steps per second, 0 when unknown."""
    names: tuple[str, ...]
    """Of the codes, from 0: number and dominant direction."""
    videos: UInt8[np.ndarray, "k t h w c"]
    """From one prompt, each code held to the end."""
    num_prompt_frames: int
    displacements: tuple[Displacements, ...] | None
    """By code: dx dy dz (m) of every labelled transition with it, in the robot's axes; None
    without labels."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        lengths = {"names": len(self.names)}
        if self.displacements is not None:
            lengths["displacements"] = len(self.displacements)
        for name, found in lengths.items():
            if found != len(self.videos):
                raise ValueError(
                    f"atlas {self.title!r}: {name} are of {found} codes, but there are videos of "
                    f"{len(self.videos)}"
                )


def log_atlas(recording: rr.RecordingStream, view: AtlasView, *, root: str = "") -> None:
    """Log one video per code, and one arrow with its spread per code that has labels."""
    steps = np.arange(view.videos.shape[1])
    times = time_columns(steps, control_hz=view.control_hz)
    for code, video in enumerate(view.videos):
        log_video(recording, entity(root, f"{ATLAS_CODE}/{code}"), video, times)
    if view.displacements is not None:
        _log_axes(recording, reach(view.displacements), root=root)
        for code, color in enumerate(code_colors(len(view.names))):
            log_motion(recording, view, code, color=color, root=root)
    words = rr.TextDocument(describe(view), media_type=rr.MediaType.MARKDOWN)
    recording.log(entity(root, SUMMARY), words, static=True)


def log_motion(
    recording: rr.RecordingStream,
    view: AtlasView,
    code: int,
    *,
    color: tuple[int, int, int],
    root: str = "",
) -> None:
    """Log a code's mean displacement as an arrow, and around its tip an ellipsoid of one sigma."""
    assert view.displacements is not None
    seen = view.displacements[code]
    if not len(seen):
        return
    path, mean = f"{entity(root, ATLAS_MOTION)}/{code}", seen.mean(axis=0)
    arrow = rr.Arrows3D(
        vectors=[mean],
        origins=[(0, 0, 0)],
        radii=[_THICK * reach(view.displacements)],
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


def write_atlas(path: Path, view: AtlasView) -> Path:
    """Write an atlas as a recording with its layout."""
    layout = atlas_layout(view)
    shape = (*map(str, range(len(view.names))), str(layout.reach is not None))
    return write_recording(
        path,
        application_id=stable_id("atlas", shape),
        recording_id=stable_id(path.stem, (view.title,)),
        log=lambda recording: log_atlas(recording, view),
        blueprint=atlas_blueprint(layout),
        name=path.stem,
    )


def atlas_layout(view: AtlasView, *, root: str = "") -> AtlasLayout:
    """What the blueprint needs to know of an atlas."""
    return AtlasLayout(
        root=root,
        names=view.names,
        control_hz=view.control_hz,
        reach=None if view.displacements is None else reach(view.displacements),
    )


def reach(displacements: Sequence[Displacements]) -> float:
    """Length of the longest mean displacement (m)."""
    lengths = [float(np.linalg.norm(seen.mean(axis=0))) for seen in displacements if len(seen)]
    return max([*lengths, _SMALLEST_REACH])


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
        f"same {view.num_prompt_frames} prompt frame(s) and random numbers.",
        "",
    ]
    if view.displacements is None:
        return "\n".join(
            [*lines, "No episode of the run has labels to fit an action map to: no arrows."]
        )
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
        cells = ["never seen", "", ""]
        if len(seen):
            means, sigmas = 1000 * seen.mean(axis=0), 1000 * seen.std(axis=0)
            cells = [f"{m:+.0f} ± {s:.0f}" for m, s in zip(means, sigmas, strict=True)]
        yield f"| {name} | {len(seen)} | {' | '.join(cells)} |"


def _log_axes(recording: rr.RecordingStream, length: float, *, root: str) -> None:
    recording.log(entity(root, ATLAS_MOTION), rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    path, tips, radius = entity(root, ATLAS_AXES), np.eye(3) * _AXES * length, _THIN * length
    axes = rr.Arrows3D(vectors=tips, origins=np.zeros((3, 3)), radii=[radius], colors=[_GREY])
    recording.log(path, axes, static=True)
    ends = rr.Points3D(tips, radii=[radius], colors=[_GREY], labels=["x", "y", "z"])
    recording.log(f"{path}/ends", ends, static=True)
