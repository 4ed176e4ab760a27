"""A few recorded episodes, and a reader of poses that is never wrong."""

from pathlib import Path

import numpy as np
from eval_fakes import FakeEncoder, LosslessTokenizer

from eval_suites.adapters import CopyLast
from eval_suites.base import EvalContext
from eval_suites.plugs import truth, worlds
from eval_suites.plugs.truth import PALETTE, Poses
from genie_robo.config import PoseSource, RecordConfig, Source
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.sim.record import record_dataset
from genie_robo.sim.replay import replay


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
        world_model=CopyLast(),
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
        look = truth._look

        def looked(env, image_size):
            moment = look(env, image_size)
            self.poses[moment[0].tobytes()] = moment[1:3]
            return moment

        def replayed(*arguments, **settings):
            happened = replay(*arguments, **settings)
            nowhere = np.full((len(PALETTE), 3), np.nan)
            for frame, tool in zip(happened.video, happened.end_effector, strict=True):
                self.poses.setdefault(frame.tobytes(), (tool, nowhere))
            return happened

        monkeypatch.setattr(truth, "_look", looked)
        monkeypatch.setattr(worlds, "replay", replayed)

    def read(self, video):
        tool, boxes = zip(*(self.poses[frame.tobytes()] for frame in video), strict=True)
        return Poses(np.stack(tool), np.stack(boxes))
