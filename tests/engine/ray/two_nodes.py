"""Two nodes of a Ray cluster on this machine: `two_nodes.py FOLDER`, told what to do line by line.

It prints the cluster's address as JSON, and a line for each command that is done: `kill` ends the
second node at once and deletes its folder, `start` starts another one in its place. It ends, and
with it everything that it started, when its input does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

# On busy cores a node takes longer to start than Ray waits.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}

from ray.cluster_utils import Cluster

STORE = 80 << 20


def main(folder: Path) -> None:
    # Ray notes the address of any cluster there, and makes the folder only for those within it.
    Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray").mkdir(exist_ok=True)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "temp_dir": str(folder / "head"),
        },
    )
    own = folder / "second"

    def start():
        own.mkdir()
        return cluster.add_node(
            num_cpus=1, object_store_memory=STORE, object_spilling_directory=str(own)
        )

    second = start()
    cluster.wait_for_nodes()
    print(json.dumps({"address": cluster.address}), flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            shutil.rmtree(own)
        elif line.strip() == "start":
            second = start()
            cluster.wait_for_nodes()
        else:
            raise ValueError(line)
        print(line.strip(), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
