import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rlds_files import NO_POSE, open_table, table_episode, write_rlds

from genie_robo.data import statistics as statistics_module
from genie_robo.data.statistics import (
    ALL,
    ActionStatistics,
    dataset_statistics,
    denormalize,
    normalize,
)
from genie_robo.types import Split

FRACTIONS = {"val_fraction": 0.2, "test_fraction": 0.2}
THERE = np.ones(7, bool)
ROWS = arrays(
    np.float32, st.tuples(st.integers(0, 40), st.just(7)), elements=st.floats(-9, 9, width=32)
)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="genie_robo.data.statistics")
    return caplog


@pytest.fixture
def folder(tmp_path):
    """Ten episodes of 3 to 12 steps."""
    episodes = [table_episode(3 + i, tag=10 * i) for i in range(10)]
    return write_rlds(tmp_path, {"train": [episodes]})


@pytest.fixture
def stored(cache_home):
    """The cached statistics of all datasets."""
    return lambda: set(cache_home.rglob("statistics_*.json"))


@pytest.fixture
def no_pass(monkeypatch):
    """Switch that makes a pass over the episodes fail."""

    def forbid() -> None:
        def fail(*_args):
            raise AssertionError("the episodes were read")

        monkeypatch.setattr(statistics_module, "_compute", fail)

    return forbid


def compute(dataset, **changes):
    return dataset_statistics(dataset, **(FRACTIONS | changes))


def statistics_of(rows, mask=None) -> ActionStatistics:
    collected = statistics_module._Rows(0)
    for piece in rows:
        collected.add(piece, THERE if mask is None else mask)
    return collected.statistics()


def test_known_numbers(tmp_path):
    """Actions dx = 0, 1, 2 and 0, 1 and 0, 1, 2, 3; the last one of every episode is left out."""
    episodes = [table_episode(steps, tag=steps) for steps in (4, 3, 5)]
    dataset = open_table(write_rlds(tmp_path, {"train": [episodes]}))
    whole = compute(dataset).splits[ALL]
    assert (whole.num_episodes, whole.num_steps, whole.num_transitions) == (3, 12, 9)
    dx = [0, 1, 2, 0, 1, 0, 1, 2, 3]
    commanded = whole.commanded
    assert commanded.mask.all()
    assert (commanded.num_rows, commanded.num_sampled) == (9, 9)
    assert commanded.mean[0] == pytest.approx(10 / 9)
    assert commanded.std[0] == pytest.approx(np.sqrt(20 / 9 - (10 / 9) ** 2))
    assert (commanded.min[0], commanded.max[0], commanded.q50[0]) == (0, 3, 1)
    assert commanded.q01[0] == 0
    assert commanded.q99[0] == pytest.approx(2 + 0.92)  # rank 0.99 * 8 = 7.92 of 0..8
    assert commanded.mean[1] == pytest.approx(np.mean(dx) / 10)
    assert commanded.max[6] == 1
    assert whole.achieved is not None
    assert whole.achieved.mean[:3] == pytest.approx([1, 1, 1])  # the state grows by one each step
    assert whole.achieved.std[0] == 0


def test_splits_are_those_of_the_episode_hash(folder):
    dataset = open_table(folder)
    found = compute(dataset)
    assert set(found.splits) == {ALL, *(split.value for split in Split)}
    assert [found.splits[name].num_episodes for name in ("train", "val", "test", ALL)] == [
        6,
        2,
        2,
        10,
    ]
    parts = [found.splits[split.value] for split in Split]
    assert sum(part.num_steps for part in parts) == found.splits[ALL].num_steps == 75
    assert sum(part.commanded.num_rows for part in parts) == 65
    assert found.splits[ALL].commanded.max[0] == max(part.commanded.max[0] for part in parts)


def test_too_few_episodes_to_split(tmp_path, log):
    dataset = open_table(write_rlds(tmp_path, {"train": [[table_episode(4)]]}))
    assert set(compute(dataset).splits) == {ALL}
    assert "statistics over all episodes only: 1 episodes cannot be split" in log.text


def test_dimensions_that_are_not_there_are_zero(folder):
    dataset = open_table(folder, action={"rotation": ""}, pose=NO_POSE)
    whole = compute(dataset).splits[ALL]
    assert whole.commanded.mask.tolist() == [True] * 3 + [False] * 3 + [True]
    assert not whole.commanded.min[3:6].any()
    assert whole.achieved is None


@given(st.lists(ROWS, min_size=1, max_size=6))
def test_piece_by_piece_equals_all_at_once(pieces):
    rows = np.concatenate(pieces).astype(np.float64)
    found = statistics_of(pieces)
    assert found.num_rows == found.num_sampled == len(rows)
    if not len(rows):
        assert not found.mean.any()
        return
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(axis=0), atol=1e-9)
    np.testing.assert_array_equal(found.min, rows.min(axis=0))
    np.testing.assert_array_equal(found.max, rows.max(axis=0))
    quantiles = np.quantile(rows, [0.01, 0.5, 0.99], axis=0)
    np.testing.assert_allclose([found.q01, found.q50, found.q99], quantiles, atol=1e-12)


@given(st.lists(ROWS, min_size=2, max_size=4))
def test_joined_equals_all_at_once(pieces):
    one, other = statistics_module._Rows(0), statistics_module._Rows(1)
    one.add(pieces[0], THERE)
    for piece in pieces[1:]:
        other.add(piece, THERE)
    one.join(other)
    together, expected = one.statistics(), statistics_of(pieces)
    np.testing.assert_allclose(together.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(together.std, expected.std, atol=1e-9)
    np.testing.assert_array_equal(together.q50, expected.q50)


def test_a_large_value_costs_no_precision():
    """The spread around a mean of a million, which sums of squares in float32 would lose."""
    rows = np.full((3, 7), 1e6) + np.array([[-1], [0], [1]])
    found = statistics_of([rows[:1], rows[1:]])
    assert found.std == pytest.approx(np.full(7, np.sqrt(2 / 3)), rel=1e-9)


def test_beyond_the_limit_quantiles_come_from_a_uniform_sample(monkeypatch):
    monkeypatch.setattr(statistics_module, "SAMPLE_ROWS", 2000)
    values = np.arange(50_000, dtype=np.float64)  # sorted: a sample of the start would show
    pieces = [np.repeat(piece[:, None], 7, axis=1) for piece in np.split(values, 100)]
    found = statistics_of(pieces)
    assert (found.num_rows, found.num_sampled) == (50_000, 2000)
    assert (found.min[0], found.max[0], found.mean[0]) == (0, 49_999, 24_999.5)
    error = 4 * np.sqrt(0.25 / 2000)  # four standard errors of the median's rank
    assert found.q50[0] / 50_000 == pytest.approx(0.5, abs=error)
    assert found.q99[0] / 50_000 == pytest.approx(0.99, abs=4 * np.sqrt(0.0099 / 2000))
    np.testing.assert_array_equal(statistics_of(pieces).q50, found.q50)  # the seed is fixed


def test_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(statistics_module, "SAMPLE_ROWS", 100)
    collected = statistics_module._Rows(0)
    for _ in range(50):
        collected.add(np.ones((30, 7)), THERE)
        assert sum(map(len, collected._pieces)) <= 200


def test_stored_and_loaded_without_a_second_pass(folder, no_pass, log):
    first = compute(open_table(folder))
    assert "computing the statistics of" in log.text
    assert "none are stored" in log.text
    log.clear()
    no_pass()
    again = compute(open_table(folder))
    assert log.text == ""
    assert again.fingerprint == first.fingerprint
    for name, split in first.splits.items():
        assert again.splits[name].num_steps == split.num_steps
        np.testing.assert_array_equal(again.splits[name].commanded.q99, split.commanded.q99)
        assert again.splits[name].commanded.mask.dtype == bool


@pytest.mark.parametrize("change", [{"val_fraction": 0.3}, {"action": {"gripper": ""}}])
def test_another_split_or_source_is_computed_anew(folder, log, change):
    compute(open_table(folder))
    log.clear()
    is_source = "action" in change
    compute(open_table(folder, **(change if is_source else {})), **({} if is_source else change))
    assert "none are stored for these episodes, keys and split" in log.text


def test_a_changed_dataset_is_computed_anew(tmp_path, stored, log):
    episodes = [table_episode(4, tag=tag) for tag in range(4)]
    first = write_rlds(tmp_path / "one", {"train": [episodes[:3]]})
    compute(open_table(first))
    (wrong,) = stored()
    other = write_rlds(tmp_path / "two", {"train": [[table_episode(5, tag=t) for t in range(4)]]})
    assert compute(open_table(other)).splits[ALL].num_steps == 20
    (place,) = stored() - {wrong}
    place.write_text(wrong.read_text())
    log.clear()
    assert compute(open_table(other)).splits[ALL].num_steps == 20
    assert f"{place} holds those of another dataset" in log.text


def test_nothing_is_written_into_the_folder(folder, no_pass):
    before = sorted(folder.iterdir())
    compute(open_table(folder))
    assert sorted(folder.iterdir()) == before
    no_pass()
    assert compute(open_table(folder)).splits[ALL].num_episodes == 10


def test_no_place_to_keep_them(folder, cache_home, log):
    (cache_home / "genie_robo").write_text("a file where the folder should be")
    assert compute(open_table(folder)).splits[ALL].num_episodes == 10
    assert "cannot be kept" in log.text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"fingerprint": "%s"}', '{"fingerprint": "%s", "splits": 3}', 9**5 * "["],
)
def test_a_broken_file_is_computed_anew(folder, stored, log, content):
    first = compute(open_table(folder))
    (file,) = stored()
    file.write_text(content.replace("%s", first.fingerprint))
    log.clear()
    assert compute(open_table(folder)).fingerprint == first.fingerprint
    assert f"{file} cannot be read" in log.text
    assert json.loads(file.read_text())["fingerprint"] == first.fingerprint


def test_unreadable_episodes_are_skipped_and_counted(folder, monkeypatch):
    dataset = open_table(folder, bad_episode_limit=0.2)
    watched, read = statistics_module._watched, type(dataset._index).read

    def fail(index, entry):
        if entry.num_steps == 5:
            raise ValueError("the data does not match its checksum")
        return read(index, entry)

    def fail_from_now_on(*words):  # the shape checker reads an episode when it sees a dataset
        with monkeypatch.context() as patch:
            patch.setattr(type(dataset._index), "read", fail)
            yield from watched(*words)

    monkeypatch.setattr(statistics_module, "_watched", fail_from_now_on)
    assert compute(dataset).splits[ALL].num_episodes == 9
    assert len(dataset.bad_episodes) == 1
    with pytest.raises(ValueError, match=r"1 of 10 episodes .* above data.bad_episode_limit=0.01"):
        compute(open_table(folder), val_fraction=0.3)


def test_a_long_pass_shows_its_progress(folder, monkeypatch, capsys):
    monkeypatch.setattr(statistics_module, "_QUIET_SECONDS", -1.0)
    compute(open_table(folder))
    shown = capsys.readouterr().err
    assert "statistics of table" in shown
    assert "10/10" in shown


def test_quantiles_become_minus_one_and_one():
    low, high = np.arange(7.0), np.arange(7.0) + 4
    rows = np.linspace(low, high, 101)
    found = statistics_of([rows])
    scaled = normalize(np.stack([found.q01, found.q50, found.q99]), found)
    np.testing.assert_allclose(scaled[:, :6], np.array([[-1] * 6, [0] * 6, [1] * 6]), atol=1e-12)
    np.testing.assert_array_equal(scaled[:, 6], [found.q01[6], found.q50[6], found.q99[6]])
    assert normalize(high[None], found)[0, 0] > 1  # not clipped


def test_masked_and_constant_dimensions_are_safe():
    rows = np.zeros((5, 7))
    rows[:, 0] = 2.0  # constant
    rows[:, 3:6] = np.arange(5)[:, None]  # masked
    mask = np.array([True, True, True, False, False, False, True])
    found = statistics_of([rows], mask)
    scaled = normalize(rows, found)
    assert np.isfinite(scaled).all()
    assert not scaled[:, 0].any()
    np.testing.assert_array_equal(scaled[:, 3:6], rows[:, 3:6])


@given(ROWS.filter(len), ROWS)
def test_normalising_is_undone(rows, actions):
    found = statistics_of([rows])
    back = denormalize(normalize(actions.astype(np.float64), found), found)
    np.testing.assert_allclose(back, actions, atol=1e-9)
    assert normalize(actions, found).dtype == np.float32
