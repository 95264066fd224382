"""The ASGI application of the embedded AWS: what the server adds to every service of ministack."""

import json
from pathlib import Path
from typing import Any

from ddb_pipeline.embedded.process import STATUS_PATH, ServerState, write_state
from ddb_pipeline.embedded.services.ministack import Application, Receive, Scope, Send


class ServerApplication:
    """Passes requests on to ministack, except those for the server's own status.

    The status lets a client distinguish this server from another one that has got its port. The
    state file, where clients find the port, is written once ministack has started up.
    """

    def __init__(self, ministack: Application, home: Path, state: ServerState) -> None:
        self._ministack = ministack
        self._home = home
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._ministack(scope, receive, self._announcing(send))
        elif scope["type"] == "http" and scope["path"] == STATUS_PATH:
            await self._send_status(send)
        else:
            await self._ministack(scope, receive, send)

    def _announcing(self, send: Send) -> Send:
        async def announce(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                write_state(self._home, self._state)
            await send(message)

        return announce

    async def _send_status(self, send: Send) -> None:
        body = json.dumps({"home": str(self._home), "pid": self._state.pid}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
