"""A few recorded episodes, and a reader of poses that is never wrong."""

from pathlib import Path

import numpy as np
from eval_fakes import FakeEncoder, LosslessTokenizer

from eval_suites.base import EvalContext
from eval_suites.simulated.truth import Poses, box_positions
from genie_robo.config import PoseSource, RecordConfig, Source
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.inference.world import HeldFrame
from genie_robo.sim.record import record_dataset
from genie_robo.sim.tabletop import Tabletop


def record_context(path: Path, *, num_frames=12, **sizes) -> EvalContext:
    config = RecordConfig(path=str(path), image_size=32, num_workers=1, **sizes)
    source = Source(
        camera="observation/image",
        pose=PoseSource(
            position="observation/state[0:3]",
            rotation="observation/state[3:6]",
            gripper="observation/state[6]",
        ),
        sim_state="observation/sim_state",
        control_hz=3.0,
    )
    dataset = RldsDataset(record_dataset(config), source)
    numbers = range(sizes["num_episodes"])
    fit, test = (
        WindowDataset(dataset, side, num_frames=num_frames, image_size=(32, 32))
        for side in (numbers[:2], numbers[2:])
    )
    return EvalContext(
        encoder=FakeEncoder(8, lambda window: np.arange(len(window.video) - 1) % 8),
        untrained_encoder=None,
        world=HeldFrame(),
        tokenizer=LosslessTokenizer(),
        dataset=dataset,
        fit=fit,
        test=test,
        num_frames=num_frames,
    )


class TruePoseReader:
    """Knows every frame that MuJoCo has drawn, and where everything was in it."""

    def __init__(self, monkeypatch):
        self.poses = {}
        render = Tabletop.render

        def rendered(env):
            frame = render(env)
            self.poses[frame.tobytes()] = env.pose[:3], box_positions(env)
            return frame

        monkeypatch.setattr(Tabletop, "render", rendered)

    def read(self, video):
        tool, boxes = zip(*(self.poses[frame.tobytes()] for frame in video), strict=True)
        return Poses(np.stack(tool), np.stack(boxes))
