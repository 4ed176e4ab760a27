"""Bombs and damaged images in a dataset: skipped, counted and named, in little memory."""

import io

import numpy as np
import pytest
from image_files import bomb, encoded, png_bomb, png_file, smooth
from PIL import Image
from rlds_files import open_table, table_episode, write_rlds

from genie_robo.data.settings import DatasetConfig
from genie_robo.data.statistics import dataset_statistics
from genie_robo.data.transforms import check_images, decode_frames
from genie_robo.data.windows import WindowDataset
from genie_robo.inspection.episodes import camera_facts
from genie_robo.inspection.facts import inspect_dataset
from genie_robo.inspection.figures import contact_sheet
from genie_robo.inspection.recording import record_dataset
from tests.memory_limit import run_limited

GOOD_PNG = encoded(Image.fromarray(smooth(16, 16)), "PNG")
GOOD_JPEG = encoded(Image.fromarray(smooth(64, 64)), "JPEG")
BAD = {
    "9,000 pixels square": (png_bomb(9000, 9000), "has 9000 x 9000 pixels, above"),
    "30,000 pixels square": (bomb("JPEG", side=30_000), "has 30000 x 30000 pixels, above"),
    "100,000 pixels high": (png_bomb(100_000, 1), "has 1 x 100000 pixels, and"),
    "100,000 pixels wide": (png_bomb(1, 100_000), "has 100000 x 1 pixels, and"),
    "tail cut": (GOOD_PNG[:-12], "cut: a PNG without its last chunk"),
    "bytes flipped": (GOOD_JPEG[:-60] + bytes(range(1, 21)) + GOOD_JPEG[-40:], "Corrupt JPEG data"),
    "16 bits": (png_file(1, 1, bits=16, color=2, rows=[bytes(6)]), "16 bits per channel"),
}


@pytest.fixture(params=BAD)
def bad(request, tmp_path):
    """Five episodes, step 1 of the third one bad, and the reason that is wanted."""
    image, reason = BAD[request.param]
    episodes = [table_episode(4, tag=i) for i in range(5)]
    episodes[2]["steps"][1]["observation"]["image"] = io.BytesIO(image)
    return write_rlds(tmp_path, {"train": [episodes]}), reason


def windows_of(dataset, **settings):
    return WindowDataset(dataset, range(5), num_frames=4, image_size=(8, 8), **settings)


def test_training_skips_counts_and_names_once(bad, caplog):
    folder, reason = bad
    dataset = open_table(folder, bad_episode_limit=0.2)
    windows = windows_of(dataset)
    read = [windows[k % 5].episode_id for k in range(10)]
    assert read == 2 * [dataset.episode_ids[i] for i in (0, 1, 3, 3, 4)]
    assert len(dataset.bad_episodes) == 1
    (line,) = [text for text in caplog.messages if text.startswith("skipping episode")]
    assert "(record 2 of " in line
    assert "the image of step 1 cannot be decoded" in line
    assert reason in line


def test_training_fails_above_the_limit(bad):
    folder, reason = bad
    with pytest.raises(
        ValueError, match=r"1 of 5 episodes .* above data.bad_episode_limit"
    ) as caught:
        windows_of(open_table(folder, bad_episode_limit=0.19))[2]
    assert reason in str(caught.value)


def test_statistics_need_no_image(bad):
    dataset = open_table(bad[0])
    split = {"val_fraction": 0.2, "test_fraction": 0.2}
    assert dataset_statistics(dataset, **split).splits["all"].num_episodes == 5


def test_inspect_counts_and_names(bad, tmp_path, caplog):
    folder, reason = bad
    found = inspect_dataset(folder)
    name = found.index.entries[2].episode_id
    (finding,) = [finding for finding in found.facts.problems if finding.kind == "undecodable"]
    wanted = f"observation/image cannot be decoded in 1 of 5 episodes: in {name}, the image of step"
    assert wanted in finding.text
    assert reason in finding.text
    assert record_dataset(tmp_path / "a.rrd", found.index, None, num_episodes=5) == 5 - (
        "JPEG data" not in reason
    )


def test_a_narrow_image_that_is_allowed_stays_narrow(tmp_path):
    """The contact sheet scales every image to one height."""
    images = [io.BytesIO(png_bomb(1, 1000)) for _ in range(3)]
    folder = write_rlds(tmp_path, {"train": [[table_episode(3, images=images)]]})
    sheet = contact_sheet(inspect_dataset(folder).index, ())
    assert sheet is not None
    assert sheet.width < 10_000


def test_a_larger_limit_reads_larger_images(tmp_path):
    images = [io.BytesIO(png_bomb(1200, 1200)) for _ in range(3)]
    folder = write_rlds(tmp_path, {"train": [[table_episode(3, images=images)]]})
    index = inspect_dataset(folder).index
    for max_pixels, count in ((1_439_999, 1), (1_440_000, 0)):
        camera = camera_facts(index, max_pixels=max_pixels)[0]
        assert camera.num_undecodable == count
        assert bool(camera.problem) == count
    with pytest.raises(ValueError, match=r"image of step 0 .* above data.max_image_pixels=1439999"):
        check_images([png_bomb(1200, 1200)], max_pixels=1_439_999)
    with pytest.raises(ValueError, match=r"data.max_image_pixels=0 must be at least 1"):
        DatasetConfig(path="x", max_image_pixels=0)


@pytest.mark.parametrize("side", [9000, 13_000, 30_000])
def test_a_bomb_needs_no_memory(tmp_path, side):
    """Refused with 60 MB to spare, where its pixels are 81 MB and more."""
    files = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        files.append(tmp_path / kind)
        files[-1].write_bytes(bomb(kind, side=min(side, 16_000) if kind == "WEBP" else side))
    out = run_limited(
        "from genie_robo.data.settings import Resize\n"
        "from genie_robo.data.transforms import decode_frames, picture_frame",
        "for path in map(Path, sys.argv[1:]):\n"
        "    for read in (lambda b: decode_frames([b], image_size=(8, 8)),\n"
        "        lambda b: picture_frame(b, image_size=(8, 8), resize=Resize.crop)):\n"
        "        try: read(path.read_bytes())\n"
        "        except ValueError as error: print(path.name, error)\n",
        *files,
        extra_mb=60,
    )
    lines = out.splitlines()
    assert len(lines) == 10, out
    assert sum("pixels, above data.max_image_pixels=64000000" in line for line in lines) == 7
    assert sum("neither JPEG nor PNG" in line for line in lines) == 3


@pytest.mark.slow
def test_inspect_needs_little_memory(tmp_path):
    """A gigabyte to spare, for its figures and recording: one such image as RGB has 2.7."""
    episodes = [table_episode(4, tag=i) for i in range(3)]
    image = png_bomb(30_000, 30_000)
    for t in range(4):
        episodes[1]["steps"][t]["observation"]["image"] = io.BytesIO(image)
    folder = write_rlds(tmp_path, {"train": [episodes]})
    out = run_limited(
        "from genie_robo import cli\nimport genie_robo.commands.inspect",
        "print('status', cli.main(['inspect', f'path={sys.argv[1]}', f'output={sys.argv[2]}']))",
        folder,
        tmp_path / "report",
        extra_mb=1000,
    )
    assert "status 0" in out
    assert "observation/image cannot be decoded in 1 of 3 episodes: in " in out
    assert (tmp_path / "report" / "episodes.rrd").exists()


def test_frames_that_can_be_read_are_as_before():
    """Checks do not change a pixel."""
    frames = decode_frames([GOOD_PNG], image_size=None)
    np.testing.assert_array_equal(frames[0], smooth(16, 16))
