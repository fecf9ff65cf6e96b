"""What other loaders read wrongly in the Franka and single-arm sets, one test each."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.features import STEPS
from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.oxe import OXE
from rtx.data.oxe.droid import DROID_JOINTS, FILE_PATH
from rtx.data.oxe.schemas import schema
from rtx.data.prepare import prepare
from tests.data.oxe.episodes import angle, episode, rotation_of, standardized
from tests.data.tiny_sets import LETTERS
from tests.fakes import feature, jpeg, write_rlds

AUSTIN = (
    "austin_buds_dataset_converted_externally_to_rlds",
    "austin_sailor_dataset_converted_externally_to_rlds",
    "austin_sirius_dataset_converted_externally_to_rlds",
    "utaustin_mutex",
)
HYDRA = "stanford_hydra_dataset_converted_externally_to_rlds"
MANISKILL = "maniskill_dataset_converted_externally_to_rlds"
NYU_PLAY = "nyu_franka_play_dataset_converted_externally_to_rlds"
ROBOCOOK = "stanford_robocook_converted_externally_to_rlds"
KUKA = "stanford_kuka_multimodal_dataset_converted_externally_to_rlds"
NUM_STEPS = 31


@pytest.mark.parametrize(
    ("name", "roles"),
    [(HYDRA, {"primary", "wrist"}), ("utaustin_mutex", {"primary", "wrist"}),
     ("fmb", {"primary", "secondary", "wrist", "wrist_right"})],
)  # fmt: skip
def test_cameras_stored_as_bgr(name, roles):
    assert {role for role, key in OXE[name].images.items() if key.channel_order == "bgr"} == roles
    assert {camera.role for camera in OXE[name].embodiment.cameras if camera.channel_order == "bgr"} == roles


def test_play_fusion_is_not_sliced_as_three_and_the_last_four():
    """The last four of the nine are two parts of the quaternion, gripper and terminate."""
    poses, values = episode("cmu_play_fusion")
    out = standardized("cmu_play_fusion", values)["action"]
    sliced = np.concatenate([values[f"{STEPS}/action"][:, :3], values[f"{STEPS}/action"][:, -4:]], -1)
    assert angle(Rotation.from_euler("xyz", out[:, 3:6]), poses.delta_rot) < 1e-5
    assert angle(Rotation.from_euler("xyz", sliced[:, 3:6]), poses.delta_rot) > 0.5
    np.testing.assert_array_equal(out[:, 6], poses.command)
    np.testing.assert_array_equal(out[:, 7], poses.terminate)


@pytest.mark.parametrize("name", AUSTIN)
def test_austin_poses_are_stored_column_after_column(name):
    """Read row after row, the position would be zeros and the rotation the inverse."""
    poses, values = episode(name)
    proprio = standardized(name, values)["proprio"]
    np.testing.assert_allclose(proprio[:, :3], poses.pos[:-1], atol=1e-6)
    assert angle(rotation_of(proprio[:, 3:9]), poses.rot[:-1]) < 1e-5
    assert angle(poses.rot.inv(), poses.rot) > 0.1


def test_sirius_state_is_no_position_and_quaternion():
    """It is joints and gripper width; the pose has a key of its own."""
    name = AUSTIN[2]
    assert "observation/state" not in OXE[name].keys
    poses, values = episode(name)
    state = values[f"{STEPS}/observation/state"]
    proprio = standardized(name, values)["proprio"]
    assert np.abs(proprio[:, :3] - state[:-1, :3]).max() > 0.1
    np.testing.assert_allclose(proprio[:, 9], poses.opening[:-1], atol=1e-6)


@pytest.mark.parametrize("name", [AUSTIN[0], AUSTIN[2]])
@pytest.mark.parametrize("missing", [[0], [10], [NUM_STEPS - 1], [4, 5]])
def test_austin_steps_without_a_state_are_cut(name, missing):
    """Their poses are zeros: no rotation, and half a metre of motion to the next."""
    poses, values = episode(name)
    keys = [key for key in values if "state" in key]
    holes = {key: values[key].copy() for key in keys}
    for key in keys:
        holes[key][missing] = 0
    out = standardized(name, {**values, **holes})
    spoiled = set(missing) | {step - 1 for step in missing} | {NUM_STEPS - 1}
    kept = [step for step in range(NUM_STEPS) if step not in spoiled]
    assert out["_frame_index"].tolist() == kept
    np.testing.assert_allclose(out["action"][:, :3], poses.delta_pos[kept], atol=1e-6)
    np.testing.assert_allclose(out["proprio"][:, :3], poses.pos[kept], atol=1e-6)


def test_hydra_gripper_width_is_element_24():
    """The three gripper numbers differ; the loaders' last one (26) is not the width."""
    poses, values = episode(HYDRA)
    opening = standardized(HYDRA, values)["proprio"][:, 9]
    np.testing.assert_allclose(opening, poses.opening, atol=1e-6)
    assert np.abs(values[f"{STEPS}/observation/state"][:, 26] - poses.opening).max() > 0.3


def test_maniskill_quaternions_have_their_scalar_first():
    poses, values = episode(MANISKILL)
    out = standardized(MANISKILL, values)
    assert angle(rotation_of(out["proprio"][:, 3:9]), poses.rot[:-1]) < 1e-5
    scalar_last = Rotation.from_quat(values[f"{STEPS}/observation/tcp_pose"][:, 3:])
    assert angle(scalar_last, poses.rot) > 0.5


def test_maniskill_gripper_is_not_left_between_minus_one_and_one():
    poses, values = episode(MANISKILL)
    assert set(values[f"{STEPS}/action"][:, 6]) == {-1, 1}
    np.testing.assert_array_equal(standardized(MANISKILL, values)["action"][:, 6], poses.command[:-1])


def test_kuka_peg_turns_about_the_vertical():
    """The measured statistics, read scalar last, have a first column of (-1, 0, 0) and a second that tilts by 40 degrees."""
    yaw = np.linspace(-0.7, 0.7, 5)
    down = Rotation.from_euler("z", yaw[:, None]) * Rotation.from_euler("x", np.pi)
    stored = np.roll(down.as_quat(), 1, axis=-1)
    misread = Rotation.from_quat(stored).as_matrix()
    np.testing.assert_allclose(misread[:, :, 0], np.tile([-1, 0, 0], (5, 1)), atol=1e-12)
    np.testing.assert_allclose(misread[:, 2, 1], np.sin(yaw), atol=1e-12)
    _, values = episode(KUKA, num_steps=5)
    out = standardized(KUKA, {**values, f"{STEPS}/observation/ee_orientation": stored.astype(np.float32)})
    assert angle(rotation_of(out["proprio"][:, 3:9]), down[:-1]) < 1e-5
    np.testing.assert_allclose(out["action"][:, 3:6], np.tile([0, 0, yaw[1] - yaw[0]], (4, 1)), atol=1e-6)


def test_eth_angles_are_stored_yaw_first():
    name = "eth_agent_affordances"
    _, values = episode(name, num_steps=3)
    state = np.zeros((3, 8), np.float32)
    state[:, 3] = 0.5  # yaw, in the slot where others have roll
    proprio = standardized(name, {**values, f"{STEPS}/observation/state": state})["proprio"]
    assert angle(rotation_of(proprio[:, 3:9]), Rotation.from_euler("z", [[0.5]] * 3)) < 1e-6


def test_imperial_yaw_is_not_in_the_roll_slot():
    name = "imperialcollege_sawyer_wrist_cam"
    _, values = episode(name, num_steps=3)
    action = np.zeros((3, 8), np.float32)
    action[:, 3] = 0.1
    turned = {**values, f"{STEPS}/action": action}
    np.testing.assert_allclose(standardized(name, turned)["action"][:, 3:6], [[0, 0, 0.1]] * 3, atol=1e-7)
    np.testing.assert_allclose(standardized(name, turned, euler="xyz")["action"][:, 3:6], [[0.1, 0, 0]] * 3, atol=1e-7)


def test_imperial_motion_is_not_called_base_frame():
    """Its frame is the gripper's and no orientation is measured: the canonical fields must not hold it."""
    names = [field.name for field in OXE["imperialcollege_sawyer_wrist_cam"].layout.action.fields]
    assert names == ["tool_delta_pos", "tool_delta_rot", "gripper", "terminate"]


def test_nyu_play_turns_do_not_jump_where_euler_angles_wrap():
    _, values = episode(NYU_PLAY)
    assert np.abs(values[f"{STEPS}/action"][:, 10:13]).max() > 6
    for motion in ("reached", "command"):
        assert np.abs(standardized(NYU_PLAY, values, motion=motion)["action"][:, 3:6]).max() < 0.15, motion


def test_robocook_gripper_velocity_is_not_passed_as_an_opening():
    poses, values = episode(ROBOCOOK)
    assert values[f"{STEPS}/action"][:, 6].min() < -0.1
    np.testing.assert_allclose(standardized(ROBOCOOK, values)["action"][:, 6], poses.next_opening, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["cmu_playing_with_food", "iamlab_cmu_pickup_insert_converted_externally_to_rlds", "qut_dexterous_manpulation"]
)
def test_absolute_poses_are_not_taken_for_deltas(name):
    poses, values = episode(name)
    assert np.abs(values[f"{STEPS}/action"][:, :3]).max() > 0.3
    out = standardized(name, values)
    np.testing.assert_allclose(out["action"][:, :3], poses.delta_pos[out["_frame_index"]], atol=1e-6)


def test_playing_with_food_forces_are_no_pose():
    assert "observation/state" not in OXE["cmu_playing_with_food"].keys
    assert not any(OXE["cmu_playing_with_food"].layout.proprio_mask)


def test_furniture_bench_turns_are_in_the_gripper_frame():
    name = "furniture_bench_dataset_converted_externally_to_rlds"
    poses, values = episode(name)
    passed_through = Rotation.from_quat(values[f"{STEPS}/action"][:, 3:7])
    assert angle(passed_through, poses.delta_rot) > 0.05
    assert angle(Rotation.from_euler("xyz", standardized(name, values)["action"][:, 3:6]), poses.delta_rot) < 1e-5


@pytest.mark.parametrize("name", [*AUSTIN, "nyu_rot_dataset_converted_externally_to_rlds", "robo_set", HYDRA])
def test_closing_is_not_passed_on_as_opening(name):
    """1 closes in all of these."""
    poses, values = episode(name)
    raw = values[f"{STEPS}/action"][:, -1]
    assert np.corrcoef(raw, poses.command)[0, 1] < -0.99
    out = standardized(name, values)
    np.testing.assert_array_equal(
        out["action"][:, OXE[name].layout.action.slices["gripper"]][:, 0], poses.command[out["_frame_index"]]
    )


def droid_files(root, sentences):
    """A DROID directory in its own keys: an episode for each triple of sentences, then one that failed."""
    record = OXE["droid"]
    pictures = [key.path for key in record.images.values()]
    leaves = {f"{STEPS}/{path}": feature("tensor", shape, dtype="float64") for path, shape in record.keys.items()}
    leaves |= {f"{STEPS}/{path}": feature("text") for path in record.instructions}
    leaves |= {f"{STEPS}/{path}": feature("image", (16, 16, 3)) for path in pictures}
    episodes = []
    for number, texts in enumerate([*sentences, ("failed",) * 3]):
        _, values = episode("droid", seed=number, num_steps=5)
        one = {f"{STEPS}/{path}": values[f"{STEPS}/{path}"].astype(np.float32) for path in record.keys}
        one |= {f"{STEPS}/{path}": [text.encode()] * 5 for path, text in zip(record.instructions, texts, strict=True)}
        one |= {f"{STEPS}/{path}": [jpeg((40 * t, 0, 0)) for t in range(5)] for path in pictures}
        outcome = "failure" if number == len(sentences) else "success"
        episodes.append({**one, FILE_PATH: [f"/data/AUTOLab/{outcome}/{number}/trajectory.h5".encode()]})
    return write_rlds(root, "droid", {**leaves, FILE_PATH: feature("text")}, {"train": [episodes]})


def test_droid_draws_no_empty_sentence_and_no_failure(tmp_path):
    """Of three sentences some are empty: Octo never draws the last one, openpi may draw an empty one."""
    sentences = [("", "", "third"), ("", "second", ""), ("first", "", "other"), ("", "", "")] * 3
    prepared = prepare(OXE["droid"], droid_files(tmp_path, sentences), tmp_path / "out", num_workers=1)
    assert prepared.counts["train"]["filtered"] == 1
    assert "failed" not in prepared.languages
    said = []
    for split in prepared.splits:
        mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
        batches = one_pass(
            mixture, split=split, batch_size=64, history=1, chunk=1, roles=("wrist",), image_size=(8, 8),
            tokenizers=LETTERS, num_threads=1,
        )  # fmt: skip
        said += ["".join(map(chr, row[row > 0])) for batch in batches for row in batch.text[batch.sample >= 0]]
    assert set(said) == {"third", "second", "first", "other", ""}
    assert said.count("") == 3 * 5, "only the episodes that have no sentence at all"


def test_droid_velocities_become_metres_and_radians():
    """A full deflection is 0.075 m in a step of 1/15 s, not 1 m."""
    poses, values = episode("droid")
    assert np.abs(values[f"{STEPS}/action_dict/cartesian_velocity"][:, :3]).max() > 10 * np.abs(poses.delta_pos).max()
    out = standardized("droid", values, motion="velocity")["action"]
    np.testing.assert_allclose(out[:, :3], poses.delta_pos, atol=1e-6)


def test_droid_in_joint_space():
    DROID_JOINTS.validate(schema("droid").features, where="droid")
    DROID_JOINTS.check_name("droid", where="here")
    poses, values = episode("droid")
    trajectory = {
        "action_dict": {key: values[f"{STEPS}/action_dict/{key}"] for key in ("joint_position", "gripper_position")},
        "observation": {key: values[f"{STEPS}/observation/{key}"] for key in ("joint_position", "gripper_position")},
    }
    out = DROID_JOINTS.standardize(trajectory)
    np.testing.assert_allclose(out["action"], np.column_stack([poses.next_joints(7), poses.command]), atol=1e-6)
    np.testing.assert_allclose(out["proprio"], np.column_stack([poses.joints(7), poses.opening]), atol=1e-6)
    assert DROID_JOINTS.layout.action.width == 8
