"""Join a Ray cluster, or say in words why it cannot be joined or cannot run a recipe.

Only here, in `on_ray` and in `replicas` is Ray imported, and only with `--engine ray`.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

from curate.errors import StoppedShort, UsageError

_REACHED_SECONDS = 5.0
# What Ray reads when it starts a cluster. It would tell its makers of every one, and would give up
# after half a minute on busy cores.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}

# The address by which this process has joined a cluster: nodes may go by several.
_joined = set[str]()


def join(address: str | None) -> Callable[[], None]:
    """Join the cluster at `address` and return what leaves it.

    Without an address it is the one that `RAY_ADDRESS` names, as in a job, else one of this
    machine alone that lives as long as the run. A cluster that this process has joined stays
    joined.

    Raises:
        UsageError: there is no cluster, or none of its nodes has a CPU for tasks.
        StoppedShort: it cannot be joined, or not be started.
    """
    wanted = os.environ.get("RAY_ADDRESS") or "local" if address is None else address
    _check_reachable(wanted)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        joined = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", joined, *_joined):
            raise UsageError(
                f"this process has joined the Ray cluster at {joined}, and --address is {address}; "
                "leave it out, or call ray.shutdown() first"
            )
        return lambda: None
    try:
        ray.init(
            address=wanted,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="curate",
            **({"include_dashboard": False} if wanted == "local" else {}),
        )
    except Exception as error:  # a bare one where a node does not start in time
        told = " ".join(str(error).split())
        raise StoppedShort(
            f"the Ray cluster at {wanted} cannot be joined ({told}); see that it runs (ray "
            "status), or start one with: ray start --head, and run the same command again"
        ) from error
    if cpus() < 1:
        ray.shutdown()
        raise UsageError(
            f"no node of the Ray cluster at {wanted} has a CPU for tasks; start nodes with: ray "
            "start --address ADDRESS --num-cpus N"
        )
    _joined.add(wanted)

    def leave() -> None:
        _joined.clear()
        ray.shutdown()

    return leave


def cpus() -> int:
    """Return how many CPUs the nodes that live have for tasks."""
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def _check_reachable(address: str) -> None:
    """Raise `UsageError` where nobody listens; Ray would wait a minute and end the process."""
    if address in ("local", "auto"):
        return
    if "://" in address:
        raise UsageError(
            f"the address is {address}; run the command on a node of the cluster (or by ray job "
            "submit) with --address auto or --address HOST:PORT, for what passes through a client "
            "is slow and lost with its connection"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"the address is '{address}'; it must be HOST:PORT, auto or local")
    try:
        socket.create_connection((host, int(port)), _REACHED_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"nobody answers at the address {address} ({error}); start a cluster with: ray start "
            "--head, or leave --address out to use this machine alone"
        ) from error
