"""A page of this machine for the one person who has its address, and nobody else's requests.

It binds to loopback. The token in the printed address becomes a cookie that scripts cannot read and
other sites cannot send, and leaves the address. What would still reach it from another page (a
form, a rebound name, another port of this machine) is refused by Host, Origin, `Sec-Fetch-Site` and
a second token that only this page's own script knows.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from curate.errors import CurateError, UsageError
from curate.review.label_events import Labels

STATIC = Path(__file__).with_name("static")
HOST = "127.0.0.1"
_COOKIE = "curate-review"
_MOST_BYTES = 64 * 1024
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Conflict(CurateError):
    """Something else stands where the page wants to write: it has to load again, or to ask."""


class LocalPage:
    """One page with its script, the requests that the script makes, and the guard before them."""

    def __init__(
        self, name: str, routes: Iterable[web.RouteDef], settings: Labels, *, guarded: bool = True
    ) -> None:
        """Serve `static/NAME.html`; only tests serve without a guard.

        Args:
            name: What the page and its script are called.
            routes: The script's requests.
            settings: Where the tokens are kept: they are the same after a restart, so that a page
                that is open goes on.
            guarded: Refuse what does not come from the page.
        """
        self.guarded, self.port = guarded, 0
        self.token, self.page_token = settings.setting("token"), settings.setting("page token")
        self._name, self._routes = name, list(routes)

    def application(self) -> web.Application:
        """Return the application."""
        application = web.Application(middlewares=[self._guard], client_max_size=_MOST_BYTES)
        files = (f"/{self._name}.js", "/saving.js", "/review.css")
        application.add_routes(
            [
                web.get("/open", self._open),
                web.get("/", self._page),
                *(web.get(path, self._file) for path in files),
                *self._routes,
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let through what comes from this page and from the person who was given the address."""
        response: web.StreamResponse
        if (refused := self._refused(request)) is not None:
            response = refused
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = error
            except CurateError as error:
                status = 409 if isinstance(error, Conflict) else 400
                response = web.json_response({"error": str(error)}, status=status)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    def _refused(self, request: web.Request) -> web.Response | None:
        if not self.guarded:
            return None
        own = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        if request.headers.get("Host") not in own:
            return web.Response(status=421, text="this is another host's name for a local page")
        if request.path == "/open":
            return None
        if not hmac.compare_digest(request.cookies.get(_COOKIE, ""), self.token):
            text = "open the address that `curate review` printed: it holds the key to this page"
            return web.Response(status=403, text=text)
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if request.method == "GET":
            # To the page itself a link may lead; what it reads, only it asks for.
            foreign = request.path != "/" and site not in ("same-origin", "none")
            return (
                web.Response(status=403, text="only the page itself may read") if foreign else None
            )
        from_here = (
            request.headers.get("Origin") in [f"http://{name}" for name in own]
            and site == "same-origin"
            and request.content_type == "application/json"
            and hmac.compare_digest(request.headers.get("X-Curate-Token", ""), self.page_token)
        )
        return None if from_here else web.Response(status=403, text="only the page itself may post")

    async def _open(self, request: web.Request) -> web.StreamResponse:
        if not hmac.compare_digest(request.query.get("token", ""), self.token):
            raise web.HTTPForbidden(text="this address is not the one that was printed")
        response = web.HTTPFound("/")
        response.set_cookie(_COOKIE, self.token, httponly=True, samesite="Strict", path="/")
        return response

    async def _page(self, _: web.Request) -> web.StreamResponse:
        text = (STATIC / f"{self._name}.html").read_text(encoding="utf-8")
        text = text.replace("PAGE-TOKEN", self.page_token)
        return web.Response(text=text, content_type="text/html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        kind = "text/javascript" if request.path.endswith(".js") else "text/css"
        text = (STATIC / request.path[1:]).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that a request holds.

    Raises:
        UsageError: it holds something else.
    """
    try:
        given = await request.json()
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request holds no JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError("the request holds no JSON object")
    return given


def serve_page(page: LocalPage, port: int, tell: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C; `tell` gets the address to open.

    Raises:
        UsageError: the port is taken.
    """

    async def run() -> None:
        runner = web.AppRunner(page.application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise UsageError(
                f"port {port} cannot be used ({error.strerror}); try --port 0"
            ) from None
        assert runner.addresses
        page.port = runner.addresses[0][1]
        tell(f"http://{HOST}:{page.port}/open?token={page.token}")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
