import imagining
from imagining import Lap, choose_ways, imagining_table, watch_memory

SMALL = "--dim 16 --num-blocks 1 --num-heads 2 --num-frames 3 --num-decode-steps 2 --num-decoded 1"


def test_all_ways(monkeypatch, capsys):
    monkeypatch.setattr(imagining, "run_alone", lambda program, *a, **k: program(*a, **k))
    found = imagining.main([*SMALL.split(), "--num-long", "20"])
    assert len(found.laps) == len(choose_ways()) * 2
    assert min(lap.cpu_s for lap in found.laps.values()) > 0
    assert found.memory_growth_mb >= 0
    assert "memory over 20 frames" in capsys.readouterr().out


def test_known_costs():
    laps = {(64, "cached_fp32"): Lap(1.0, 1.0), (64, "recomputed_fp32"): Lap(10.0, 10.0)}
    assert [row["times the cached one"] for row in imagining_table(laps)] == [1, 10]


def test_memory_of_a_rollout_far_beyond_the_window():
    assert 0 <= watch_memory(4, 60) < 5
