"""The settings of every suite, checked without the packages that evaluate. Imports no torch.

A suite is a subclass of its settings. `SETTINGS` finds them by the name of the suite's module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from genie_robo.config.sim import MENAGERIE_ROBOTS, Renderer
from genie_robo.eval_suites.bounds import check_labels, check_names, whole_number
from genie_robo.eval_suites.weights_file import I3D_SHA256, check_weights
from genie_robo.policy.names import check_policy
from genie_robo.settings import bounded

TASKS = ("reach", "push", "pick")
"""What a robot tries to do in a trial."""
PANEL = (
    "expert",
    "expert_20",
    "cloned",
    "cloned_slow",
    "cloned_third",
    "expert_40",
    "cloned_20",
    "cloned_late",
    "expert_60",
    "cloned_tenth",
    "cloned_colour_blind",
    "cloned_40",
    "cloned_short",
    "empty_handed",
    "cloned_wrong_task",
    "random",
    "wrong_way",
    "idle",
)
"""Every policy, from good to bad as their names promise: the guess of a judge that sees nothing."""
LABELS = (10, 50, 200, 1000)
CHANGE_THRESHOLD = 10
"""Grey levels of 255 by which a pixel must change to count as changed; above JPEG noise."""
SPEED_PARTS = ("reading", "training", "imagining", "recording")
CAMERA_CASES = ("camera_left", "camera_above")
ROBOT_CASES = tuple(f"robot_{name}" for name in MENAGERIE_ROBOTS)
TRUST_CASES = (
    *("recorded", "random", "extreme"),
    *CAMERA_CASES,
    *("scene_boxes", "scene_table"),
    *ROBOT_CASES,
)


class Mode(StrEnum):
    """What policies see in imagination."""

    closed_loop = "closed_loop"
    """Imagined frames: every action depends on them."""
    open_loop = "open_loop"
    """MuJoCo's frames: the actions taken there are imagined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MotionSettings:
    """Which dimensions of a motion are probed."""

    min_move: float = bounded(1e-3, least=0.0, most=1000.0)
    """Distance (m or rad; of joints in their stored unit) from the median that counts as motion."""
    min_share: float = bounded(0.1, least=0.0, most=1.0)
    """Share of transitions in which a dimension must move to be probed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabelSettings(_MotionSettings):
    """How many labels are used."""

    name: ClassVar[str]

    labels: Sequence[int] = LABELS
    """Numbers of labelled transitions in the label-efficiency curve."""

    def __post_init__(self) -> None:
        """Reject invalid labels before the slow encoding."""
        check_labels(self.labels, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFollowingSettings(_MotionSettings):
    """Settings of the suite `action_following`."""

    name: ClassVar[str] = "action_following"

    num_clips: int = whole_number(48)
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = whole_number(1)
    horizon: int = whole_number(6)
    max_episodes: int = whole_number(200)
    """Validation episodes on which inverse dynamics is fitted."""
    batch_size: int = whole_number(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourCloningSettings:
    """Settings of the suite `behaviour_cloning`."""

    name: ClassVar[str] = "behaviour_cloning"

    task: str = "reach"
    """reach, push or pick."""
    num_demonstrations: int = whole_number(500)
    labels: Sequence[int] = whole_number(LABELS)
    """Numbers of steps with a robot action, to which the dictionary is fitted."""
    num_trials: int = whole_number(40)
    max_steps: int = whole_number(20)
    train_steps: int = whole_number(2500)
    """Of the policy's network."""
    renderer: Renderer = Renderer.auto

    def __post_init__(self) -> None:
        """Reject an unknown task."""
        check_names([self.task], TASKS, setting="suite.behaviour_cloning.task")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllabilitySettings:
    """Settings of the suite `controllability`."""

    name: ClassVar[str] = "controllability"

    num_clips: int = whole_number(12)
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = whole_number(1)
    horizon: int = whole_number(6)
    """Imagined frames per rollout, limited by the model's window."""
    headline_frame: int = whole_number(4)
    num_draws: int = whole_number(5)
    batch_size: int = whole_number(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualSettings:
    """Settings of the suite `counterfactual`."""

    name: ClassVar[str] = "counterfactual"

    severities: Sequence[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 1.0])
    """Shares of random motion in the actions; the first must be 0."""
    num_episodes: int = whole_number(8)
    """Test episodes from whose first frame trials start."""
    tasks: Sequence[str] = field(default_factory=lambda: list(TASKS))
    horizon: int = whole_number(15)
    """Frames of a trial, limited by the model's window."""
    renderer: Renderer = Renderer.auto

    def __post_init__(self) -> None:
        """Reject severities without the untouched actions, and unknown tasks."""
        check_names(self.tasks, TASKS, setting="suite.counterfactual.tasks")
        if not self.severities or self.severities[0] != 0.0:
            raise ValueError(
                f"suite.counterfactual.severities={list(self.severities)} must begin with 0, the "
                "untouched actions that the others are compared with"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabelSettings(_LabelSettings):
    """Settings of the suite `few_label`."""

    name: ClassVar[str] = "few_label"

    num_draws: int = whole_number(5)
    """Draws of labels over which errors are averaged for R2; replay uses the first draw."""
    max_episodes: int = whole_number(200)
    """Maximum number of validation and of test episodes."""
    num_replays: int = whole_number(12)
    """Test episodes replayed in MuJoCo."""
    replay_steps: int = whole_number(10)
    """Transitions replayed from the first step of an episode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentProbeSettings(_LabelSettings):
    """Settings of the suite `latent_probe`."""

    name: ClassVar[str] = "latent_probe"

    max_episodes: int = whole_number(500)
    """Maximum number of validation and of test episodes."""
    max_lag: int = whole_number(3, least=0)
    """Largest shift of codes against motions, in either direction (transitions)."""
    num_random_draws: int = whole_number(5)
    num_components: int = whole_number(16)
    """Most principal components of frame differences or flow given to a clustering baseline; how
    many of 1, 2, 4, ... is chosen by cross-validation in the validation split."""
    num_clips: int = whole_number(48)
    """Prompts from which donors' latent actions are imagined."""
    batch_size: int = whole_number(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentStructureSettings(_MotionSettings):
    """Settings of the suite `latent_structure`."""

    name: ClassVar[str] = "latent_structure"

    max_episodes: int = whole_number(200)
    """Maximum number of validation and of test episodes."""
    max_pairs: int = whole_number(400)
    """Maximum number of test transitions whose two frames are swapped."""
    horizons: Sequence[int] = whole_number((2, 4, 8))
    """Numbers of successive transitions whose decoded motions are added up."""
    num_clips: int = whole_number(24)
    """Prompts after which one frame is imagined."""
    batch_size: int = whole_number(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentTransferSettings(_MotionSettings):
    """Settings of the suite `latent_transfer`."""

    name: ClassVar[str] = "latent_transfer"

    max_episodes: int = whole_number(200)
    """Maximum number of validation and of test episodes."""
    num_permutations: int = whole_number(1000)
    num_clips: int = whole_number(24)
    """Demonstrations, from as many test episodes as possible."""
    horizon: int = whole_number(6)
    batch_size: int = whole_number(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEvaluationSettings:
    """Settings of the suite `policy_evaluation`."""

    name: ClassVar[str] = "policy_evaluation"

    policies: Sequence[str] = field(default_factory=lambda: list(PANEL))
    """Names of the panel, your own as module:callable, or lerobot:FOLDER."""
    policy: str = ""
    """One more policy, your own: module:callable, or lerobot:FOLDER."""
    mode: Mode = Mode.closed_loop
    """Whether policies see imagined frames (closed_loop) or MuJoCo's (open_loop)."""
    tasks: Sequence[str] = field(default_factory=lambda: list(TASKS))
    num_starts: int = whole_number(16)
    """Test episodes from whose first frame every policy tries every task."""
    horizon: int = whole_number(15)
    """Frames of a trial, limited by the model's window."""
    min_trust: float = bounded(0.05, least=0.0, most=1.0)
    """Trials are distrusted if a smaller share of validation clips is as strange."""
    num_demonstrations: int = whole_number(300)
    """Of scripted experts, over all tasks, that policies are cloned from."""
    train_steps: int = whole_number(1500)
    """Of the networks of cloned policies."""
    renderer: Renderer = Renderer.auto
    batch_size: int = whole_number(48)
    """Trials that are imagined at once."""

    def __post_init__(self) -> None:
        """Reject unknown tasks and policies before the slow trials."""
        check_names(self.tasks, TASKS, setting="suite.policy_evaluation.tasks")
        for name in [*self.policies, self.policy] if self.policy else self.policies:
            check_policy(name, known=PANEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRolloutSettings:
    """Settings of the suite `sim_rollout`."""

    name: ClassVar[str] = "sim_rollout"

    num_clips: int = whole_number(24)
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = whole_number(1)
    horizon: int = whole_number(10)
    """Imagined frames per rollout, limited by the model's window."""
    change_threshold: int = whole_number(CHANGE_THRESHOLD, least=0)
    """Grey levels of 255 by which a pixel must change to count as changed."""
    renderer: Renderer = Renderer.auto
    """Renderer of the recording: auto, egl, osmesa or raycast."""
    batch_size: int = whole_number(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSettings:
    """Settings of the suite `speed`."""

    name: ClassVar[str] = "speed"

    parts: Sequence[str] = SPEED_PARTS
    """What to measure: some of reading, training, imagining and recording."""
    batch_size: int = whole_number(8)
    """Windows in a batch, read or trained on."""
    num_batches: int = whole_number(12)
    """Batches timed, after two warm-up batches."""
    num_steps: int = whole_number(5)
    """Training steps timed, after two warm-up steps."""
    num_decoded: int = whole_number(3)
    """Frames decoded with and without a cache, after one warm-up frame."""
    num_imagined: int = whole_number(1000)
    """Frames of the rollout in which memory growth is measured."""
    num_recorded: int = whole_number(40, least=2)
    """Maximum frames of the recorded episode."""
    num_repeats: int = whole_number(9)
    """Recordings timed, after the first one."""
    writer: str = "genie_robo.viz.rollout"
    """Module with RolloutView and write_rollouts."""

    def __post_init__(self) -> None:
        """Reject unknown parts."""
        if not self.parts or set(self.parts) - set(SPEED_PARTS):
            raise ValueError(
                f"suite.speed.parts must name some of {', '.join(SPEED_PARTS)}; got "
                f"{list(self.parts)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """Settings of the suite `tokenizer`."""

    name: ClassVar[str] = "tokenizer"

    max_episodes: int = whole_number(200)
    change_threshold: int = whole_number(CHANGE_THRESHOLD, least=0)
    """Grey levels of 255 by which a pixel must change to count as changed."""
    num_strip_frames: int = whole_number(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Settings of the suite `trust`."""

    name: ClassVar[str] = "trust"

    num_clips: int = whole_number(24)
    """Prompts, from as many test episodes as possible; each is used in every case."""
    horizon: int = whole_number(15)
    """Frames of a clip, limited by the model's window."""
    lost_below_db: float = 17.0
    """A frame has left reality if its PSNR against MuJoCo's is lower."""
    cases: Sequence[str] = field(default_factory=lambda: list(TRUST_CASES))
    renderer: Renderer = Renderer.auto

    def __post_init__(self) -> None:
        """Reject unknown cases."""
        check_names(self.cases, TRUST_CASES, setting="suite.trust.cases")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """Settings of the suite `video`."""

    name: ClassVar[str] = "video"

    num_clips: int = whole_number(64)
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = whole_number(1)
    horizon: int = whole_number(15)
    """Imagined frames per rollout, limited by the model's window."""
    batch_size: int = whole_number(16)
    i3d_path: str = ""
    """Path of i3d_torchscript.pt (51,235,320 bytes), needed for FVD."""
    lpips_path: str = ""
    """Path of a TorchScript VGG16 with LPIPS features, needed for LPIPS."""
    lpips_sha256: str = ""
    """Expected sha256 of the file at `lpips_path`."""

    def __post_init__(self) -> None:
        """Reject wrong weights before the slow rollouts."""
        self._i3d()
        self._lpips()

    def _i3d(self) -> Path | None:
        if not self.i3d_path:
            return None
        return check_weights(self.i3d_path, sha256=I3D_SHA256, name="FVD")

    def _lpips(self) -> Path | None:
        if not self.lpips_path:
            return None
        if not self.lpips_sha256:
            raise ValueError(
                "suite.video.lpips_path needs suite.video.lpips_sha256: the sha256 of the file "
                "that you trust to be LPIPS"
            )
        return check_weights(self.lpips_path, sha256=self.lpips_sha256, name="LPIPS")


SETTINGS: Mapping[str, type[Any]] = {
    "action_following": ActionFollowingSettings,
    "behaviour_cloning": BehaviourCloningSettings,
    "controllability": ControllabilitySettings,
    "counterfactual": CounterfactualSettings,
    "few_label": FewLabelSettings,
    "latent_probe": LatentProbeSettings,
    "latent_structure": LatentStructureSettings,
    "latent_transfer": LatentTransferSettings,
    "policy_evaluation": PolicyEvaluationSettings,
    "sim_rollout": SimRolloutSettings,
    "speed": SpeedSettings,
    "tokenizer": TokenizerSettings,
    "trust": TrustSettings,
    "video": VideoSettings,
}
"""By the name of the module of a suite; selfcheck has none."""
