"""Configurations with which Triton may stall are found, and `serve` warns of them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig
from littlebig_server.queueing import stall_warnings

SIZE = "default_queue_policy { max_queue_size: 8 }"


def repository(folder: Path, groups: str, batching: str = f"dynamic_batching {{ {SIZE} }}") -> Path:
    (folder / "big" / "1").mkdir(parents=True)
    (folder / "big" / "config.pbtxt").write_text(f'name: "big"\nbackend: "python"\n{groups}\n{batching}\n')
    return folder


@pytest.mark.parametrize(
    "batching",
    [
        f"dynamic_batching {{ {SIZE} }}",
        "dynamic_batching { default_queue_policy { allow_timeout_override: true } }",
        "dynamic_batching { default_queue_policy { default_timeout_microseconds: 5 } }",
        "dynamic_batching { priority_levels: 2 default_priority_level: 1 }",
        "dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 8 } } }",
    ],
)
@pytest.mark.parametrize("groups", ["", "instance_group { count: 1 }", "instance_group { kind: KIND_GPU gpus: [0] }"])
def test_a_single_instance_with_any_queue_policy_is_reported(tmp_path: Path, groups: str, batching: str) -> None:
    assert list(stall_warnings(repository(tmp_path, groups, batching))) == [
        f"'{tmp_path}/big/config.pbtxt' has a queue policy and a single instance, so its requests may wait for half "
        "a second while nothing runs: set two instances, or remove the policy (dynamic_batching)"
    ]


@pytest.mark.parametrize(("release", "is_reported"), [("", True), ("26.07", True), ("26.08", False), ("27.01", False)])
def test_a_queue_policy_with_a_queue_delay_is_reported_before_triton_26_08(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, is_reported: bool
) -> None:
    monkeypatch.setenv("NVIDIA_TRITON_SERVER_VERSION", release)
    delayed = f"dynamic_batching {{ {SIZE} max_queue_delay_microseconds: 100 }}"
    assert (
        list(stall_warnings(repository(tmp_path, "instance_group { count: 2 }", delayed)))
        == [
            f"'{tmp_path}/big/config.pbtxt' has a queue policy and a queue delay, with which Triton before 26.08 may stop "
            "forming batches until the model is loaded again: remove max_queue_delay_microseconds or the policy "
            "(dynamic_batching), or use a newer Triton"
        ][:is_reported]
    )


@pytest.mark.parametrize(
    ("groups", "batching"),
    [
        ("instance_group { count: 2 }", f"dynamic_batching {{ {SIZE} }}"),
        ("instance_group { gpus: [0, 1] }", f"dynamic_batching {{ {SIZE} }}"),
        ("instance_group { count: 1 } instance_group { count: 1 }", f"dynamic_batching {{ {SIZE} }}"),
        ("instance_group { count: 1 }", "dynamic_batching { max_queue_delay_microseconds: 100 }"),
        ("instance_group { count: 1 }", ""),
        ("no configuration at all", ""),
    ],
)
def test_other_configurations_are_not_reported(tmp_path: Path, groups: str, batching: str) -> None:
    assert list(stall_warnings(repository(tmp_path, groups, batching))) == []


def test_the_reference_repository_is_not_reported() -> None:
    assert list(stall_warnings(Path(__file__).parents[3] / "model_repository")) == []


def test_serve_prints_the_warning(tmp_path: Path) -> None:
    folder = repository(tmp_path / "models", "")
    result = CliRunner().invoke(littlebig, ["serve", "--repository", str(folder)])
    assert result.exit_code == 1  # it has no `classify`
    warning, refusal = result.output.splitlines()
    assert warning.startswith(f"littlebig: warning: '{folder}/big/config.pbtxt' has a queue policy and a single inst")
    assert refusal.startswith(f"littlebig: model repository '{folder}' has no model 'classify'")
