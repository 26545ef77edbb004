"""Starts servers with puppet stages, and loads gates between them."""

import itertools
import json
import shutil
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.gate.puppets import Puppets, Responses
from tritonclient import grpc

from littlebig_contract.stages import stages_computed_in
from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_server import ServerSettings, TritonServer


def write_stages(repository, folder, big_instances=1):
    """Copy a repository, with puppets as its stages."""
    shutil.copytree(repository, folder)
    for stage in stages_computed_in(json.loads((repository / "littlebig.json").read_text())):
        config = read_config(folder / stage / "config.pbtxt")
        config.message.instance_group[0].count = big_instances if stage == "big" else 1
        (folder / stage / "config.pbtxt").write_text(write_config(config))
        shutil.copyfile(Path(__file__).with_name("puppet_stage.py"), folder / stage / "1" / "model.py")


def write_gate(repository, folder, name="little_big", instances=1, **parameters):
    """Write a repository's gate with another name, number of instances and parameters."""
    config = read_config(repository / "little_big" / "config.pbtxt")
    config.message.name = name
    config.message.instance_group[0].count = instances
    for parameter, value in parameters.items():
        set_parameter(config.message, parameter, value)
    shutil.copytree(repository / "little_big", folder / name, dirs_exist_ok=True)
    (folder / name / "config.pbtxt").write_text(write_config(config))


@contextmanager
def serve_puppets(
    repository, folder, gate_instances=1, big_instances=1, load=("*",), wait_for="little_big", big_at=None, **parameters
):
    """Serve a copy of a repository: puppet stages, and the gate with these parameters."""
    write_stages(repository, folder, big_instances)
    write_gate(repository, folder, instances=gate_instances, **parameters)
    with serve(folder, load, wait_for) as (server, triton):
        yield Puppets(folder, server, triton, big_at=big_at)


@contextmanager
def serve(folder, load=("*",), wait_for=""):
    """Serve a repository: the server, and a gRPC client of it."""
    # Killed at the end, which saves three seconds: unloading is tested in tests/e2e/server.
    settings = ServerSettings(
        model=wait_for,
        model_control_mode="explicit",
        open_administration=True,
        exit_timeout=0,
        arguments=tuple(f"--load-model={model}" for model in load),
    )
    with TritonServer(folder, settings) as server, grpc.InferenceServerClient(server.grpc_url) as triton:
        yield server, triton


@contextmanager
def serve_split_puppets(repository, folder, **options):
    """Serve puppets as `serve_puppets` does, with big on another server: exports of the pair that the repository is of."""
    from littlebig_export.exporting import export_pair  # noqa: PLC0415  (torch takes seconds to import)
    from littlebig_export.pair import load_pair  # noqa: PLC0415

    pair = load_pair(str(repository.parent / "tiny.toml"))
    export_pair(pair, "cpu", folder / "exported-big", only="big")
    write_stages(folder / "exported-big", folder / "big")
    with serve(folder / "big") as (server, triton):
        export_pair(pair, "cpu", folder / "exported", remote={"big": {"url": server.grpc_url}})
        big_at = Puppets(folder / "big", server, triton)
        with serve_puppets(folder / "exported", folder / "models", big_at=big_at, **options) as running:
            yield running


@pytest.fixture
def puppets(tiny_repository, tmp_path):
    """puppets(parameters) -> context manager of Puppets on a server of its own, which the test may break."""
    return partial(serve_puppets, tiny_repository, tmp_path / "models")


@pytest.fixture(scope="session", params=["local", pytest.param("remote", marks=pytest.mark.slow)])
def stages(request, tiny_repository, tmp_path_factory):
    """Puppets on a server that these tests share, which has the two stages and no gate yet; big may be elsewhere."""
    serve = serve_puppets if request.param == "local" else serve_split_puppets
    folder = tmp_path_factory.mktemp("stages") / "models"
    with serve(tiny_repository, folder, load=("little", "big"), wait_for="big") as running:
        yield running


_names = (f"gate_{number}" for number in itertools.count())


@pytest.fixture
def load_gate(stages, tiny_repository):
    """load_gate(parameters) -> Puppets with a gate just loaded on the shared server.

    Each gate has a name of its own, so its metrics start at zero and no unloading must be awaited.
    """
    for stage in ("little", "big"):
        stages.set_behaviour(stage)
    names = []

    def load(instances=1, **parameters):
        name = next(_names)
        write_gate(tiny_repository, stages.folder, name, instances, **parameters)
        stages.triton.load_model(name)
        names.append(name)
        return Puppets(stages.folder, stages.server, stages.triton, name, stages.holding("big"))

    yield load
    for name in names:
        stages.triton.unload_model(name)


@pytest.fixture
def responses():
    return Responses()
