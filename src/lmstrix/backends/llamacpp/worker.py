"""The child process that holds one loaded model: `python -m lmstrix.backends.llamacpp.worker`.

llama.cpp aborts the whole process when an allocation fails late, so it lives alone. The parent
writes one line of JSON, `Orders`, on our standard input and keeps that pipe open: it is our
lifeline. When the parent ends, however it ends, the pipe closes and we end too. On standard output
we write a line of JSON before loading (what this process takes by itself) and one once the model
is loaded; whatever the engine prints goes to standard error. From then on the engine answers over
HTTP on a loopback port, behind a key.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import psutil

BATCH: Final = 512
"""Tokens that the engine reads at once."""

CHECKPOINTS: Final = 2
"""Copies of a sliding window that are kept, to go back to when a prompt parts from the last one.

Without one, the whole prompt is read again. With one, which is taken at the prompt's very end, only
questions at one depth are saved from that; with two, the next depth is too.
"""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What to load and how. Sizes in tokens and bytes."""

    path: str
    context: int | None
    api_key: str
    kv_type: str | None
    flash_attention: bool | None
    gpu_layers: int | None
    batch: int | None
    parallel: int
    data_limit: int | None
    """Most bytes of private memory this process may allocate beyond what it has before loading."""

    def to_line(self) -> bytes:
        """Return the orders as the line that `read` understands."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, descriptor: int) -> "Orders":
        """Read one line, byte by byte: nothing behind it may be swallowed by a buffer."""
        line = b""
        while not line.endswith(b"\n"):
            if not (byte := os.read(descriptor, 1)):
                raise SystemExit("the parent went away before it said what to load")
            line += byte
        return cls(**json.loads(line))


def hold_lifeline(descriptor: int) -> None:
    """End this process as soon as the pipe behind `descriptor` is closed at its other end.

    The engine holds Python's global lock while it loads, so a thread alone would notice only
    afterwards. Where the kernel can, it signals us itself: SIGIO on a pipe ends a process.
    """
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - does not exist on Windows

        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    threading.Thread(target=_await_end, args=(descriptor,), daemon=True).start()


def _await_end(descriptor: int) -> None:
    while os.read(descriptor, 64):
        pass
    os._exit(0)


def limit_memory(data_limit: int | None) -> None:
    """Let the kernel refuse private memory beyond `data_limit` more bytes; no core dumps."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - does not exist on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if data_limit is not None and sys.platform == "linux":
        ceiling = psutil.Process().memory_info().data + data_limit
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


def parameters(orders: Orders) -> Any:
    """Return llama.cpp's parameters for `orders`."""
    import xllamacpp  # noqa: PLC0415 - only this process pays for it

    chosen = xllamacpp.CommonParams()
    chosen.model.path = orders.path
    if orders.context is not None:
        chosen.n_ctx = orders.context
    chosen.n_parallel = orders.parallel
    # A batch no larger than a micro-batch: progress and cancellation come four times as often,
    # and prefill is as fast.
    chosen.n_batch = chosen.n_ubatch = orders.batch or BATCH
    if orders.kv_type is not None:
        kind = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{orders.kv_type.upper()}")
        chosen.cache_type_k = chosen.cache_type_v = kind
    if orders.flash_attention is not None:
        kinds = xllamacpp.llama_flash_attn_type
        chosen.flash_attn_type = (
            kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if orders.flash_attention
            else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
    if orders.gpu_layers is not None:
        chosen.n_gpu_layers = orders.gpu_layers
    # What was asked for is what is loaded: no fitting, no shifting, no cache beside the context.
    chosen.fit_params = chosen.ctx_shift = chosen.warmup = chosen.ui = False
    chosen.cache_ram_mib = 0
    chosen.n_ctx_checkpoints = CHECKPOINTS
    chosen.n_threads_http = 2
    chosen.hostnames = ["127.0.0.1"]
    chosen.api_keys = [orders.api_key]
    chosen.endpoint_slots = True
    return chosen


def main() -> None:
    """Load what the parent orders, say where, and serve until the lifeline is cut."""
    report = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    orders = Orders.read(sys.stdin.fileno())
    hold_lifeline(sys.stdin.fileno())
    import xllamacpp  # noqa: PLC0415 - only this process pays for it

    chosen = parameters(orders)
    taken = psutil.Process().memory_info()
    _tell(report, {"rss": taken.rss, "data": getattr(taken, "data", 0)})
    limit_memory(orders.data_limit)
    try:
        server = xllamacpp.Server(chosen)
    except RuntimeError as error:
        # The reason stands above, in the engine's own log; a traceback would only hide it.
        print(f"worker: {error}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is our report
        os._exit(3)
    _tell(report, {"url": server.listening_address})
    threading.Event().wait()


def _tell(report: int, line: Mapping[str, Any]) -> None:
    os.write(report, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()
