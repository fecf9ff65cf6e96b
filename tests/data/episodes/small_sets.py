"""Small real HDF5 files and Zarr stores in the layouts of the field, written with h5py and zarr; and the robot they are of.

Each episode has numbers of its own, so that what comes out tells which row it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from rtx.embodiment import ActionSpace, Camera, Embodiment, Limits
from rtx.images import encode_jpeg
from rtx.robots import fields

SIZE = (16, 24)
LENGTHS = (5, 9, 7)
TASK = "stack the cups"

ROBOT = Embodiment(
    name="lab_arm",
    morphology="single arm",
    cameras=(Camera(role="primary", resolution=SIZE), Camera(role="wrist", resolution=SIZE, channel_order="bgr")),
    proprio=(fields.eef_pos("cm"), fields.eef_rot("quat_wxyz"), fields.gripper_state(closed=100, opened=0)),
    action=ActionSpace(fields=(fields.delta_pos("cm"), fields.delta_rot("rpy"), fields.gripper(closed=1, opened=0))),
    control_hz=10.0,
    limits=Limits(
        workspace_low_m=(-1.0, -1.0, -1.0), workspace_high_m=(1.0, 1.0, 1.0), max_step_m=0.1, max_step_rad=0.5,
        max_velocity_m_s=1.0, max_acceleration_m_s2=5.0,
    ),
)  # fmt: skip


def actions(episode: int) -> np.ndarray:
    """float32 [T, 7], native: cm, rpy, gripper 1 closed."""
    t = np.arange(LENGTHS[episode], dtype=np.float32)[:, None]
    move = np.concatenate([t, -t, np.full_like(t, 10 * episode)], -1) / 4
    return np.concatenate([move, np.zeros((len(t), 2)), t / 64, t % 2], -1).astype(np.float32)


def states(episode: int) -> np.ndarray:
    """float32 [T, 8], native: cm, quat_wxyz, gripper 100 closed."""
    t = np.arange(LENGTHS[episode], dtype=np.float32)[:, None]
    turn = np.tile([1.0, 0.0, 0.0, 0.0], (len(t), 1))
    return np.concatenate([30 + t, np.full_like(t, episode), t / 2, turn, 50 * (t % 3)], -1).astype(np.float32)


def pictures(episode: int, camera: int) -> np.ndarray:
    """uint8 [T, h, w, 3], as stored: smooth, each of its own shade, its channels different."""
    rows = []
    for t in range(LENGTHS[episode]):
        picture = np.zeros((*SIZE, 3), np.uint8)
        picture[..., 0] = np.linspace(20 * t, 20 * t + 40, SIZE[1]).astype(np.uint8)
        picture[..., 1] = 60 * episode + 30
        picture[..., 2] = 200 * camera
        rows.append(picture)
    return np.stack(rows)


def encoded(episode: int, camera: int) -> np.ndarray:
    """uint8 [T, n]: JPEG padded with zeros to the longest, as ALOHA's compressed recordings."""
    jpegs = [encode_jpeg(picture) for picture in pictures(episode, camera)]
    padded = np.zeros((len(jpegs), max(map(len, jpegs))), np.uint8)
    for row, data in zip(padded, jpegs, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return padded


def write_aloha(folder: Path, *, compressed: bool = False, episodes: int = len(LENGTHS)) -> Path:
    """One file an episode: /action, /observations/qpos, /observations/images/cam_high and cam_wrist."""
    folder.mkdir(parents=True, exist_ok=True)
    for e in range(episodes):
        with h5py.File(folder / f"episode_{e}.hdf5", "w") as file:
            file.attrs["sim"], file.attrs["compress"], file.attrs["task"] = False, compressed, TASK
            file["action"], file["observations/qpos"] = actions(e), states(e)
            file["observations/qvel"] = states(e).astype(np.float64)
            for i, camera in enumerate(("cam_high", "cam_wrist")):
                file[f"observations/images/{camera}"] = encoded(e, i) if compressed else pictures(e, i)
            if compressed:
                file["compress_len"] = np.zeros((2, LENGTHS[e]))
    return folder


def write_robomimic(path: Path) -> Path:
    """All in one file: data/demo_N/actions, obs/<key>, next_obs, dones; masks; LIBERO's text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["problem_info"] = json.dumps({"language_instruction": TASK})
        for e in range(len(LENGTHS)):
            demo = file.create_group(f"data/demo_{e}")
            demo.attrs["num_samples"] = LENGTHS[e]
            demo["actions"] = actions(e).astype(np.float64)
            for name, part in (("eef_pos", slice(0, 3)), ("eef_rot", slice(3, 7)), ("gripper", slice(7, 8))):
                demo[f"obs/{name}"] = states(e)[:, part]
                demo[f"next_obs/{name}"] = states(e)[:, part]
            demo["obs/agentview_image"], demo["obs/robot0_eye_in_hand_image"] = pictures(e, 0), pictures(e, 1)
            demo["obs/agentview_depth"] = np.zeros((LENGTHS[e], 100, 100, 1), np.float32)
            demo["dones"] = np.arange(LENGTHS[e]) == LENGTHS[e] - 1
        file["mask/train"], file["mask/valid"] = np.array([b"demo_0", b"demo_2"]), np.array([b"demo_1"])
    return path


def write_replay_buffer(path: Path, *, version: int, zipped: bool = False) -> Path:
    """Diffusion policy's: all episodes one after another, chunks across their ends; pictures as float32, as in Push-T."""
    store: Any = zarr.storage.ZipStore(path, mode="w") if zipped else path
    root = zarr.open_group(store, mode="w", zarr_format=2 if version == 2 else 3)
    every = range(len(LENGTHS))
    columns = {
        "action": np.concatenate([actions(e) for e in every]),
        "state": np.concatenate([states(e) for e in every]),
        "img": np.concatenate([pictures(e, 0) for e in every]).astype(np.float32),
        "wrist_img": np.moveaxis(np.concatenate([pictures(e, 1) for e in every]), -1, 1),  # channels first
    }
    data = root.create_group("data")
    for name, values in columns.items():
        data.create_array(name, data=values, chunks=(4, *values.shape[1:]))
    root.create_group("meta").create_array("episode_ends", data=np.cumsum(LENGTHS))
    if zipped:
        store.close()
    return path


def write_groups(path: Path) -> Path:
    """A Zarr store with one group an episode; the text is an attribute of each."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    for e in range(len(LENGTHS)):
        group = root.create_group(f"episode_{e}")
        group.attrs["language_instruction"] = f"{TASK} {e}"
        for name, values in _columns(e).items():
            group.create_array(name, data=values, chunks=(3, *values.shape[1:]))
    return path


def _columns(e: int) -> Mapping[str, np.ndarray]:
    return {"action": actions(e), "obs/state": states(e), "obs/primary": pictures(e, 0), "obs/wrist": pictures(e, 1)}
