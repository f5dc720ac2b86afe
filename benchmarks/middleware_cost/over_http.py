"""Requests over loopback, to uvicorn in a process of its own."""

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter
from typing import Final

import uvicorn
import uvloop
from rich.console import Console
from rich.progress import track
from starlette.types import ASGIApp

from benchmarks.middleware_cost.cases import HTTP_CASES, Case, Effort
from benchmarks.middleware_cost.figures import Figures, interval
from benchmarks.middleware_cost.hosts import ANSWER, bare_app, body_of, head_of, wrapped
from benchmarks.middleware_cost.logs import logging_as

IN_FLIGHT: Final = (1, 16)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def over_http(effort: Effort) -> Sequence[Figures]:
    """Return the ratios of wrapped to bare of every case, by the number of requests in flight."""
    with ExitStack() as servers:
        bare, *wrapped_ones = [servers.enter_context(serving(case)) for case in (None, *HTTP_CASES)]
        return [
            uvloop.run(ratios(case, (bare, port), in_flight, effort))
            for case, port in zip(HTTP_CASES, wrapped_ones, strict=True)
            for in_flight in IN_FLIGHT
        ]


@contextmanager
def serving(case: Case | None) -> Iterator[int]:
    """Serve the app, bare or as the case says, in a process of its own, and give its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(case, listener), daemon=True)
        server.start()
        yield listener.getsockname()[1]
        server.terminate()
        server.join()


def serve(case: Case | None, listener: socket.socket) -> None:
    """Serve until the process is ended."""
    if case is None:
        run_server(bare_app, listener)
    else:
        with logging_as(case.logs), wrapped(case) as (app, _):
            run_server(app, listener)


def run_server(app: ASGIApp, listener: socket.socket) -> None:
    """Serve an app as a production host would, without a log of accesses."""
    config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


async def ratios(case: Case, ports: tuple[int, int], in_flight: int, effort: Effort) -> Figures:
    """Return the ratios of wrapped to bare: of the median latency, and of requests a second."""
    body = body_of(0)
    lines = [f"{case.method} {case.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head_of(body).items())]
    request = "\r\n".join([*lines, "", ""]).encode() + body
    connections = {port: [await asyncio.open_connection("127.0.0.1", port) for _ in range(in_flight)] for port in ports}
    for port in ports:  # to start and to warm up
        await block(connections[port], request, requests=effort.requests)
    measured: dict[int, list[tuple[float, float]]] = {port: [] for port in ports}
    title = f"over HTTP, {case.name}, {case.logs}, {in_flight}"
    for pair in track(range(effort.blocks), title, console=Console(stderr=True)):
        for port in ports if pair % 2 else ports[::-1]:
            measured[port].append(await block(connections[port], request, requests=effort.requests))
    for _, writer in (one for opened in connections.values() for one in opened):
        writer.close()
    bare, with_us = (measured[port] for port in ports)
    return {
        "case": case.name,
        "logs": case.logs,
        "in_flight": in_flight,
        "bare_p50_us": round(median(p50 for p50, _ in bare) * 1e6, 1),
        "wrapped_p50_us": round(median(p50 for p50, _ in with_us) * 1e6, 1),
        "p50_ratio": interval([b[0] / a[0] for a, b in zip(bare, with_us, strict=True)]),
        "rate_ratio": interval([b[1] / a[1] for a, b in zip(bare, with_us, strict=True)]),
    }


async def block(connections: Sequence[Connection], request: bytes, *, requests: int) -> tuple[float, float]:
    """Return the median seconds of a request, and requests a second."""
    share = requests // len(connections)
    started = perf_counter()
    took = await asyncio.gather(*(exchange(connection, request, share) for connection in connections))
    elapsed = perf_counter() - started
    return median(one for several in took for one in several), share * len(connections) / elapsed


async def exchange(connection: Connection, request: bytes, times: int) -> Sequence[float]:
    """Return the seconds of requests, one after the other, on one connection."""
    reader, writer = connection
    took = []
    for _ in range(times):
        started = perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head)
        await reader.readexactly(len(ANSWER))
        took.append(perf_counter() - started)
    return took
