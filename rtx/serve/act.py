"""`POST /act`: the handler; its form is `rtx.serve.openvla`'s."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from rtx.serve.desk import Desk
from rtx.serve.names import foreign_request
from rtx.serve.openvla import first_action, read_payload, write_action
from rtx.serve.refusals import HTTP_STATUS, refusal_of


def act_handler(desk: Desk) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Each address is one line: robots behind one address share its turn."""

    async def act(request: web.Request) -> web.StreamResponse:
        arrived, line = time.monotonic(), ("act", request.remote)
        try:
            payload, twice = await asyncio.to_thread(read_payload, await request.read())  # large ones take milliseconds
            asked = foreign_request(payload, desk.names, desk.policy.contract)
            chunk = await desk.ask(asked, line)
            text = write_action(first_action(chunk), twice=twice)
            desk.record(asked, chunk, line)
        except web.HTTPException:  # too large
            raise
        except Exception as error:  # the edge of a request: it is answered with a code, defects of ours are logged whole
            code, message = refusal_of(error, id=None)
            desk.metrics.requests.labels("act", code).inc()
            body = json.dumps({"code": code, "message": message})
            return web.Response(text=body, status=HTTP_STATUS[code], content_type="application/json")
        desk.metrics.requests.labels("act", "ok").inc()
        desk.metrics.seconds.labels("act").observe(time.monotonic() - arrived)
        return web.Response(text=text, content_type="application/json")

    return act
