"""A batch on a Ray cluster of two nodes of this machine, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import run
from tests.media import clip, write_clip

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with one CPU on each of two nodes."""
    from ray.cluster_utils import Cluster

    here = str(Path(__file__).parent.parent)
    # Ray has its workers give way to everything else: beside other tests they would starve.
    chosen = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    kept = {name: os.environ.get(name) for name in ("PYTHONPATH", *chosen)}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, kept["PYTHONPATH"]]))
    os.environ.update(chosen)
    small = {"object_store_memory": 100 << 20, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    try:
        started.add_node(num_cpus=1, object_store_memory=100 << 20)
        started.wait_for_nodes()
        yield started.address
    finally:
        started.shutdown()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def test_files_are_tasks_of_the_cluster(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    film = write_clip(tmp_path / "film.mp4", clip(16), codec="libx264", audio="aac")
    for name in "abc":
        os.link(film, tmp_path / "in" / f"{name}.mp4")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no film")
    command = [
        "batch",
        "in",
        "-o",
        "out",
        "--ray",
        cluster,
        "--model",
        "dct",
        "--effort",
        0,
        "--json",
    ]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(e["output"] for e in events if e["event"] == "encoded") == [
        "out/a.stp",
        "out/b.stp",
        "out/c.stp",
    ]
    assert [(e["input"], e["exit_code"]) for e in events if e["event"] == "failed"] == [
        ("in/broken.mp4", 3)
    ]
    assert len({e["node"] for e in events if e["event"] == "started"}) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".stcodec-batch",
        "a.stp",
        "b.stp",
        "c.stp",
    ]
    assert run("verify", tmp_path / "out" / "c.stp").returncode == 0

    again = run(*command, cwd=tmp_path)
    assert [json.loads(line)["event"] for line in again.stdout.splitlines()].count("skipped") == 3


def test_what_the_cluster_lacks_is_said(cluster: str, tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", clip(2))
    for more, what in ((("--device", "cuda"), "GPU"), (("--threads", 64), "64 CPUs")):
        done = run("batch", film, "-o", tmp_path / "out", "--ray", cluster, *more)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert what in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_task_whose_process_dies_is_done_again(cluster: str, tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", clip(600), codec="libx264")
    command = [
        "batch",
        film,
        "-o",
        tmp_path / "out",
        "--ray",
        cluster,
        "--model",
        "dct",
        "--effort",
        0,
        "--json",
    ]
    arguments = [sys.executable, "-m", "stcodec", *map(str, command)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said, progress = [], 0
        for line in process.stdout:
            said.append(json.loads(line)["event"])
            progress += said[-1] == "progress"
            # As late as this, what is left of a second try is shorter than what the first has said.
            if progress == 3 and said.count("started") == 1:
                for task in Path("/proc").glob("[0-9]*/cmdline"):
                    if task.read_bytes().startswith(b"ray::_run_task"):
                        os.kill(int(task.parent.name), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (said.count("started"), said.count("encoded")) == (2, 1), said
    assert run("verify", tmp_path / "out" / "film.stp").returncode == 0
