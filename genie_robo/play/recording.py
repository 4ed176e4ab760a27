"""A played session as a Rerun recording and a video."""

from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.inference.code_names import dictionary_names
from genie_robo.play.game import Game
from genie_robo.play.start import Start
from genie_robo.play.true_world import split_action
from genie_robo.sim.replay import Replay, replay
from genie_robo.types import ACTION_NAMES, Episode
from genie_robo.video_files import write_mp4
from viz.rollout import RolloutView, write_rollouts

_PER_FRAME = {"video", "positions", "rotations", "end_effector", "object_positions"}


def write_session(folder: Path, game: Game) -> Path:
    """Write the session so far as `play_NNN.rrd` and `play_NNN.mp4`, and return the recording.

    Raises:
        ValueError: Nothing was played yet.
    """
    if not game.actions:
        raise ValueError("there is nothing to record yet: press a key first")
    name = next_name(folder)
    view = view_session(game)
    shown = [view.imagined_video]
    if view.true_video is not None:
        shown.insert(0, view.true_video)
    write_mp4(folder / f"{name}.mp4", np.concatenate(shown, axis=2), fps=view.control_hz)
    return write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)


def next_name(folder: Path) -> str:
    """The first free one of play_000, play_001, ..."""
    taken = {path.stem for path in folder.glob("play_*")}
    return next(name for n in range(len(taken) + 1) if (name := f"play_{n:03d}") not in taken)


def view_session(game: Game) -> RolloutView:
    """Everything that the recording shows; without a simulator nothing true stands beside it."""
    start, moments = game.start, list(game.moments)
    imagined = np.stack([moment.frame for moment in moments])
    true_frames = [moment.truth.frame for moment in moments if moment.truth is not None]
    true_video = np.stack(true_frames) if true_frames else None
    robot_actions, happened = _robot_actions(game), None
    if true_video is not None and robot_actions is not None:
        happened = _replay(start, robot_actions, renderer=game.renderer)
    codes = np.array([action.code for action in game.actions])
    dictionary = None if game.action_map is None else game.action_map.dictionary
    names = () if dictionary is None else dictionary_names(dictionary)
    return RolloutView(
        episode_id=start.episode_id,
        control_hz=start.control_hz,
        imagined_video=imagined,
        latent_actions=codes,
        num_codes=game.num_codes,
        num_prompt_frames=1,
        summary=summarise(game),
        code_names=names,
        uncertainty=np.array([moment.uncertainty for moment in moments]),
        decoded_actions=None if dictionary is None else dictionary.mean(codes),
        true_video=true_video,
        robot_actions=robot_actions,
        replay=happened,
        psnr={} if true_video is None else _psnr(true_video, imagined),
    )


def summarise(game: Game) -> str:
    """Markdown that says what is shown."""
    truth = (
        "MuJoCo executed the same robot actions, of a code its mean robot action."
        if game.now.truth is not None
        else "Nobody knows what would have happened: there are no true frames."
    )
    sampler = game.sampler
    pressed = " ".join(action.name for action in game.actions)
    return "\n\n".join(
        [
            f"## Played from {game.start.name}",
            f"{game.start.instruction or 'no instruction'}; seed {game.seed}.",
            f"Pressed: {pressed}",
            truth,
            f"Sampler: {sampler.num_steps} steps, temperature {sampler.temperature:g}, "
            f"{sampler.order} order, top_k {sampler.top_k}, guidance {sampler.guidance:g}.",
            game.speed,
        ]
    )


def _robot_actions(game: Game) -> Float[np.ndarray, "n 7"] | None:
    """What the robot was told, NaN for codes that stand for no robot action; None if all do."""
    told = [action.robot_action for action in game.actions]
    if all(action is None for action in told):
        return None
    missing = np.full(len(ACTION_NAMES), np.nan)
    return np.stack([missing if a is None else a for a in told]).astype(np.float64)


def _psnr(
    true: UInt8[np.ndarray, "t h w c"], imagined: UInt8[np.ndarray, "t h w c"]
) -> dict[str, Float[np.ndarray, " t"]]:
    still = np.broadcast_to(true[0], true.shape)
    return {"imagined": frame_psnr(true, imagined), "copy_last": frame_psnr(true, still)}


def _replay(start: Start, robot_actions: Float[np.ndarray, "n 7"], *, renderer: str) -> Replay:
    """The scene in 3D, one state per frame."""
    height, width = start.frame.shape[:2]
    parts = start.steps_per_frame
    every = replay(
        _as_episode(start),
        start=0,
        robot_actions=np.concatenate([split_action(a, parts=parts) for a in robot_actions]),
        image_size=(height, width),
        renderer=renderer,
    )
    kept = {f.name: getattr(every, f.name)[::parts] for f in fields(every) if f.name in _PER_FRAME}
    return replace(every, **kept)


def _as_episode(start: Start) -> Episode:
    """A prompt as an episode of one step, as `replay` wants it."""
    assert start.sim is not None
    buffer = BytesIO()
    Image.fromarray(start.frame).save(buffer, "PNG")
    return Episode(
        episode_id=start.episode_id,
        images={"primary": (buffer.getvalue(),)},
        bgr_cameras=frozenset(),
        robot_actions=np.zeros((1, 7)),
        action_mask=np.ones(7, bool),
        end_effector_pose=None,
        pose_mask=np.zeros(7, bool),
        sim_state=start.sim.physics[None],
        scene=start.sim.scene.to_json(),
        instruction=start.instruction,
        control_hz=start.control_hz,
    )
