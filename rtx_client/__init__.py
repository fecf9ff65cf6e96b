"""The robot's side of a policy server: numpy, msgpack and websockets, nothing of rtx.

from rtx_client import PolicyClient

with PolicyClient("gpu-box", 8000) as policy:
    actions = policy.act(images={"primary": rgb}, proprio=state, instruction="push the red cube", robot="sim_panda")
"""

from rtx_client.client import Actions, PolicyClient, PolicyError
from rtx_client.wire import WireError

__all__ = ["Actions", "PolicyClient", "PolicyError", "WireError"]
