"""What other loaders read wrongly in the RT-X mix, Bridge, RoboNet, BC-Z and the navigation sets, one test each."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.features import STEPS
from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import schema
from rtx.data.texts import decode_text
from rtx.data.windows import windows
from tests.data.oxe.episodes import TEXT, episode, standardized
from tests.data.oxe.poses import MAX_STEP_RAD

ATOL = 2e-5


def test_taco_play_gripper_width_is_element_6_and_7_is_a_joint():
    poses, values = episode("taco_play")
    out = standardized("taco_play", values)
    np.testing.assert_allclose(out["proprio"][:, 9], poses.opening, atol=ATOL)
    values[f"{STEPS}/observation/robot_obs"][:, 7] += 0.5
    np.testing.assert_array_equal(standardized("taco_play", values)["proprio"], out["proprio"])


def test_taco_play_targets_are_absolute_and_relative_actions_have_no_unit():
    """The RT-X notebook passes absolute poses on as if they were deltas; others take numbers of no written unit."""
    poses, values = episode("taco_play")
    action = standardized("taco_play", values)["action"]
    np.testing.assert_allclose(action[:, :3], poses.delta_pos, atol=ATOL)
    assert np.abs(values[f"{STEPS}/action/actions"][:, :3]).max() > 0.3


@pytest.mark.parametrize("name", ["bridge", "bridge_dataset", "bridge_data_msr"])
def test_bridge_relabelling_does_not_jump_where_euler_angles_wrap(name):
    _, values = episode(name)
    angles = values[f"{STEPS}/observation/state"][:, 3:6]
    assert np.abs(np.diff(angles, axis=0)).max() > 6, "the stored angles wrap, and so would their differences"
    action = standardized(name, values)["action"].astype(np.float64)
    assert Rotation.from_euler("xyz", action[:, 3:6]).magnitude().max() < MAX_STEP_RAD


def test_bridge_orientation_is_relative_to_a_gripper_pointing_down():
    """A stored rotation of zero is a gripper whose x axis, along the fingers, points down."""
    _, values = episode("bridge_dataset")
    values[f"{STEPS}/observation/state"][:, 3:6] = 0
    proprio = standardized("bridge_dataset", values)["proprio"]
    np.testing.assert_allclose(proprio[:, 3:6], np.tile([0, 0, -1], (len(proprio), 1)), atol=ATOL)


@pytest.mark.parametrize("choices", [{}, {"motion": "command"}])
@pytest.mark.parametrize("name", ["robo_net", "berkeley_cable_routing"])
def test_yaw_turns_about_the_vertical_and_is_no_roll(name, choices):
    poses, values = episode(name, **choices)
    out = standardized(name, values, **choices)
    turn = np.diff(np.unwrap(poses.yaw))
    np.testing.assert_allclose(out["action"][: len(turn), 5], turn, atol=ATOL)
    assert np.abs(out["action"][:, 3:5]).max() < ATOL


def test_robo_net_yaw_that_wraps_gives_no_jump():
    poses, values = episode("robo_net")
    assert np.abs(np.diff(values[f"{STEPS}/observation/state"][:, 3])).max() > 6
    assert np.abs(standardized("robo_net", values)["action"][:, 5]).max() < MAX_STEP_RAD
    assert np.abs(np.diff(np.unwrap(poses.yaw))).max() < MAX_STEP_RAD


def test_toto_open_gripper_is_not_stored_as_closedness():
    poses, values = episode("toto")
    opened = values[f"{STEPS}/action/open_gripper"]
    np.testing.assert_array_equal(standardized("toto", values)["action"][:, 6], opened)
    assert set(opened) == {True, False}
    assert opened.tolist() == (poses.command > 0.5).tolist()


def test_toto_commands_are_velocities():
    """0.7 would be 21 m/s if it were metres in a step of 1/30 s."""
    poses, values = episode("toto")
    np.testing.assert_allclose(standardized("toto", values)["action"][:, :3], poses.delta_pos, atol=ATOL)
    assert np.abs(values[f"{STEPS}/action/world_vector"]).max() > 0.2


def test_language_table_instructions_are_numbers_that_spell_a_text():
    record = OXE["language_table"]
    (key,) = record.instructions
    assert schema(record.name).features[f"{STEPS}/{key}"].dtype == "int32"
    _, values = episode(record.name)
    numbers = values[f"{STEPS}/{key}"][0]
    assert decode_text(numbers, key, "here") == TEXT
    assert not np.any(numbers[len(TEXT) :])


def test_bc_z_residuals_are_axis_angle_and_not_euler_angles():
    _, values = episode("bc_z")
    key = f"{STEPS}/action/future/axis_angle_residual"
    values[key][:, :3] = [0.8, -0.5, 0.6]
    rpy = standardized("bc_z", values)["action"][:, 3:6].astype(np.float64)
    meant = Rotation.from_rotvec([0.8, -0.5, 0.6])
    assert (Rotation.from_euler("xyz", rpy) * meant.inv()).magnitude().max() < ATOL
    assert (Rotation.from_euler("xyz", [0.8, -0.5, 0.6]) * meant.inv()).magnitude() > 0.2


def test_bc_z_takes_the_first_of_ten_future_steps():
    _, values = episode("bc_z")
    before = standardized("bc_z", values)["action"]
    for key, width in (("xyz_residual", 3), ("axis_angle_residual", 3), ("target_close", 1)):
        values[f"{STEPS}/action/future/{key}"][:, width:] = 7
    np.testing.assert_array_equal(standardized("bc_z", values)["action"], before)


def test_viola_poses_are_stored_column_after_column():
    poses, values = episode("viola")
    flat = values[f"{STEPS}/observation/ee_states"]
    np.testing.assert_allclose(flat[:, 12:15], poses.pos, atol=ATOL)
    out = standardized("viola", values)
    np.testing.assert_allclose(out["proprio"][:, 3:6], flat[:-1, :3], atol=ATOL)


def test_viola_padding_is_cut_before_motion_is_measured():
    """All-zero poses at either end would be jumps of half a metre."""
    _, values = episode("viola")
    whole = standardized("viola", values)
    for part in (slice(0, 2), slice(-2, None)):
        values[f"{STEPS}/observation/ee_states"][part] = 0
    out = standardized("viola", values)
    assert out["_frame_index"].tolist() == whole["_frame_index"][2:-2].tolist()
    np.testing.assert_array_equal(out["action"][:-1], whole["action"][2:-3])


def test_autolab_wrist_camera_is_stored_as_bgr_and_the_other_is_not():
    images = OXE["berkeley_autolab_ur5"].images
    assert {role: key.channel_order for role, key in images.items()} == {"primary": "rgb", "wrist": "bgr"}
    assert images["wrist"].path == "observation/hand_image"


def test_jaco_gripper_is_measured_by_the_fingers_and_not_by_the_quaternion():
    poses, values = episode("jaco_play")
    out = standardized("jaco_play", values)
    np.testing.assert_allclose(out["proprio"][:, 9], poses.opening[:-1], atol=ATOL)
    assert np.abs(values[f"{STEPS}/observation/end_effector_cartesian_pos"][:-1, 6] - out["proprio"][:, 9]).max() > 0.1


def test_cable_routing_gripper_is_unknown_and_not_closed():
    layout = OXE["berkeley_cable_routing"].layout
    assert not layout.action_mask[6]
    assert not layout.proprio_mask[9]


def test_cable_routing_state_is_a_pose_and_no_joints():
    poses, values = episode("berkeley_cable_routing")
    np.testing.assert_allclose(standardized("berkeley_cable_routing", values)["proprio"][:, :3], poses.pos[:-1], atol=ATOL)


def test_door_opening_is_not_called_base_frame():
    """A hand-held grabber has no base: its motion must not be mixed with that of arms that have one."""
    names = [field.name for field in OXE["nyu_door_opening_surprising_effectiveness"].layout.action.fields]
    assert names == ["tool_delta_pos", "tool_delta_rot", "gripper", "terminate"]


def test_relative_gripper_commands_are_carried_forward():
    for name in ("fractal20220817_data", "kuka", "jaco_play", "berkeley_autolab_ur5", "mt_opt"):
        poses, values = episode(name)
        out = standardized(name, values)
        np.testing.assert_array_equal(out["action"][:, 6], poses.command[out["_frame_index"]], err_msg=name)


def test_terminate_is_the_first_of_the_three_and_not_the_last():
    for name in ("fractal20220817_data", "kuka", "jaco_play"):
        _, values = episode(name)
        out = standardized(name, values)
        assert out["action"][:, 7].tolist() == [0] * (len(out["action"]) - 1) + [1], name


def test_kuka_keeps_successes_only():
    keep = OXE["kuka"].keep
    assert keep({"traj_metadata": {"success": np.array([True, True])}})
    assert not keep({"traj_metadata": {"success": np.array([False, False])}})


def test_the_google_robots_base_is_not_dropped():
    poses, values = episode("fractal20220817_data")
    np.testing.assert_allclose(standardized("fractal20220817_data", values)["action"][:, 8:], poses.base_delta, atol=ATOL)


@pytest.mark.parametrize("name", [name for name in OXE if name.startswith("berkeley_gnm")])
def test_waypoints_of_unknown_scale_are_not_taken_for_metres(name):
    poses, values = episode(name)
    out = standardized(name, values)
    np.testing.assert_allclose(out["action"], poses.base_delta[:-1], atol=ATOL)
    assert np.abs(values[f"{STEPS}/action"][:-1] - out["action"][:, :2]).max() > 0.1


@pytest.mark.parametrize(("history", "chunk"), [(1, 4), (2, 4), (3, 1), (5, 8)])
def test_the_mask_at_the_end_of_an_episode_is_not_off_by_two(history, chunk):
    """Octo's published index is t - (W + 1) + w + h where t - (W - 1) + w + h is right: its mask starts two steps late."""
    num_steps = 10
    got = windows(np.array([0, num_steps]), np.arange(num_steps), history=history, chunk=chunk)
    w, h = history - 1, np.arange(chunk)  # the newest frame of the window
    for t in range(num_steps):
        assert got.chunk_mask[t].tolist() == (t - (history - 1) + w + h < num_steps).tolist()
    published = num_steps - 1 - (history + 1) + w + h < num_steps
    assert published.sum() == min(chunk, 3)
    assert got.chunk_mask[-1].sum() == 1
