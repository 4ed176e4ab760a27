"""A played session as a Rerun recording and a video."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.inference.trust import WatchedWorld
from genie_robo.inference.world import GenieWorld
from genie_robo.play.game import Game, Moment
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.replay import Replay, replay
from genie_robo.sim.restore import split_actions
from genie_robo.video_files import side_by_side, write_mp4
from genie_robo.viz.rollout import RolloutView, write_rollouts


def write_session(folder: Path, game: Game) -> Path:
    """Write the session so far as `play_NNN.rrd` and `play_NNN.mp4`, and return the recording.

    Raises:
        ValueError: Nothing was played yet.
    """
    if not game.actions:
        raise ValueError("there is nothing to record yet: press a key first")
    taken = {path.stem for path in folder.glob("play_*")}
    name = next(free for n in range(len(taken) + 1) if (free := f"play_{n:03d}") not in taken)
    view = view_session(game)
    true = {} if view.true_video is None else {"MuJoCo": view.true_video}
    shown = true | {"imagined": view.imagined_video}
    joined = side_by_side(shown, columns=len(shown))
    write_mp4(folder / f"{name}.mp4", joined, fps=view.control_hz)
    return write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)


def view_session(game: Game) -> RolloutView:
    """Everything that the recording shows; the truth only where there is a simulator."""
    moments = list(game.moments)
    imagined = np.stack([moment.frame for moment in moments])
    true_frames = [moment.true_frame for moment in moments if moment.true_frame is not None]
    true_video = np.stack(true_frames) if true_frames else None
    psnr = {}
    if true_video is not None:
        shown = {"imagined": imagined, "copy_last": np.broadcast_to(true_video[0], imagined.shape)}
        psnr = {name: frame_psnr(true_video, video) for name, video in shown.items()}
    robot_actions = _robot_actions(game)
    known = [moment.code for moment in moments[1:] if moment.code is not None]
    codes = np.array(known) if len(known) == len(game.actions) else None
    meanings = game.meanings
    return RolloutView(
        episode_id=game.prompt.name,
        control_hz=game.prompt.control_hz,
        imagined_video=imagined,
        latent_actions=codes,
        num_codes=game.num_codes,
        num_prompt_frames=1,
        summary=_summarise(game),
        code_names=() if meanings is None else game.code_names,
        uncertainty=np.array([moment.uncertainty for moment in moments]),
        trust=_trust(moments),
        decoded_actions=None if meanings is None or codes is None else meanings.mean(codes),
        true_video=true_video,
        robot_actions=robot_actions,
        action_mask=game.action_mask,
        joint_names=game.prompt.joint_names,
        replay=None if true_video is None else _replay(game, robot_actions),
        psnr=psnr,
    )


def _summarise(game: Game) -> str:
    """Markdown that describes the recording."""
    truth = (
        "MuJoCo executed the same robot actions, of a code its mean motion."
        if game.now.true_frame is not None
        else "The truth is unknown: there are no true frames."
    )
    world = game.world
    how = (
        f"Sampler: {world.sampler.describe()}."
        if isinstance(world, GenieWorld | WatchedWorld)
        else f"World model: {type(world).__name__}."
    )
    return "\n\n".join(
        [
            f"## Played from {game.prompt.title}",
            f"{game.prompt.instruction or 'no instruction'}; seed {game.seed}.",
            f"Pressed: {', '.join(action.name for action in game.actions)}",
            truth,
            how,
            game.speed,
        ]
    )


def _trust(moments: Sequence[Moment]) -> Float[np.ndarray, " t"] | None:
    """Trust in every frame, NaN where it is not known; None if it never is."""
    if all(moment.trust is None for moment in moments):
        return None
    return np.array([np.nan if moment.trust is None else moment.trust for moment in moments])


def _robot_actions(game: Game) -> Float[np.ndarray, "n a"] | None:
    """The robot actions, NaN for codes without one; None if no code has one."""
    actions = [action.robot_action for action in game.actions]
    if all(action is None for action in actions):
        return None
    missing = np.full(len(game.action_mask), np.nan)
    return np.stack([missing if a is None else a for a in actions]).astype(np.float64)


def _replay(game: Game, robot_actions: Float[np.ndarray, "n a"] | None) -> Replay:
    """The scene in 3D, one state per frame."""
    prompt = game.prompt
    assert prompt.recording is not None
    assert robot_actions is not None
    return replay(
        prompt.recording,
        start=prompt.last_step,
        robot_actions=np.clip(split_actions(robot_actions, prompt.stride), ACTION_LOW, ACTION_HIGH),
        image_size=(prompt.frames.shape[1], prompt.frames.shape[2]),
        renderer=game.renderer,
        stride=prompt.stride,
    )
