"""What many tests of suites would otherwise compute again and again."""

import pytest

from genie_robo.eval_suites.probes import data, pixel_features


@pytest.fixture(autouse=True, scope="session")
def block_flow_once():
    """The motion of blocks in a video, which no encoder or world changes, is found only once."""
    known = {}

    def block_flow(video):
        key = video.shape, video.tobytes()
        if key not in known:
            known[key] = pixel_features.block_flow(video)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "block_flow", block_flow)
        yield
