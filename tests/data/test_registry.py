"""One file in conf/data/ for every Open X-Embodiment dataset that we know facts about."""

from typing import NamedTuple

import numpy as np
import pytest
from oxe_layouts import EXTERNAL, LAYOUTS, Rows, write_layout
from test_data_conf import load

from genie_robo.build import build_source
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.sources import check_source
from genie_robo.data.windows import WindowDataset

CAMERAS = """
aloha_mobile: cam_high cam_left_wrist cam_right_wrist
asu_table_top_converted_externally_to_rlds: image
austin_buds_dataset_converted_externally_to_rlds: image wrist_image
austin_sailor_dataset_converted_externally_to_rlds: image wrist_image
austin_sirius_dataset_converted_externally_to_rlds: image wrist_image
bc_z: image
berkeley_autolab_ur5: hand_image image
berkeley_cable_routing: image top_image wrist225_image wrist45_image
berkeley_fanuc_manipulation: image wrist_image
berkeley_gnm_recon: image
berkeley_mvp_converted_externally_to_rlds: hand_image
berkeley_rpt_converted_externally_to_rlds: hand_image
bridge: image
bridge_dataset: image_0 image_1 image_2 image_3
cmu_franka_exploration_dataset_converted_externally_to_rlds: highres_image image
cmu_play_fusion: image
cmu_playing_with_food: finger_vision_1 finger_vision_2 image
cmu_stretch: image
columbia_cairlab_pusht_real: image wrist_image
conq_hose_manipulation: frontleft_fisheye_image frontright_fisheye_image hand_color_image
dlr_edan_shared_control_converted_externally_to_rlds: image
dlr_sara_grid_clamp_converted_externally_to_rlds: image
dlr_sara_pour_converted_externally_to_rlds: image
dobbe: wrist_image
droid: exterior_image_1_left exterior_image_2_left wrist_image_left
fmb: image_side_1 image_side_2 image_wrist_1 image_wrist_2
fractal20220817_data: image
furniture_bench_dataset_converted_externally_to_rlds: image wrist_image
iamlab_cmu_pickup_insert_converted_externally_to_rlds: image wrist_image
imperialcollege_sawyer_wrist_cam: image wrist_image
jaco_play: image image_wrist
kaist_nonprehensile_converted_externally_to_rlds: image
kuka: image
language_table: rgb
maniskill_dataset_converted_externally_to_rlds: image wrist_image
nyu_door_opening_surprising_effectiveness: image
nyu_franka_play_dataset_converted_externally_to_rlds: image image_additional_view
nyu_rot_dataset_converted_externally_to_rlds: image
robo_net: image image1 image2
robo_set: image_left image_right image_top image_wrist
roboturk: front_rgb
stanford_hydra_dataset_converted_externally_to_rlds: image wrist_image
stanford_kuka_multimodal_dataset_converted_externally_to_rlds: image
stanford_mask_vit_converted_externally_to_rlds: image
stanford_robocook_converted_externally_to_rlds: image_1 image_2 image_3 image_4
taco_play: rgb_gripper rgb_static
tokyo_u_lsmo_converted_externally_to_rlds: image
toto: image
ucsd_kitchen_dataset_converted_externally_to_rlds: image
ucsd_pick_and_place_dataset_converted_externally_to_rlds: image
uiuc_d3field: image_1 image_2 image_3 image_4
utaustin_mutex: image wrist_image
utokyo_pr2_opening_fridge_converted_externally_to_rlds: image
utokyo_pr2_tabletop_manipulation_converted_externally_to_rlds: image
utokyo_xarm_bimanual_converted_externally_to_rlds: image
utokyo_xarm_pick_and_place_converted_externally_to_rlds: hand_image image image2
viola: agentview_rgb eye_in_hand_rgb
"""
"""Name of a dataset: the 8-bit colour images below its observation."""

KNOWN = {
    name: [f"observation/{key}" for key in keys.split()]
    for name, _, keys in (line.partition(":") for line in CAMERAS.strip().splitlines())
}
UNMAPPED = (
    "aloha_mobile",
    "berkeley_gnm_recon",
    "berkeley_rpt_converted_externally_to_rlds",
    "cmu_playing_with_food",
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds",
    "robo_set",
    f"ucsd_kitchen{EXTERNAL}",
)

ALL, NO_TURN, NO_GRIPPER, PLANE = "1111111", "1110001", "1111110", "1100000"
QUARTER, HALF = "1.5707964", "0.70710678"
"""A quarter turn in radians, and the sine and cosine of its half, as in its quaternion."""


class Case(NamedTuple):
    """Three steps as stored, and what must come out, worked out by hand.

    A slash divides steps. Numbers that a row leaves out at its end are nines, which nothing reads;
    masks have a 1 for every number that is there.
    """

    stored: dict[str, str]
    actions: str
    """Of the two transitions."""
    pose: str
    mask: str = ALL
    pose_mask: str = ALL
    instruction: str = "language_instruction"


IN_OBSERVATION = "observation/natural_language_instruction"
DELTAS = {
    "action/world_vector": ".01 0 -.02 / .02 .01 0 / 9 9 9",
    "action/rotation_delta": ".1 .2 .3 / 0 0 -.1 / 9 9 9",
}
GRIPPER = "action/gripper_closedness_action"
CASES = {
    "fractal20220817_data": Case(
        stored={
            **DELTAS,
            GRIPPER: "0 / 1 / 0",
            "observation/base_pose_tool_reached": (
                f".5 -.1 .8 0 0 0 1 / .6 -.1 .8 0 0 {HALF} {HALF} / .7 -.1 .8 {HALF} 0 0 {HALF}"
            ),
            "observation/gripper_closed": "0 / .25 / 1",
        },
        actions=".01 0 -.02 .1 .2 .3 1 / .02 .01 0 0 0 -.1 0",
        pose=f".5 -.1 .8 0 0 0 1 / .6 -.1 .8 0 0 {QUARTER} .75 / .7 -.1 .8 {QUARTER} 0 0 0",
        instruction=IN_OBSERVATION,
    ),
    "bridge_dataset": Case(
        stored={
            "action": ".01 0 0 0 0 .2 1.02 / 0 0 -.03 .1 0 0 .1 / 9",
            "observation/state": ".3 0 .1 0 -1 0 1 / .31 0 .1 0 -1 0 .5 / .32 0 .1 0 -1 0 0",
        },
        actions=".01 0 0 0 0 .2 1 / 0 0 -.03 .1 0 0 .1",
        pose=".3 0 .1 0 -1 0 1 / .31 0 .1 0 -1 0 .5 / .32 0 .1 0 -1 0 0",
    ),
    "bridge": Case(
        stored={
            **DELTAS,
            "action/open_gripper": "1 / 0 / 1",
            "observation/state": ".3 0 .1 0 -1 0 1 / .31 0 .1 0 -1 0 .5 / .32 0 .1 0 -1 0 0",
        },
        actions=".01 0 -.02 .1 .2 .3 1 / .02 .01 0 0 0 -.1 0",
        pose=".3 0 .1 0 -1 0 1 / .31 0 .1 0 -1 0 .5 / .32 0 .1 0 -1 0 0",
        instruction=IN_OBSERVATION,
    ),
    "droid": Case(
        stored={
            "action": "9 / 9 / 9",
            "action_dict/cartesian_velocity": "1 -.5 0 .2 0 -1 / 0 0 1 0 1 0 / 9",
            "action_dict/gripper_position": ".25 / 1 / 9",
            "observation/cartesian_position": ".4 0 .3 3 0 1 / .5 0 .3 3 0 1 / .5 0 .4 3 0 1",
            "observation/gripper_position": "0 / .5 / 1",
        },
        actions=".075 -.0375 0 .03 0 -.15 .75 / 0 0 .075 0 .15 0 0",
        pose=".4 0 .3 3 0 1 1 / .5 0 .3 3 0 1 .5 / .5 0 .4 3 0 1 0",
        instruction="language_instruction_3",
    ),
    "language_table": Case(
        stored={
            "action": ".01 -.02 / 0 .03 / 9",
            "observation/effector_translation": ".4 .1 / .41 .08 / .41 .11",
        },
        actions=".01 -.02 0 0 0 0 0 / 0 .03 0 0 0 0 0",
        pose=".4 .1 0 0 0 0 0 / .41 .08 0 0 0 0 0 / .41 .11 0 0 0 0 0",
        mask=PLANE,
        pose_mask=PLANE,
        instruction="observation/instruction",
    ),
    "jaco_play": Case(
        stored={
            "action/world_vector": DELTAS["action/world_vector"],
            GRIPPER: "-1 / 1 / 0",
            "observation/end_effector_cartesian_pos": ".1 .2 .3 / .1 .2 .4 / .1 .2 .5",
        },
        actions=".01 0 -.02 0 0 0 1 / .02 .01 0 0 0 0 0",
        pose=".1 .2 .3 0 0 0 0 / .1 .2 .4 0 0 0 0 / .1 .2 .5 0 0 0 0",
        mask=NO_TURN,
        pose_mask="1110000",
        instruction=IN_OBSERVATION,
    ),
    "kuka": Case(
        stored={
            **DELTAS,
            GRIPPER: "1 / 0 / 0",
            "observation/clip_function_input/base_pose_tool_reached": ".5 0 .2 / .5 0 .1 / .5 0 0",
            "observation/gripper_closed": "0 / 1 / 1",
        },
        actions=".01 0 -.02 .1 .2 .3 0 / .02 .01 0 0 0 -.1 0",
        pose=".5 0 .2 0 0 0 1 / .5 0 .1 0 0 0 0 / .5 0 0 0 0 0 0",
        pose_mask=NO_TURN,
        instruction=IN_OBSERVATION,
    ),
    "bc_z": Case(
        stored={
            "action/future/xyz_residual": ".01 0 .02 / 0 .03 0 / 9",
            "action/future/axis_angle_residual": "0 0 .3 / -.2 0 0 / 9",
            "action/future/target_close": "0 1 / 1 0 / 9",
            "observation/present/xyz": ".1 .2 .3 / .1 .2 .4 / .1 .2 .5",
            "observation/present/axis_angle": f"0 0 0 / 0 0 {QUARTER} / {QUARTER} 0 0",
            "observation/present/sensed_close": ".2 / .5 / 1",
        },
        actions=".01 0 .02 0 0 .3 1 / 0 .03 0 -.2 0 0 0",
        pose=f".1 .2 .3 0 0 0 .8 / .1 .2 .4 0 0 {QUARTER} .5 / .1 .2 .5 {QUARTER} 0 0 0",
        instruction=IN_OBSERVATION,
    ),
    f"furniture_bench{EXTERNAL}": Case(
        stored={
            "action": f".01 0 0 0 0 {HALF} {HALF} -1 / 0 .02 0 {HALF} 0 0 {HALF} 1 / 9",
            "observation/state": f".5 0 .1 0 0 {HALF} {HALF} / .5 0 .2 0 0 0 1 / .5 0 .3 0 0 0 1",
        },
        actions=f".01 0 0 0 0 {QUARTER} 1 / 0 .02 0 {QUARTER} 0 0 0",
        pose=f".5 0 .1 0 0 {QUARTER} 0 / .5 0 .2 0 0 0 0 / .5 0 .3 0 0 0 0",
        pose_mask=NO_GRIPPER,
    ),
    f"nyu_franka_play{EXTERNAL}": Case(
        stored={
            "action": "9 9 9 9 9 9 9 .01 0 0 .1 .2 .3 1.5 / 9 9 9 9 9 9 9 0 0 -.02 0 0 0 -1 / 9",
            "observation/state": (
                "9 9 9 9 9 9 9 .4 .1 .2 3 0 -1 / 9 9 9 9 9 9 9 .4 .1 .3 3 0 -1 / "
                "9 9 9 9 9 9 9 .4 .1 .4 3 0 -1"
            ),
        },
        actions=".01 0 0 .1 .2 .3 1 / 0 0 -.02 0 0 0 0",
        pose=".4 .1 .2 3 0 -1 0 / .4 .1 .3 3 0 -1 0 / .4 .1 .4 3 0 -1 0",
        pose_mask=NO_GRIPPER,
    ),
    "robo_net": Case(
        stored={
            "action": ".01 0 -.02 .3 1 / 0 .04 0 -.2 0 / 9",
            "observation/state": ".1 .2 .3 1.5 0 / .2 .2 .3 -1.5 1 / .2 .2 .4 0 .5",
        },
        actions=".01 0 -.02 0 0 .3 1 / 0 .04 0 0 0 -.2 0",
        pose=".1 .2 .3 0 0 1.5 0 / .2 .2 .3 0 0 -1.5 1 / .2 .2 .4 0 0 0 .5",
        mask="1110011",
        pose_mask="1110011",
    ),
    f"stanford_hydra{EXTERNAL}": Case(
        stored={
            "action": ".01 0 0 .1 .2 .3 0 / 0 0 .02 0 0 0 1 / 9",
            "observation/image": "200 20 10 / 100 20 10 / 50 20 10",
            "observation/state": (
                ".4 .1 .2 9 9 9 9 3 0 -1 / .4 .1 .3 9 9 9 9 3 0 -1 / .4 .1 .4 9 9 9 9 3 0 -1"
            ),
            "observation/wrist_image": "90 80 70 / 90 80 70 / 90 80 70",
        },
        actions=".01 0 0 .1 .2 .3 1 / 0 0 .02 0 0 0 0",
        pose=".4 .1 .2 3 0 -1 0 / .4 .1 .3 3 0 -1 0 / .4 .1 .4 3 0 -1 0",
        pose_mask=NO_GRIPPER,
    ),
    "berkeley_mvp_converted_externally_to_rlds": Case(
        stored={
            "action": "9 / 9 / 9",
            "observation/pose": ".1 .2 .3 / .1 .25 .3 / .1 .25 .2",
            "observation/gripper": "0 / 1 / 1",
        },
        actions="0 .05 0 0 0 0 0 / 0 0 -.1 0 0 0 0",
        pose=".1 .2 .3 0 0 0 1 / .1 .25 .3 0 0 0 0 / .1 .25 .2 0 0 0 0",
        mask=NO_TURN,
        pose_mask=NO_TURN,
    ),
    f"maniskill{EXTERNAL}": Case(
        stored={
            "action": "1 -1 0 1 0 0 1 / 0 0 .5 0 0 -2 -1 / 9",
            "observation/tcp_pose": f".5 0 0 {HALF} 0 0 {HALF} / .5 0 1 1 0 0 0 / .5 0 2 1 0 0 0",
        },
        actions=".1 -.1 0 .1 0 0 1 / 0 0 .05 0 0 -.2 0",
        pose=f".5 0 0 0 0 {QUARTER} 0 / .5 0 1 0 0 0 0 / .5 0 2 0 0 0 0",
        pose_mask=NO_GRIPPER,
    ),
}


def numbers(text: str) -> list[list[float]]:
    """The rows that slashes divide."""
    return [[float(word) for word in row.split()] for row in text.split("/")]


def instructed(name: str, text: str, num_steps: int) -> Rows:
    """The first steps of a case, with an instruction as the dataset stores it."""
    case = CASES[name]
    rows = {key: numbers(stored)[:num_steps] for key, stored in case.stored.items()}
    points = np.pad([ord(letter) for letter in text], (0, 512 - len(text)))
    instruction = points if name == "language_table" else text
    return {**rows, case.instruction: [instruction] * num_steps}


@pytest.fixture(params=CASES, scope="module")
def opened(request, tmp_path_factory) -> tuple[Case, RldsDataset]:
    """An episode of three steps and one of its first two."""
    name = request.param
    episodes = [instructed(name, "pick it", 3), instructed(name, "leave it", 2)]
    folder = write_layout(tmp_path_factory.mktemp("oxe"), name, episodes)
    return CASES[name], RldsDataset(folder, build_source(load(name).source))


def test_every_layout_has_a_case():
    assert list(CASES) == list(LAYOUTS)


def test_episodes_come_out_as_computed_by_hand(opened):
    case, dataset = opened
    still = [0.0] * 7
    assert dataset.lengths.tolist() == [3, 2]
    assert len(dataset.bad_episodes) == 0
    for episode, num_steps in zip(dataset, (3, 2), strict=True):
        actions = [*numbers(case.actions)[: num_steps - 1], still]
        np.testing.assert_allclose(episode.robot_actions, actions, atol=1e-6)
        pose = numbers(case.pose)[:num_steps]
        np.testing.assert_allclose(episode.end_effector_pose, pose, atol=1e-6)
        assert "".join(map(str, episode.action_mask.astype(int))) == case.mask
        assert "".join(map(str, episode.pose_mask.astype(int))) == case.pose_mask
    assert [episode.instruction for episode in dataset] == ["pick it", "leave it"]


def test_all_cameras_decode(opened):
    _, dataset = opened
    for camera in dataset.source.camera_keys:
        windows = WindowDataset(dataset, [0], num_frames=2, image_size=(8, 8), camera=camera)
        assert windows[0].video.shape == (2, 8, 8, 3)


def test_swapped_colours_come_out_as_rgb(tmp_path):
    name = f"stanford_hydra{EXTERNAL}"
    folder = write_layout(tmp_path, name, [instructed(name, "pick it", 3)])
    dataset = RldsDataset(folder, build_source(load(name).source))
    frames = WindowDataset(dataset, [0], num_frames=3, image_size=(8, 8))[0].video
    assert frames[:, 0, 0].tolist() == [[10, 20, 200], [10, 20, 100], [10, 20, 50]]
    wrist = WindowDataset(dataset, [0], num_frames=2, image_size=(8, 8), camera="wrist")[0].video
    assert wrist[:, 7, 7].tolist() == [[70, 80, 90]] * 2


@pytest.mark.parametrize("name", KNOWN)
def test_every_camera_is_one_of_the_dataset(name):
    source = build_source(load(name).source)
    assert set(source.camera_keys.values()) <= set(KNOWN[name])
    assert set(source.bgr) <= set(source.camera_keys.values())


def test_how_many_there_are():
    assert len(KNOWN) == 57
    refused = [name for name in KNOWN if build_source(load(name).source).unmapped]
    assert refused == list(UNMAPPED)


@pytest.mark.parametrize("name", UNMAPPED)
def test_what_cannot_be_mapped_is_refused_with_the_reason(name):
    source = build_source(load(name).source)
    with pytest.raises(ValueError, match="cannot be mapped to a 7-D end-effector") as caught:
        check_source(source, {})
    assert f": {source.unmapped}. If yours can" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "folder", "error", "wanted", "there"),
    [
        (
            "bridge",
            "bridge_dataset",
            KeyError,
            "data.source.camera wants observation/image, which this dataset does not have",
            "observation/image_0 (uint8[256,256,3] jpeg image)",
        ),
        (
            "bridge_dataset",
            "bridge",
            KeyError,
            "data.source.camera wants observation/image_0, which",
            "observation/image (uint8[480,640,3] image)",
        ),
        (
            "fractal20220817_data",
            "kuka",
            KeyError,
            "data.source.pose.position wants observation/base_pose_tool_reached, which",
            "observation/clip_function_input/base_pose_tool_reached (float32[7])",
        ),
        (
            f"furniture_bench{EXTERNAL}",
            f"stanford_hydra{EXTERNAL}",
            ValueError,
            "data.source.action.gripper=action[7:8] must be 1 numbers",
            "action is float32[7]",
        ),
    ],
)
def test_another_version_of_a_dataset(tmp_path, entry, folder, error, wanted, there):
    """The entry and features.json disagree: the message names both sides."""
    episode = instructed(folder, "pick it", 3)
    written = write_layout(tmp_path, folder, [episode])
    with pytest.raises(error) as caught:
        RldsDataset(written, build_source(load(entry).source))
    message = str(caught.value.args[0])
    assert wanted in message
    assert there in message
