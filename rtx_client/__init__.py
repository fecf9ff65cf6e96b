"""The robot's side of a policy server: numpy, msgpack and websockets, nothing of rtx.

from rtx_client import Client, Hold

with Client("ws://gpu-box:8000", robot="sim_panda") as policy:
    while True:
        try:
            actions = policy.act(images={"primary": rgb}, proprio=state, instruction="push the red cube")
        except Hold:
            ...  # no action just now: hold still, ask again
"""

from rtx_client.client import Client
from rtx_client.errors import Hold, Mismatch, PolicyError, Unauthorized
from rtx_client.questions import Actions
from rtx_client.wire import WireError

__all__ = ["Actions", "Client", "Hold", "Mismatch", "PolicyError", "Unauthorized", "WireError"]
