"""`littlebig export --decoder nvimagecodec`: a served preprocess, and the answers of the default pair, on the CPU."""

import io

import numpy as np
import onnxruntime
import pytest
from tests.default_pair import exported_default_pair
from tests.tiny_pair import write_tiny_pair

from littlebig_client import Client
from littlebig_export.config_pbtxt import read_config
from littlebig_export.decoding import write_resize
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.pictures import crops, photographs
from littlebig_export.preprocessing import Preprocessing
from littlebig_server import StartError, TritonServer

NO_PACKAGE = "no nvImageCodec here: pip install 'littlebig[nvimagecodec]'"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    pair = load_pair(str(write_tiny_pair(folder)))
    export_pair(pair, "cpu", folder / "models", decoder="nvimagecodec")
    return folder / "models"


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def has_package():
    try:
        import nvidia.nvimgcodec  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


@pytest.mark.skipif(has_package(), reason="nvImageCodec is installed here")
def test_a_server_without_the_package_says_what_to_install(repository):
    with pytest.raises(StartError) as failure:
        TritonServer(repository).start()
    assert "model 'preprocess' failed to load: " in str(failure.value)
    assert "pip install 'littlebig[nvimagecodec]'" in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.skipif(not has_package(), reason=NO_PACKAGE)
def test_pictures_are_answered_as_with_pillow(repository, tmp_path, tiny_repository):
    files = [encoded(picture, quality=60 + number) for number, picture in enumerate(photographs())]
    answers = []
    for served in (repository, tiny_repository):
        with TritonServer(served) as server, Client(server.grpc_url) as client:
            answers.append(list(client.classify_many(files, concurrency=8)))
    ours, theirs = answers
    assert [each.label for each in ours] == [each.label for each in theirs]
    assert [each.confidence for each in ours] == pytest.approx([each.confidence for each in theirs], abs=0.02)


@pytest.mark.slow
def test_labels_and_decisions_of_the_default_pair_are_pillows(tmp_path):
    """On every photograph and 200 crops of them, as JPEG of several qualities and samplings."""
    pytest.importorskip("nvidia.nvimgcodec", reason=NO_PACKAGE)
    from littlebig_nvimagecodec import NvImageCodec  # noqa: PLC0415
    from littlebig_preprocess import Job, PreprocessSettings  # noqa: PLC0415

    models = exported_default_pair()
    message = read_config(models / "preprocess/config.pbtxt").message
    parameters = {name: value.string_value for name, value in message.parameters.items()} | {"decode": "full"}
    size = message.output[0].dims[0]
    settings = PreprocessSettings.from_parameters(size, parameters)
    canonical = Preprocessing(
        size=size,
        crop_pct=0.89,
        crop_mode="center",
        interpolation=parameters["interpolation"],
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    write_resize(canonical, tmp_path)
    renderer = NvImageCodec(tmp_path, None)
    pictures = [*photographs(), *crops()]
    jobs = [
        Job(encoded(picture, quality=70 + number % 25, subsampling=number % 3), settings)
        for number, picture in enumerate(pictures)
    ]
    threshold = float(read_config(models / "little_big/config.pbtxt").message.parameters["threshold"].string_value)
    ours, theirs = (np.stack([make(job) for job in jobs]) for make in (renderer.image, Job.image))
    changed = {}
    for stage in ("little", "big"):
        session = onnxruntime.InferenceSession(models / stage / "1/model.onnx", providers=["CPUExecutionProvider"])
        answers = [session.run(["label", "margin"], {"image": images}) for images in (ours, theirs)]
        changed[stage] = int(np.sum(answers[0][0] != answers[1][0]))
        if stage == "little":
            changed["decisions"] = int(np.sum((answers[0][1] < threshold) != (answers[1][1] < threshold)))
    print(len(pictures), changed, np.abs(ours.astype(int) - theirs).max(), np.mean(ours != theirs))
    assert np.any(ours != theirs)  # else Pillow has made both
    assert max(changed.values()) <= 1
