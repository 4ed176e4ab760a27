"""A few recorded episodes, and a reader of poses that is never wrong."""

from pathlib import Path

import numpy as np
from eval_fakes import FakeEncoder, LosslessTokenizer

from genie_robo.config import PoseSource, RecordConfig, Source
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.simulated.pose_reading import PoseReaders
from genie_robo.eval_suites.simulated.truth import (
    FIRST_BOX,
    PALETTE,
    Poses,
    box_positions,
    visible_things,
)
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
        self.moments = {}
        render = Tabletop.render

        def rendered(env):
            frame = render(env)
            shows = visible_things(env, image_size=frame.shape[:2])
            self.moments[frame.tobytes()] = env.pose, box_positions(env), shows
            return frame

        monkeypatch.setattr(Tabletop, "render", rendered)

    def read(self, video):
        pose, boxes, _ = map(np.stack, zip(*self._known(video), strict=True))
        return Poses(pose[:, :3], boxes, pose[:, 5], pose[:, 6])

    def box_pixels(self, video):
        shows = np.stack([shows for _, _, shows in self._known(video)]).astype(int)
        return np.where(shows >= FIRST_BOX, shows - FIRST_BOX, len(PALETTE))

    def _known(self, video):
        return [self.moments[frame.tobytes()] for frame in video]

    def as_readers(self):
        return lambda *_, **__: PoseReaders(self, self)
