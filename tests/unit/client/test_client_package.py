"""The package as a whole: public names and imports."""

import inspect
import subprocess
import sys
from pathlib import Path

import littlebig_client


def test_all_lists_exactly_the_public_names():
    public = {
        name
        for name, value in vars(littlebig_client).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(littlebig_client.__all__) == public


def test_all_modules_but_batch_are_private():
    package = Path(littlebig_client.__file__).parent
    public = {module.name for module in package.glob("*.py") if not module.name.startswith("_")}
    assert public == {"batch.py"}


def test_every_error_is_a_client_error_in_the_documented_tree():
    tree = sys.modules["littlebig_client._errors"].__doc__
    for name in littlebig_client.__all__:
        value = getattr(littlebig_client, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            assert issubclass(value, littlebig_client.ClientError)
            assert f"{name} " in tree or f"{name}\n" in tree


def test_import_loads_no_heavy_package():
    script = "import sys, littlebig_client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "littlebig_client" in loaded
    heavy = {
        *["torch", "torchvision", "timm", "onnx", "onnxruntime", "onnxscript", "skimage", "scipy", "rich", "click"]
    }
    ours = {"littlebig_cli", "littlebig_export", "littlebig_server", "littlebig_calibration"}
    assert not (heavy | ours).intersection(loaded)
