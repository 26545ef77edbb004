"""A tiny pair on two and three servers of this machine."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.e2e.remote.comparing import make_images
from tests.tiny_pair import tiny_classifier, write_tiny_pair

from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_server import ServerSettings, TritonServer


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Folders: `big` alone, and `split`, the rest."""
    folder = tmp_path_factory.mktemp("remote")
    pair = load_pair(str(write_tiny_pair(folder)))
    export_pair(pair, "cpu", folder / "big", only="big")
    export_pair(pair, "cpu", folder / "split", remote={"big": {"url": "localhost:1"}})
    return folder


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory):
    """A repository of big alone, with other weights than those of `exported`."""
    folder = tmp_path_factory.mktemp("other")
    pair = load_pair(str(write_tiny_pair(folder)))
    tiny_classifier(folder / "big.onnx", 32, seed=3)
    return export_pair(pair, "cpu", folder / "models", only="big").output


@pytest.fixture(scope="session")
def images(exported):
    graphs = {
        stage: exported / folder / stage / "1" / "model.onnx" for stage, folder in (("little", "split"), ("big", "big"))
    }
    return make_images(graphs)


def serve(repository, **settings):
    return TritonServer(repository, ServerSettings(**{"exit_timeout": 0, **settings}))


def write_split(exported: Path, folder: Path, url: str, threshold: float = 0.5) -> Path:
    """Write a repository whose big is at `url`, and whose gate is quick to give it up and to try it again."""
    shutil.copytree(exported / "split", folder)
    change(folder / "big" / "config.pbtxt", url=url)
    change(
        folder / "little_big" / "config.pbtxt",
        threshold=threshold,
        on_big_failure="little",
        big_timeout_ms="1000",
        breaker_retry_ms="300",
    )
    return folder


def change(path: Path, **parameters: object) -> None:
    config = read_config(path)
    for name, value in parameters.items():
        set_parameter(config.message, name, value)
    path.write_text(write_config(config))


@contextmanager
def started(*servers):
    """Start servers at the same time, and stop those that run at the end."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda server: server.start(), servers))
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        yield servers
