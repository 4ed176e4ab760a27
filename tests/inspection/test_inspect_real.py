"""`genie-robo inspect` on real robot episodes."""

from pathlib import Path

import pytest
from inspect_files import composed, look, parts_of, problems_of

from genie_robo.inspection.proposal import known_sources

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def real():
    def find(name):
        if not (SHARED / name).is_dir():
            pytest.skip(f"real robot data is not there: {SHARED / name}; see docs/data.md")
        return SHARED / name

    return find


@pytest.mark.real_data
def test_bridge(real):
    facts = look(real("octo_bridge_debug"))
    assert facts["fits"] == ["bridge_dataset"]
    found = problems_of(facts)
    assert "RLDS train and val share 25 episodes" in found["split_overlap"]
    assert found["blank_camera"] == "observation/image_3 is black in 25 of 25 episodes"
    assert "the first action is all zero in 25 of 25 episodes" in found["first_action_zero"]
    kinds = {"split_overlap", "blank_camera", "first_action_zero", "terminal", "not_read"}
    assert set(found) == kinds
    assert facts["motion"]["ratio"] == pytest.approx(1.08, abs=0.01)
    assert "data.source.action.lag=1 reads them" in facts["out"]


@pytest.mark.real_data
def test_droid_is_proposed_as_its_file_describes_it(real):
    facts = look(real("derived_rlds"))
    assert facts["problems"] == []
    assert composed(facts["words"]) == known_sources()["droid_ee_delta"]
    assert parts_of(facts)["action.motion"]["confidence"] == "sure"
