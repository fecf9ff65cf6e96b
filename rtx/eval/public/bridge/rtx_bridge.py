"""Runs one public suite for rtx in the suite's own Python: PYTHON rtx_bridge.py HOST, messages on standard input and output.

Needs the standard library, numpy, msgpack and the suite; imports nothing of rtx. The other side is rtx/eval/public/process.py.
`host_HOST.py` beside this file has a class Host with reset, step, look, and expert and act where there is an expert.
"""

# mypy: ignore-errors
# Of any Python that a suite runs in, and typed by none: its packages are not here.

import importlib
import os
import struct
import sys
import traceback

import msgpack
import numpy as np

_HEAD = struct.Struct(">I")


def encoded(value):
    array = np.ascontiguousarray(value)
    return {"nd": [array.dtype.str, list(array.shape), array.tobytes()]}


def decoded(value):
    if set(value) != {"nd"}:
        return value
    dtype, shape, data = value["nd"]
    return np.frombuffer(data, dtype).reshape(shape)


def answer(host, message):
    do = message.pop("do")
    try:
        if do == "open":
            module = importlib.import_module("host_" + sys.argv[1])
            return module.Host(**message), {}
        return host, getattr(host, do)(**message) or {}
    except ImportError as error:
        return host, {"missing": str(error)}
    except Exception:  # the edge of a process: the other side raises it
        return host, {"failed": traceback.format_exc()}


def main():
    # Suites print whatever they like: the pipe is kept for us, and their standard output goes where their errors go.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    host = None
    while True:
        head = sys.stdin.buffer.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return  # the other side hung up
        body = sys.stdin.buffer.read(_HEAD.unpack(head)[0])
        host, reply = answer(host, msgpack.unpackb(body, object_hook=decoded))
        data = msgpack.packb(reply, default=encoded)
        pipe.write(_HEAD.pack(len(data)) + data)
        pipe.flush()


if __name__ == "__main__":
    main()
