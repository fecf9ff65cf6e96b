"""What other loaders read wrongly, or leave out, in the sets of two arms, legs, wheels and the rarer arms, one test each."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.features import STEPS
from rtx.data.oxe import OXE
from rtx.data.oxe.lab_arms import has_poses
from rtx.data.oxe.stretch import is_tracked
from rtx.data.record import NO_ACTION
from rtx.embodiment import field_slices
from tests.data.oxe.episodes import angle, episode, rotation_of, standardized, trajectory_of

SUFFIX = "_converted_externally_to_rlds"
BIMANUAL, KITCHEN = f"utokyo_xarm_bimanual{SUFFIX}", f"ucsd_kitchen_dataset{SUFFIX}"
MASK_VIT, MVP = f"stanford_mask_vit{SUFFIX}", f"berkeley_mvp{SUFFIX}"
SARA, TABLETOP = f"dlr_sara_pour{SUFFIX}", f"utokyo_pr2_tabletop_manipulation{SUFFIX}"
UCSD, UTOKYO = f"ucsd_pick_and_place_dataset{SUFFIX}", f"utokyo_xarm_pick_and_place{SUFFIX}"
ACTION, STATE = f"{STEPS}/action", f"{STEPS}/observation/state"
NUM_STEPS, ATOL = 31, 1e-5


def test_both_fanuc_cameras_are_stored_as_bgr():
    record = OXE["berkeley_fanuc_manipulation"]
    assert {role: key.channel_order for role, key in record.images.items()} == {"primary": "bgr", "wrist": "bgr"}
    assert {camera.channel_order for camera in record.embodiment.cameras} == {"bgr"}


def test_fanuc_gripper_is_the_state_of_the_next_step_turned_round():
    """Octo takes that of the same step, which says what was done already."""
    poses, values = episode("berkeley_fanuc_manipulation")
    out = standardized("berkeley_fanuc_manipulation", values)["action"]
    closed = values[STATE][:, 6]
    np.testing.assert_array_equal(out[:, 6], 1 - closed[1:])
    assert (out[:, 6] != 1 - closed[:-1]).any()
    np.testing.assert_array_equal(out[:, 6], poses.command[:-1])


def test_mask_vit_yaw_turns_about_the_vertical_and_is_no_roll():
    poses, values = episode(MASK_VIT)
    out = standardized(MASK_VIT, values)["action"]
    assert not out[:, 3:5].any()
    np.testing.assert_allclose(out[:, 5], values[ACTION][:, 3], atol=1e-6)
    as_roll = Rotation.from_euler("xyz", np.stack([values[ACTION][:, 3], 0 * out[:, 0], 0 * out[:, 0]], -1))
    assert angle(as_roll, poses.delta_rot) > 0.05


def test_mask_vit_gripper_is_between_0_and_1_and_turned_round():
    poses, values = episode(MASK_VIT)
    out = standardized(MASK_VIT, values)
    assert set(values[ACTION][:, 4]) == {-1.0, 1.0}
    np.testing.assert_array_equal(out["action"][:, 6], poses.command)


def test_mask_vit_positions_are_unscaled_by_the_recorded_bounds():
    poses, values = episode(MASK_VIT)
    np.testing.assert_allclose(standardized(MASK_VIT, values)["proprio"][:, :3], poses.pos, atol=ATOL)
    raw = standardized(MASK_VIT, values, pose="metres")["proprio"][:, :3]
    np.testing.assert_array_equal(raw, values[f"{STEPS}/observation/end_effector_pose"][:, :3])


@pytest.mark.parametrize("task", ["opening_fridge", "tabletop_manipulation"])
def test_pr2_millimetres_become_metres(task):
    poses, values = episode(f"utokyo_pr2_{task}{SUFFIX}")
    out = standardized(f"utokyo_pr2_{task}{SUFFIX}", values)
    assert np.abs(values[STATE][:, :3]).max() > 100
    np.testing.assert_allclose(out["proprio"][:, :3], poses.pos[:-1], atol=ATOL)
    assert np.abs(out["action"][:, :3]).max() < 0.02
    assert out["proprio"][:, 9].max() <= 1


def test_pr2_pitch_of_90_degrees_gives_no_jump():
    """The tabletop set holds its pitch at 90 degrees, where a step of yaw may be written as one of roll."""
    _, values = episode(TABLETOP)
    state = values[STATE]
    state[:, 3:6] = [0.4, np.pi / 2, 0.1]
    state[::2, [3, 5]] += 0.3  # the same rotation: yaw - roll counts
    out = standardized(TABLETOP, values)["action"]
    np.testing.assert_allclose(out[:, 3:6], 0, atol=1e-3)
    assert np.abs(np.diff(state[:, 3])).max() > 0.2


def test_ucsd_decimetres_become_metres():
    poses, values = episode(UCSD)
    out = standardized(UCSD, values)
    np.testing.assert_allclose(out["proprio"][:, :3], values[STATE][:-1, :3] / 10, atol=ATOL)
    np.testing.assert_allclose(out["action"][:, :3], poses.delta_pos[:-1], atol=ATOL)


def test_ucsd_gripper_torque_closes_when_positive_and_holds_at_zero():
    poses, values = episode(UCSD)
    assert set(values[ACTION][:, 3]) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(standardized(UCSD, values)["action"][:, 6], poses.command[:-1])


def test_ucsd_failed_episodes_are_dropped():
    record = OXE[UCSD]
    _, values = episode(UCSD)
    assert record.keep(trajectory_of(record, values))
    assert not record.keep(trajectory_of(record, values | {"episode_metadata/success": np.array(False)}))


def test_kitchen_targets_in_millimetres_and_degrees_are_no_deltas():
    poses, values = episode(KITCHEN)
    out = standardized(KITCHEN, values)["action"]
    assert np.abs(values[ACTION][:, :6]).max() > 100
    np.testing.assert_allclose(out[:, :3], poses.delta_pos[1:], atol=ATOL)
    assert angle(Rotation.from_euler("xyz", out[:, 3:6]), poses.delta_rot[1:]) < ATOL


def test_dlr_angles_are_zxy_and_not_a_permutation_of_xyz():
    poses, values = episode(SARA)
    stored = values[STATE][:, 3:6].astype(np.float64)
    rot = rotation_of(standardized(SARA, values)["proprio"][:, 3:9])
    assert angle(rot, poses.rot[:-1]) < ATOL
    permuted = Rotation.from_euler("xyz", stored[:, [1, 2, 0]])
    assert angle(permuted, poses.rot) > 0.05
    assert angle(Rotation.from_euler("xyz", stored), poses.rot) > 0.5


def test_utokyo_angles_are_stored_yaw_first():
    """Read as roll, pitch, yaw the measured statistics of the set show a gripper that points up."""
    poses, values = episode(UTOKYO)
    rot = rotation_of(standardized(UTOKYO, values)["proprio"][:, 3:9])
    assert angle(rot, poses.rot[:-1]) < ATOL
    stored = values[f"{STEPS}/observation/end_effector_pose"][:, 3:6]
    assert angle(Rotation.from_euler("xyz", stored), poses.rot) > 1
    stored[:] = [0.2, 0.1, np.pi]
    pointing_down = rotation_of(standardized(UTOKYO, values)["proprio"][:, 3:9])
    assert (pointing_down.as_matrix()[:, 2, 2] < -0.9).all()
    assert (Rotation.from_euler("xyz", stored).as_matrix()[:, 2, 2] > 0.9).all()


def test_both_xarms_are_kept_each_under_its_own_name():
    poses, values = episode(BIMANUAL)
    out, slices = standardized(BIMANUAL, values), field_slices(OXE[BIMANUAL].layout.action.fields)
    np.testing.assert_allclose(out["action"][:, slices["delta_pos"]], poses.delta_pos[:-1], atol=ATOL)
    np.testing.assert_allclose(out["action"][:, slices["left_delta_pos"]], poses.left.delta_pos[:-1], atol=ATOL)
    assert np.abs(poses.delta_pos - poses.left.delta_pos).max() > 0.001


def test_aloha_stores_the_left_arm_first():
    poses, values = episode("aloha_mobile")
    out, slices = standardized("aloha_mobile", values), field_slices(OXE["aloha_mobile"].layout.action.fields)
    np.testing.assert_allclose(out["action"][:, slices["left_joint_pos_6"]], values[ACTION][:, :6])
    np.testing.assert_allclose(out["action"][:, slices["joint_pos_6"]], poses.next_joints(6), atol=ATOL)


def test_aloha_base_velocities_become_the_arc_of_one_step():
    """0.5 m/s and 1 rad/s for 1/50 s: straight on would miss the sideways part."""
    _, values = episode("aloha_mobile")
    values[ACTION][:, 14:] = [0.5, 1.0]
    base = standardized("aloha_mobile", values)["action"][0, -3:]
    radius = 0.5
    np.testing.assert_allclose(base, [radius * np.sin(0.02), radius * (1 - np.cos(0.02)), 0.02], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "key", "scalar_first"),
    [("berkeley_fanuc_manipulation", "end_effector_state", False), (MVP, "pose", False), ("io_ai_tech", "state", True)],
)
def test_quaternions_are_read_in_the_order_of_their_set(name, key, scalar_first):
    poses, values = episode(name)
    quat = values[f"{STEPS}/observation/{key}"][:, 3:7]
    rot = rotation_of(standardized(name, values)["proprio"][:, 3:9])
    assert angle(rot, Rotation.from_quat(quat, scalar_first=scalar_first)[:-1]) < ATOL
    assert angle(rot, Rotation.from_quat(quat, scalar_first=not scalar_first)[:-1]) > 1
    assert angle(rot, poses.rot[:-1]) < ATOL


def test_mvp_has_poses_and_joints_and_its_gripper_bit_means_closed():
    poses, values = episode(MVP)
    out = standardized(MVP, values)
    np.testing.assert_array_equal(out["proprio"][:, 9], 1.0 - values[f"{STEPS}/observation/gripper"][:-1])
    np.testing.assert_array_equal(out["action"][:, 6], poses.command[:-1])
    np.testing.assert_allclose(out["action"][:, 8:], values[ACTION][:-1, :7])


def test_pushers_have_no_gripper_and_do_not_turn():
    layout = OXE["columbia_cairlab_pusht_real"].layout
    assert dict(zip(layout.action.dim_names, layout.action_mask, strict=True))["gripper"] is False
    _, values = episode("columbia_cairlab_pusht_real")
    out = standardized("columbia_cairlab_pusht_real", values)
    assert not out["action"][:, 3:7].any()
    assert not out["proprio"][:, 2:].any()
    assert out["action"][:, 7].tolist() == [0] * (NUM_STEPS - 1) + [1]


def test_conq_motion_in_the_frame_of_the_hand_is_turned_into_that_of_the_body():
    poses, values = episode("conq_hose_manipulation")
    out = standardized("conq_hose_manipulation", values)["action"]
    np.testing.assert_allclose(out[:, :3], poses.delta_pos, atol=ATOL)
    assert np.abs(values[ACTION][:, :3] - poses.delta_pos).max() > 0.005
    assert angle(Rotation.from_euler("xyz", out[:, 3:6]), poses.delta_rot) < ATOL


def test_spoc_left_handed_frame_and_clockwise_degrees_are_turned_round():
    """A quarter turn to the right, then 1 m ahead: from (0, 0) facing x to (0, -1) facing -y."""
    record = OXE["spoc_robot"]
    _, values = episode("spoc_robot")
    trajectory = trajectory_of(record, values)
    place = np.zeros((NUM_STEPS, 6), np.float32)
    place[1:, 4] = 90
    place[2:, 0] = 1  # AI2-THOR's x points to the right
    trajectory["observation"]["last_agent_location"] = place
    out = record.standardize(trajectory)
    base = out["action"][:, -3:]
    np.testing.assert_allclose(base[0], [0, 0, -np.pi / 2], atol=1e-6)
    np.testing.assert_allclose(base[1], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(out["proprio"][2, -4:], [0, -1, 0, -1], atol=1e-6)


def test_broken_poses_and_lost_tracking_are_dropped():
    """D3Fields: "raw data broken"; Dobb-E: positions beyond 10 m, which RDT clips."""
    for name, keep, path, broken in (
        ("uiuc_d3field", has_poses, STATE, 0.0),
        ("dobbe", is_tracked, f"{STEPS}/observation/xyz", 12.0),
    ):
        record = OXE[name]
        assert record.keep is keep
        _, values = episode(name)
        assert keep(trajectory_of(record, values))
        values[path][4] = broken
        assert not keep(trajectory_of(record, values))


def test_the_only_camera_on_a_gripper_is_a_wrist_camera():
    """OpenVLA files Dobb-E's as primary."""
    assert set(OXE["dobbe"].images) == set(OXE[MVP].images) == {"wrist"}


def test_placeholder_pictures_and_symbolic_actions_are_not_passed_off_as_data():
    assert not OXE[f"utokyo_saytap{SUFFIX}"].images
    assert OXE["tidybot"].layout == NO_ACTION
    assert OXE["io_ai_tech"].depth == {}, "an 8-bit JPEG of a 16-bit depth map"


@pytest.mark.parametrize("name", [SARA, TABLETOP, BIMANUAL, UTOKYO, KITCHEN])
def test_a_disputed_gripper_has_a_switch_and_says_why(name):
    record = OXE[name]
    (switch,) = [switch for switch in record.switches if switch.name == "gripper"]
    assert set(switch.options) == {"one_is_closed", "one_is_open"}
    assert "RDT" in switch.evidence
    _, values = episode(name)
    closed, opened = (standardized(name, values, gripper=option)["action"][:, 6] for option in sorted(switch.options))
    np.testing.assert_array_equal(closed, 1 - opened)


def test_angles_that_wrap_give_no_jump():
    """Differences of Euler angles jump by two pi where the yaw crosses pi; composed rotations do not."""
    _, values = episode(UTOKYO)
    stored = values[f"{STEPS}/observation/end_effector_pose"][:, 3:6]
    assert np.abs(np.diff(stored, axis=0)).max() > 6
    assert np.abs(standardized(UTOKYO, values)["action"][:, 3:6]).max() < 0.12
