"""Writes what the real clients say, for tests that cannot install them (openpi-client holds numpy below 2).

    python -m venv foreign && foreign/bin/pip install openpi-client==0.1.2 json-numpy==2.1.1
    foreign/bin/python tests/serve/data/make_foreign_bytes.py

openpi.msgpack   three observations as `WebsocketClientPolicy.infer` packs them, msgpack one after the other
openvla.json     a list of two bodies as `requests.post(url, json=...)` of OpenVLA's example sends them: plain and encoded twice
"""

import json
from pathlib import Path

import json_numpy
import numpy as np
from openpi_client import msgpack_numpy

HERE = Path(__file__).parent


def picture(level):
    return np.full((6, 8, 3), level, np.uint8)


def main():
    packer = msgpack_numpy.Packer()
    libero = {
        "observation/image": picture(100), "observation/wrist_image": picture(120),
        "observation/state": np.full(10, 0.5), "prompt": "push the red cube",
    }  # fmt: skip
    aloha = {
        "state": np.full(10, 0.5, np.float32), "prompt": "push the red cube", "robot": "sim_iiwa",
        "images": {"cam_high": np.moveaxis(picture(100), -1, 0)},
    }  # fmt: skip
    scalars = dict(libero, episode=np.int64(3))
    (HERE / "openpi.msgpack").write_bytes(b"".join(packer.pack(each) for each in (libero, aloha, scalars)))
    payload = {"image": picture(100), "instruction": "push the red cube", "unnorm_key": "sim_iiwa", "state": np.full(10, 0.5)}
    bodies = [json_numpy.dumps(payload), json.dumps({"encoded": json_numpy.dumps(payload)})]
    (HERE / "openvla.json").write_text(json.dumps(bodies) + "\n")


if __name__ == "__main__":
    main()
