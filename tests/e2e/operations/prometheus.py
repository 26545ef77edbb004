"""A real Prometheus on loopback that scrapes a server, or one of each pool, every second, with the chart's rules."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate.puppets import until

CHART_FILES = Path(__file__).parents[3] / "deploy" / "helm" / "littlebig" / "files"


class Prometheus:
    """Runs inside a `with` statement.

    Args:
        folder: an empty folder.
        targets: http://HOST:PORT/metrics of the server of each pool; without pools, of the pool "".
        relabelings: metric relabelings, as a PodMonitor has them.
    """

    def __init__(self, folder: Path, targets: dict[str, str], relabelings: Sequence[dict[str, Any]] = ()) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            pytest.skip("needs prometheus (Debian: apt-get install prometheus)")
        scrape = {
            "job_name": "littlebig",
            "static_configs": [
                {"targets": [urllib.parse.urlsplit(url).netloc], "labels": {"pool": pool}}
                for pool, url in targets.items()
            ],
            "metric_relabel_configs": [
                {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in entry.items()}
                for entry in relabelings
            ],
        }
        config = folder / "prometheus.yml"  # JSON is YAML
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(CHART_FILES / "rules.yaml")],
                    "scrape_configs": [scrape],
                }
            )
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
        ]
        self._log = folder / "log"

    def __enter__(self) -> Prometheus:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            until(lambda: self._running() and self.value("min(up)") == 1, "Prometheus scrapes every server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Current labels and value of each series of an expression; a scalar is a series without labels."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression: str) -> float | None:
        """The value of an expression with at most one series; None without one."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return series[0][1] if series else None

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their state in Prometheus."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def evaluated(self) -> float:
        """Time of the least recent evaluation of any rule, in whole seconds of the epoch."""
        texts = (re.sub(r"\.\d+", "", rule["lastEvaluation"]).replace("Z", "+00:00") for rule in self.rules())
        return min(datetime.fromisoformat(text).timestamp() for text in texts)

    def _running(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            self._get("query", query="1")
        except urllib.error.URLError:
            return False
        return True

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
