"""One picture is one frame: for the prompts of `imagine` and `play`, and for both environments."""

from functools import partial

import gymnasium
import numpy as np
import pytest
from PIL import ExifTags, Image

from genie_robo.config import ImagineConfig
from genie_robo.data.settings import Resize
from genie_robo.imagine.prompts import read_files
from genie_robo.inference.world import Codes, Step
from genie_robo.prompts import RunPrompts
from genie_robo.types import Split
from tests.data.image_files import encoded, png_bomb, smooth
from tests.play import conftest as play

run, trained, prompts = play.run, play.trained, play.prompts
"""Fixtures: a run that was never trained."""


class Held:
    """A world that shows its prompt."""

    takes = frozenset({Codes})
    num_codes, image_size = 2, (64, 64)

    def start(self, prompts, seeds):
        frames = np.stack([prompt.frames[-1] for prompt in prompts])
        return Step(frames=frames, uncertainty=np.zeros(len(prompts), np.float32))

    def step(self, actions):
        raise NotImplementedError


def photo(kind):
    """A picture with a turn, transparency, or 16 bits."""
    if kind == "turned JPEG":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        return encoded(Image.fromarray(smooth(96, 200)), "JPEG", exif=exif.tobytes())
    if kind == "transparent PNG":
        return encoded(Image.fromarray(np.dstack([smooth(96, 200)] * 2)[..., :4]), "PNG")
    levels = smooth(96, 200)[..., 0].astype(np.uint16) * 257
    return encoded(Image.fromarray(levels), "TIFF")


@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("kind", ["turned JPEG", "transparent PNG", "16-bit TIFF"])
def test_prompts_and_environments_read_it_alike(trained, tmp_path, kind, resize):
    path = tmp_path / "picture"
    path.write_bytes(photo(kind))
    windows = trained.windows(Split.test)
    windows.resize = resize
    frame = RunPrompts(windows).images([("picture", path.read_bytes())]).prompt.frames[0]
    names = {"world": Held(), "prompt": path, "resize": str(resize)}
    single = gymnasium.make("genie_robo.sim:Genie/Imagined-v0", **names)
    many = gymnasium.make_vec("genie_robo.sim:Genie/Imagined-v0", num_envs=2, **names)
    assert frame.std() > 10
    np.testing.assert_array_equal(single.reset(seed=0)[0]["pixels"], frame)
    np.testing.assert_array_equal(many.reset(seed=0)[0]["pixels"], [frame, frame])
    single.reset(seed=0, options={"prompt": str(path)})


def test_a_bomb_is_refused_by_the_environment(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb(30_000, 30_000))
    env = gymnasium.make("genie_robo.sim:Genie/Imagined-v0", world=Held(), prompt=path)
    with pytest.raises(ValueError, match="has 30000 x 30000 pixels, above"):
        env.reset(seed=0)


def test_an_environment_has_a_limit_of_its_own(tmp_path):
    path = tmp_path / "smooth.png"
    path.write_bytes(encoded(Image.fromarray(smooth(40, 50)), "PNG"))
    make = partial(gymnasium.make, "genie_robo.sim:Genie/Imagined-v0", world=Held(), prompt=path)
    make(max_image_pixels=2_000).reset(seed=0)
    with pytest.raises(ValueError, match=r"max_image_pixels=1999"):
        make(max_image_pixels=1_999).reset(seed=0)


def test_a_file_without_end_is_refused(tmp_path):
    """A sparse file takes no disk."""
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(50_000_000_000)
    env = gymnasium.make("genie_robo.sim:Genie/Imagined-v0", world=Held(), prompt=path)
    for read in (
        lambda: env.reset(seed=0),
        lambda: read_files(ImagineConfig(run="x", prompt=str(path))),
    ):
        with pytest.raises(ValueError, match=r"huge\.png has more than the 512,000,000 bytes"):
            read()
