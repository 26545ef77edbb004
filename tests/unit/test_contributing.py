"""The pages and files for contributors agree with Makefile, .ci/run and each other."""

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lint_tools() -> set[str]:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(re.findall(r"\$\(BIN\)/(\w+(?: format| check)?)", recipe.group(1)))


def test_workflow_runs_the_steps_of_ci_run():
    in_script = set(re.findall(r"^make .+$", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    in_workflow = {step["run"] for step in STEPS if step.get("run", "").startswith("make ")}
    assert in_script <= in_workflow


def test_workflow_pins_actions_and_uses_no_secrets():
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action) for action in actions)
    assert "secrets" not in (ROOT / ".github/workflows/ci.yml").read_text()
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_pre_commit_runs_the_tools_of_make_lint_from_the_virtual_environment():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    entries = [hook["entry"] for hook in local["hooks"]]
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    assert {entry.removeprefix(".venv/bin/") for entry in entries} == lint_tools()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", ".github/pull_request_template.md"])
def test_page_names_only_targets_that_exist(page):
    text = (ROOT / page).read_text()
    commands = re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE)
    assert {first or second for first, second in commands} <= makefile_targets()


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:calibration|cli|client|contract|deploy|export|model_repository|tests)/[\w./-]+)`", text)
    paths += re.findall(r"^pytest (\S+)", text, re.MULTILINE)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_form_is_complete(form):
    content = yaml.safe_load(form.read_text())
    if form.stem == "config":
        assert content == {"blank_issues_enabled": False}
        return
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
