"""One prompt imagined under its actions, and the true outcome of the same actions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.config import ImagineConfig
from genie_robo.eval_context import eval_context
from genie_robo.eval_suites.simulated.pose_reading import PoseReaders, fit_pose_readers
from genie_robo.fit_action_map import find_action_map, saved_action_map
from genie_robo.imagine.steering import Steering
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.world import Actions, Codes, Prompt, Step, World, code_steps
from genie_robo.progress import Advance
from genie_robo.prompts import Clip
from genie_robo.sim.replay import Replay, replay
from genie_robo.sim.restore import split_actions
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

POSE_EPISODES = 12
"""Val episodes that the pose reader is fitted to, which takes about two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReaders:
    """Maps codes to robot actions and frames to poses; None where the run has no such map."""

    action_map: ActionMap | None
    poses: PoseReaders | None


def find_readers(trained: TrainedRun, *, num_labels: int, poses: bool = True) -> RolloutReaders:
    """The run's action map, and pose readers fitted to val episodes of simulated datasets."""
    action_map, fit = find_action_map(trained, num_labels=num_labels), trained.windows(Split.val)
    if not poses or not fit.episodes or trained.dataset[fit.episodes[0]].sim_state is None:
        return RolloutReaders(action_map=action_map, poses=None)
    context = eval_context(trained)
    readers = fit_pose_readers(context, max_episodes=POSE_EPISODES, description="imagine")
    return RolloutReaders(action_map=action_map, poses=readers)


def saved_readers(trained: TrainedRun, *, num_labels: int) -> RolloutReaders:
    """The run's saved action map, without opening a dataset."""
    return RolloutReaders(action_map=saved_action_map(trained, num_labels=num_labels), poses=None)


Video = UInt8[np.ndarray, "t h w c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagined:
    """b rollouts of a world, frame by frame, the prompt first."""

    video: UInt8[np.ndarray, "b t h w c"]
    uncertainty: Float[np.ndarray, "b t"]
    num_prompt_frames: int
    codes: Int[np.ndarray, "b t-1"] | None = None
    """Latent actions; None for worlds without them."""
    tokens: Int[np.ndarray, "b t s"] | None = None
    token_entropy: Float[np.ndarray, "b t s"] | None = None
    """Nats, 0 in the prompt."""
    trust: Float[np.ndarray, "b t"] | None = None
    """NaN in the prompt; None where it is not known."""


def imagine_rollouts(
    world: World,
    prompt: Prompt,
    actions: Sequence[Actions],
    *,
    seeds: Sequence[int],
    advance: Callable[..., None],
) -> Imagined:
    """Start a rollout of the prompt for each seed and step through the actions."""
    first = world.start([prompt] * len(seeds), seeds)
    steps = [*(first.earlier or _as_given(prompt, len(seeds))), first]
    codes = [step.codes for step in steps[1:]]
    for action in actions:
        steps.append(world.step(action))
        given = action.values if isinstance(action, Codes) else None
        codes.append(given if steps[-1].codes is None else steps[-1].codes)
        advance()
    return Imagined(
        video=np.stack([step.frames for step in steps], axis=1),
        uncertainty=np.stack([step.uncertainty for step in steps], axis=1),
        trust=_trust(steps, num_rollouts=len(seeds)),
        num_prompt_frames=len(prompt.frames),
        codes=_stack(codes),
        tokens=_stack([step.tokens for step in steps]),
        token_entropy=_stack([step.token_entropy for step in steps]),
    )


def imagine_branches(
    world: World, clip: Clip, config: ImagineConfig, *, num_codes: int, seed: int, advance: Advance
) -> Imagined:
    """One rollout per code, held for the whole horizon.

    All draw with the same seed, so that they differ by their code alone.

    Raises:
        ValueError: The world takes no latent actions.
    """
    if Codes not in world.takes:
        raise ValueError(
            f"branches=true holds latent actions, but world_model={config.world_model} takes robot "
            "actions only; leave one of them out"
        )
    held = code_steps(np.arange(num_codes)[:, None].repeat(config.horizon, axis=1))
    return imagine_rollouts(world, clip.prompt, held, seeds=[seed] * num_codes, advance=advance)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutParts:
    """Everything that is known about one rollout."""

    trained: TrainedRun
    clip: Clip
    steering: Steering
    imagined: Imagined
    happened: Replay | None
    """None for real data, and where the actions cannot be executed."""
    readers: RolloutReaders

    @property
    def prompt(self) -> Prompt:
        """Where the rollout starts."""
        return self.clip.prompt

    @property
    def true_video(self) -> Video | None:
        """MuJoCo's frames, else the dataset's if the same actions led to them."""
        if self.happened is not None:
            return self.happened.video
        window = self.clip.window
        return window.video if window and self.steering.is_true else None

    @property
    def robot_actions(self) -> Float[np.ndarray, "n a"] | None:
        """The true actions inside the prompt, then those of the steering; None where unknown."""
        window, steered = self.clip.window, self.steering.robot_actions
        if window is None or steered is None:
            return None
        return np.concatenate([window.robot_actions[: len(self.prompt.frames) - 1], steered])

    @property
    def imagined_video(self) -> Video:
        """The prompt as the world represents it, and the imagined frames."""
        return self.imagined.video[0]


def imagine_prompt(
    trained: TrainedRun,
    world: World,
    clip: Clip,
    steering: Steering,
    config: ImagineConfig,
    *,
    seed: int,
    advance: Callable[..., None],
    readers: RolloutReaders,
) -> RolloutParts:
    """Imagine what follows a prompt, and let MuJoCo execute the same actions.

    Raises:
        ValueError: The world or MuJoCo refuses an action.
    """
    actions = steering.steps(world)
    return RolloutParts(
        trained=trained,
        clip=clip,
        steering=steering,
        imagined=imagine_rollouts(world, clip.prompt, actions, seeds=[seed], advance=advance),
        happened=_replay_steered(clip, steering, renderer=config.renderer),
        readers=readers,
    )


def _replay_steered(clip: Clip, steering: Steering, *, renderer: str) -> Replay | None:
    """MuJoCo restored at the first prompt frame and moved by the actions; None for real data.

    The true actions lead through the prompt, those of the steering follow.
    """
    prompt, episode = clip.prompt, clip.prompt.recording
    if episode is None or not episode.is_simulated or steering.robot_actions is None:
        return None
    num_actions = len(prompt.frames) - 1 + len(steering.robot_actions)
    true = episode.robot_actions[prompt.start :][: num_actions * prompt.stride].astype(np.float64)
    if not steering.is_true:
        within = true[: prompt.last_step - prompt.start]
        true = np.concatenate([within, split_actions(steering.robot_actions, prompt.stride)])
    return replay(
        episode,
        start=prompt.start,
        robot_actions=true,
        image_size=(prompt.frames.shape[1], prompt.frames.shape[2]),
        renderer=renderer,
        stride=prompt.stride,
    )


def _as_given(prompt: Prompt, num_rollouts: int) -> list[Step]:
    """The earlier prompt frames, for worlds that represent none."""
    certain = np.zeros(num_rollouts)
    return [
        Step(frames=np.stack([frame] * num_rollouts), uncertainty=certain)
        for frame in prompt.frames[:-1]
    ]


def _trust(steps: Sequence[Step], *, num_rollouts: int) -> Float[np.ndarray, "b t"] | None:
    if all(step.trust is None for step in steps):
        return None
    unknown = np.full(num_rollouts, np.nan)
    return np.stack([unknown if step.trust is None else step.trust for step in steps], axis=1)


def _stack(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Stack along time; None where one is missing."""
    known = [part for part in parts if part is not None]
    return np.stack(known, axis=1) if known and len(known) == len(parts) else None
