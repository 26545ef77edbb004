"""perf_analyzer's command line, and what is read from its profile export."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from littlebig_benchmarks import perf_analyzer
from littlebig_benchmarks.endpoint import Plain, perf_analyzer_arguments
from littlebig_benchmarks.errors import NoPerfAnalyzer, RunFailed, RunHung
from littlebig_benchmarks.perf_analyzer import Order

# Four requests of a recorded run of perf_analyzer 2.60.
RECORDED = (Path(__file__).parent / "profile_export.json").read_text()
ORDER = Order("little_big", Plain("localhost:8001"), Path("data.json"), requests=400, concurrency=16)
REMEDY = "pip install perf-analyzer (glibc 2.38 or later), or name one with --perf-analyzer PATH"


def script(folder: Path, text: str) -> str:
    path = folder / "perf_analyzer"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_recorded_export_gives_throughput_and_latencies():
    timing = perf_analyzer.parse_export(RECORDED, ORDER)
    assert timing.requests == 4
    # Of so few requests the first quarter is the start; the end is when the last request is sent.
    assert (timing.first, timing.last, timing.steady) == (1795446035.609952472, 1795446035.723500280, 1)
    assert timing.images_per_second == pytest.approx(1 / 0.113547808, rel=1e-5)
    assert [round(value, 2) for value in timing.latencies_ms] == [113.26, 154.68, 157.12, 227.03]
    assert timing.percentile(50) == pytest.approx((154.68 + 157.12) / 2, abs=0.01)


def test_export_without_a_response_is_a_failure():
    with pytest.raises(RunFailed, match=r"^perf_analyzer on 'little_big': no request was answered; look at"):
        perf_analyzer.parse_export('{"experiments": [{"requests": []}]}', ORDER)


def test_too_few_requests_for_a_throughput_are_a_failure():
    export = '{"experiments": [{"requests": [{"timestamp": 5, "response_timestamps": [9]}]}]}'
    with pytest.raises(RunFailed) as error:
        perf_analyzer.parse_export(export, ORDER)
    assert str(error.value) == "perf_analyzer on 'little_big': 1 requests are too few for a rate; ask for more"


def test_command_line_has_concurrency_or_request_rate_and_shared_memory_on_this_machine():
    closed = perf_analyzer.command_line("perf_analyzer", ORDER, Path("export.json"))
    assert closed == [
        *("perf_analyzer", "-m", "little_big", "-u", "localhost:8001", "-i", "grpc", "--async"),
        *("--concurrency-range=16", "--input-data=data.json", "--request-count=400"),
        *("--shared-memory=system", "--profile-export-file=export.json"),
    ]
    order = Order("little", Plain("gpu:8001"), Path("data.json"), requests=9, request_rate=70.0, shared_memory=False)
    words = perf_analyzer.command_line("perf_analyzer", order, Path("export.json"))
    assert "--request-rate-range=70.00" in words
    assert "--request-distribution=poisson" in words
    assert "--shared-memory=none" in words
    assert not any("concurrency" in word for word in words)


def test_command_line_has_tls_metadata_and_compression(tmp_path):
    tls = SimpleNamespace(ca="ca.pem", certificate="own.pem", key="own.key", name=None)
    assert perf_analyzer_arguments(Plain("a:1", tls, (("x-team", "a"),), "gzip")) == [
        *("-u", "a:1", "-i", "grpc", "-H", "x-team:a", "--grpc-compression-algorithm=gzip", "--ssl-grpc-use-ssl"),
        "--ssl-grpc-root-certifications-file=ca.pem",
        "--ssl-grpc-certificate-chain-file=own.pem",
        "--ssl-grpc-private-key-file=own.key",
    ]


def test_missing_perf_analyzer_is_one_line_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoPerfAnalyzer) as error:
        perf_analyzer.find_perf_analyzer(None)
    assert str(error.value) == f"no perf_analyzer on PATH: {REMEDY}"
    with pytest.raises(NoPerfAnalyzer) as error:
        perf_analyzer.find_perf_analyzer("none/perf_analyzer")
    assert str(error.value) == f"perf_analyzer 'none/perf_analyzer' does not exist or cannot be executed: {REMEDY}"


def test_perf_analyzer_on_path_is_found(monkeypatch, tmp_path):
    binary = script(tmp_path, "echo Perf Analyzer Version 2.60.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert perf_analyzer.find_perf_analyzer(None) == binary
    assert perf_analyzer.version(binary) == "Perf Analyzer Version 2.60.0"


def test_perf_analyzer_that_does_not_run_is_refused_with_its_reason(tmp_path):
    binary = script(tmp_path, "echo 'version GLIBC_2.38 not found' >&2; exit 1")
    with pytest.raises(NoPerfAnalyzer) as error:
        perf_analyzer.version(binary)
    assert str(error.value) == (f"perf_analyzer '{binary}' does not run here (version GLIBC_2.38 not found): {REMEDY}")


def test_failed_run_reports_the_last_line_of_output(tmp_path):
    binary = script(tmp_path, "echo usage; echo 'error: model little_big is not ready' >&2; exit 99")
    with pytest.raises(RunFailed) as error:
        perf_analyzer.run(binary, ORDER, tmp_path)
    assert str(error.value) == "perf_analyzer on 'little_big' failed: error: model little_big is not ready"


def test_run_that_hangs_is_ended(tmp_path):
    binary = script(tmp_path, "exec sleep 300")
    with pytest.raises(RunHung) as error:
        perf_analyzer.run(binary, ORDER, tmp_path, max_wait_s=0.2)
    assert str(error.value) == (
        "perf_analyzer on 'little_big' did not end within 0.2 s: is the server still answering?"
    )


def test_export_with_raw_bytes_of_a_picture_is_read(tmp_path):
    raw = RECORDED.encode().replace(b'"image":""', b'"image":"\xff\xd8\x00"')
    (tmp_path / "recorded").write_bytes(raw)
    binary = script(tmp_path, "cp recorded profile_export.json")
    assert perf_analyzer.run(binary, ORDER, tmp_path).requests == 4


def test_run_ignores_the_export_of_an_earlier_one(tmp_path):
    (tmp_path / "profile_export.json").write_text("from an earlier run")
    (tmp_path / "recorded").write_text(RECORDED)
    binary = script(tmp_path, "test ! -e profile_export.json && cp recorded profile_export.json")
    assert perf_analyzer.run(binary, ORDER, tmp_path).requests == 4
