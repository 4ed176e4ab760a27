"""Cameras of every Open X-Embodiment dataset in conf/data/, and those that are refused."""

import pytest
from test_data_conf import load

from genie_robo.data.settings import Source
from genie_robo.data.sources import check_source

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
    "berkeley_gnm_recon",
    "cmu_playing_with_food",
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds",
    "ucsd_kitchen_dataset_converted_externally_to_rlds",
)


def source_of(name: str) -> Source:
    """What the dataset's file in conf/data/ says."""
    return load(name).source


@pytest.mark.parametrize("name", KNOWN)
def test_every_camera_is_one_of_the_dataset(name):
    source = source_of(name)
    assert set(source.camera_keys.values()) <= set(KNOWN[name])
    assert set(source.bgr) <= set(source.camera_keys.values())


def test_how_many_there_are():
    assert len(KNOWN) == 57
    refused = [name for name in KNOWN if source_of(name).unmapped]
    assert refused == list(UNMAPPED)


@pytest.mark.parametrize("name", UNMAPPED)
def test_what_cannot_be_mapped_is_refused_with_the_reason(name):
    source = source_of(name)
    with pytest.raises(ValueError, match="cannot be mapped to a 7-D end-effector") as caught:
        check_source(source, {})
    assert f": {source.unmapped}. If yours can" in str(caught.value)
