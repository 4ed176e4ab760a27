import pytest
from indexing import RT1_BYTES, Opening, extrapolate, open_set, write_set
from reading import find_data


def test_a_set_is_the_first_shards_of_rt1(tmp_path):
    source = find_data(["data=fractal20220817_data", "data.path=unused"]).source
    folder = write_set(tmp_path, 2, num_steps=3, image_bytes=50)
    found = open_set(folder, source)
    assert isinstance(found, Opening)
    assert found.num_episodes == 87_212 * 2 // 1024, "each one once, so all differ"
    assert found.lap.cpu_s > 0
    assert len(list(folder.glob("*.tfrecord-0000[01]-of-00002"))) == 2


def test_known_extrapolation():
    """A hundredth of RT-1's bytes in 2 s is all of them in 200 s."""
    first = {"first, CPU-seconds": 3.0, "first, seconds": 2.0, "first, MB of memory": 110.0}
    full = first | {"episodes of": "a", "episodes": 872, "GB": RT1_BYTES / 1e9 / 100}
    cached = {"cached, CPU-seconds": 0.9, "cached, MB of memory": 55.0}
    small = first | cached | {"episodes of": "b", "episodes": 87_212, "GB": 0.5}
    found = extrapolate(full, small)
    assert found["episodes of"] == "RT-1, extrapolated"
    assert found["first, CPU-seconds"] == pytest.approx(300)
    assert found["first, seconds"] == pytest.approx(200)
    assert found["first, MB of memory"] == 165
    assert (found["episodes"], found["cached, CPU-seconds"]) == (87_212, 0.9)
