"""A whole server in one object: listen, load, warm up, serve, drain.

    async with Application(settings) as application:   # ready when entered
        print(application.ports.grpc)

`hub serve` runs one until a signal; `running` runs one in a thread, for tests and embedding.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from hub.errors import UnavailableError
from hub.settings import Settings
from server.core import Core, give_way, open_core
from server.entrance import Entrance, open_entrance
from server.grpc.edge import Edge, join_address
from server.live_settings import LiveSettings
from server.reload import ReloadHub
from server.telemetry.access import AccessLog, AccessPolicy
from server.telemetry.exposition import Exposition
from server.telemetry.metrics import Metrics
from server.telemetry.traces import CallTracer, open_tracer

if TYPE_CHECKING:
    from server.http.listening import HttpServer

POOL_THREADS: Final = 8
FILE_THREADS: Final = 2
"""For reading and writing files, which may take seconds: texts of other calls do not wait for them,
and no more files than these are being read.
"""
FILE_NICENESS: Final = 10

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Ports:
    """The addresses that are listened on, as "host:port"; "" for HTTP where it is off."""

    grpc: str
    metrics: str
    http: str = ""


@dataclass(frozen=True, slots=True)
class Reread:
    """How settings are read again.

    Attributes:
        read: Gathers them as at the start; raises SettingsError.
        files: What they are read from.
    """

    read: Callable[[], Settings]
    files: tuple[Path, ...] = ()


class Application:
    """One server; use it once."""

    def __init__(self, settings: Settings, reread: Reread | None = None) -> None:
        """Prepare a server.

        Args:
            settings: What it is started with.
            reread: How the settings are read again while it runs, None where they are not.
        """
        self.settings = settings
        self.metrics = Metrics(settings.metric_label_values)
        self.access = AccessLog(AccessPolicy.of(settings))
        self.reloads = ReloadHub(self.metrics)
        self._reread = reread
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="blocking")
        self._files = ThreadPoolExecutor(FILE_THREADS, "files", give_way, (FILE_NICENESS,))
        self._core: Core | None = None
        self._edge: Edge | None = None
        self._http: HttpServer | None = None
        self._exposition: Exposition | None = None
        self._tracer: CallTracer | None = None
        self._ports: Ports | None = None
        self._golden: asyncio.Task[None] | None = None

    @property
    def ports(self) -> Ports:
        """Return where it listens; only after `listen`."""
        assert self._ports is not None, "the application is not listening yet"
        return self._ports

    @property
    def core(self) -> Core:
        """Return what is served.

        Raises:
            UnavailableError: The base is still being loaded.
        """
        if self._core is None:
            raise UnavailableError("the base model is being loaded; retry in a moment")
        return self._core

    async def __aenter__(self) -> Self:
        """Listen, load and warm up."""
        try:
            await self.listen()
            await self.load()
        except BaseException:
            await self.stop(0)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drain and stop."""
        await self.stop(self.settings.drain_seconds)

    async def listen(self) -> None:
        """Take the ports: health says NOT_SERVING, calls are told to come back.

        Raises:
            PortInUseError: A port is taken.
            SettingsError: Other machines could call without being asked who they are, the
                certificates are not usable, or traces cannot be sent where the settings say.
        """
        settings = self.settings
        self._tracer = open_tracer(settings.tracing)
        entrance = open_entrance(
            settings, lambda: self.core, self._pool, self._files, self.metrics, self.access,
            self._tracer,
        )  # fmt: skip
        self._edge = Edge(entrance)
        self._exposition = Exposition(self.metrics, settings.host, settings.metrics_port)
        port = await self._edge.start()
        self._ports = Ports(
            join_address(settings.host, port),
            join_address(settings.host, self._exposition.port),
            await self._listen_http(entrance),
        )

    async def _listen_http(self, entrance: Entrance) -> str:
        """Open the HTTP door where the settings ask for it; return its address."""
        if self.settings.http_port is None:
            return ""
        from server.http.listening import HttpServer
        from server.http.site import open_site

        self._http = HttpServer(self.settings, open_site(entrance))
        return join_address(self.settings.host, await self._http.start())

    async def load(self) -> None:
        """Load the base, warm up, and serve.

        Raises:
            HubError: The base or the registry cannot be opened, or the base cannot translate.
        """
        loop = asyncio.get_running_loop()

        def on_broken() -> None:
            asyncio.run_coroutine_threadsafe(self._edge_serving(False), loop)

        core = await loop.run_in_executor(
            self._pool, open_core, self.settings, self.metrics, self._pool, on_broken
        )
        try:
            await core.warm_up()
        except BaseException:
            core.close()
            raise
        self._core = core
        self._register_reloads(core)
        self.reloads.start(self._pool)
        if self.settings.golden_interval:
            self._golden = loop.create_task(core.golden.run())
        await self._edge_serving(True)

    def reload(self) -> None:
        """Read everything again that can change while it runs; returns at once."""
        self._pool.submit(self.reloads.reload_all)

    def _register_reloads(self, core: Core) -> None:
        routes = self.settings.routes
        self.reloads.register("routes", lambda: [routes] if routes else [], core.routes.refresh)
        if self._reread is None:
            return

        def apply(settings: Settings) -> None:
            core.take(settings)
            self.access.policy = AccessPolicy.of(settings)
            self.settings = settings

        live = LiveSettings(self.settings, self._reread.read, apply)
        files = self._reread.files
        self.reloads.register("settings", lambda: files, live.reload)

    async def stop(self, drain_seconds: float) -> None:
        """Stop: refuse what is new, finish what runs within the given time, release everything.

        What has not ended by then is told so by the core when it closes, before the edge stops.
        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as left:  # the last comes first; each, whatever fails before it
            for pool in (self._pool, self._files):
                left.callback(pool.shutdown, wait=False, cancel_futures=True)
            if self._exposition is not None:
                left.callback(self._exposition.close)
            if self._tracer is not None:
                left.push_async_callback(loop.run_in_executor, None, self._tracer.close)
            left.callback(self.access.flush)
            if self._http is not None:
                left.push_async_callback(self._http.stop)
            if self._edge is not None and drain_seconds > 0:
                left.push_async_callback(self._edge.stop)
            if self._core is not None:
                left.push_async_callback(loop.run_in_executor, None, self._core.close)
            if self._edge is not None:
                drain = partial(self._edge.drain, drain_seconds)
                left.push_async_callback(drain if drain_seconds > 0 else self._edge.stop_now)
            left.push_async_callback(self._stop_golden)
            left.push_async_callback(self.reloads.stop)

    async def _stop_golden(self) -> None:
        if self._golden is not None:
            self._golden.cancel()
            await asyncio.wait([self._golden])

    async def _edge_serving(self, serving: bool) -> None:
        assert self._edge is not None
        await self._edge.set_serving(serving)


@contextmanager
def running(settings: Settings) -> Iterator[Application]:
    """Run a server in a thread of this process for as long as the block runs.

    Raises:
        HubError: It could not start.
    """
    started: Future[tuple[Application, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        try:
            async with Application(settings) as application:
                leave = asyncio.Event()
                started.set_result((application, asyncio.get_running_loop(), leave))
                await leave.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="server", daemon=True)
    thread.start()
    application, loop, leave = started.result()
    try:
        yield application
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
