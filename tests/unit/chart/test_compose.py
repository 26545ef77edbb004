"""The compose file for one host agrees with the images and the documentation."""

from __future__ import annotations

import yaml

from tests.unit.chart.helm import ROOT

COMPOSE = ROOT / "deploy" / "compose.yaml"


def test_each_stage_has_a_container_of_an_image_of_this_project():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(services) == {"little", "big"}
    for service in services.values():
        assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert any(volume.split(":")[1] == "/models" for volume in service["volumes"])


def test_little_calls_the_container_of_big():
    little = yaml.safe_load(COMPOSE.read_text())["services"]["little"]
    assert little["environment"] == {"LITTLEBIG_BIG_URL": "big:8001"}


def test_only_little_is_published_and_on_loopback():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert "ports" not in services["big"]
    assert all(port.startswith("127.0.0.1:") for port in services["little"]["ports"])
