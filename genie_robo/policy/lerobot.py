"""A pretrained LeRobot policy in a folder, behind the interface of policies.

lerobot is imported only here. The folder is what its `save_pretrained` wrote: config.json,
model.safetensors and the processors, which hold the normalisation.
"""

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from genie_robo.data.settings import Resize
from genie_robo.data.transforms import resize_frame
from genie_robo.policy.interface import Observation
from genie_robo.policy.names import check_folder
from genie_robo.sim.actions import ACTION_NAMES

STATE, TASK = "observation.state", "task"


class LeRobotPolicy:
    """A policy with `select_action(batch)`, fed with the camera, the tool's pose and the task.

    Every camera of the policy gets the one picture, scaled to the size it wants; its state must be
    the seven numbers of `Observation.agent_pos`, or it has none; its action the seven of a robot
    action here. Units are those it was trained in: metres and radians.
    """

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            FileNotFoundError: There is no such policy.
            ImportError: lerobot is not installed.
            ValueError: Its state or its action has another size.
        """
        check_folder(folder)
        self._policy, self._before, self._after = _load(folder)
        config = self._policy.config
        self._cameras = {key: tuple(f.shape) for key, f in config.image_features.items()}
        state, action = config.robot_state_feature, config.action_feature
        for what, feature in (("state", state), ("action", action)):
            shape = None if feature is None else tuple(feature.shape)
            if shape is not None and shape != (len(ACTION_NAMES),):
                raise ValueError(
                    f"the {what} of the policy in {folder} has the shape {shape}, but the {what} "
                    f"here is {len(ACTION_NAMES)} numbers of an end effector"
                )
        self._sees_state = state is not None

    def __copy__(self) -> "LeRobotPolicy":
        """An independent policy that shares weights."""
        policy = object.__new__(LeRobotPolicy)
        vars(policy).update(vars(self))
        policy._policy = _independent(self._policy)
        policy._before, policy._after = copy.deepcopy((self._before, self._after))
        return policy

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; what is sampled in it depends on the seed."""
        self._seed = seed
        self._policy.reset()
        for processor in (self._before, self._after):
            if hasattr(processor, "reset"):  # its steps may remember the episode
                processor.reset()

    @torch.no_grad()
    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """Its next action; it keeps its chunks itself."""
        batch: dict[str, Any] = {TASK: [observation.instruction]}
        for key, (_, height, width) in self._cameras.items():
            frame = resize_frame(
                observation.pixels, image_size=(height, width), resize=Resize.stretch
            )
            batch[key] = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
        if self._sees_state:
            if observation.agent_pos is None:
                raise ValueError("this policy needs the tool's pose, which is not known here")
            batch[STATE] = torch.from_numpy(observation.agent_pos).float()[None]
        with torch.random.fork_rng(devices=[]):  # policies sample from torch's global numbers
            torch.manual_seed(self._seed)
            action = self._after(self._policy.select_action(self._before(batch)))
        self._seed += 1
        return action[0].cpu().double().numpy()


def _independent(policy: torch.nn.Module) -> Any:
    """A copy with a state of its own that shares networks, weights and config.

    lerobot's `reset` rebinds some of the state and changes some in place, such as the ensemble of
    ACT's temporal ensembling.
    """
    shared = [*policy.children(), *policy.parameters(), *policy.buffers(), policy.config]
    return copy.deepcopy(policy, {id(part): part for part in shared})


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """The policy on the CPU, and what comes before and after it."""
    try:
        configs = import_module("lerobot.configs.policies")
        factory = import_module("lerobot.policies.factory")
    except ImportError as error:
        raise ImportError(
            f"policy lerobot:{folder} needs the package lerobot, which is not installed ({error})"
        ) from error
    config = configs.PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    policy = factory.get_policy_class(config.type).from_pretrained(folder, config=config).eval()
    device = {"device_processor": {"device": "cpu"}}
    before, after = factory.make_pre_post_processors(
        config, pretrained_path=str(folder), preprocessor_overrides=device
    )
    return policy, before, after
