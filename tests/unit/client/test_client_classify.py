"""The requests that images become, and the answers in Python."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from fake_triton import NAMES, SHAPE, canonical, colour, encoded_picture, picture
from PIL import Image

from littlebig_client import Candidate, Classification, InvalidImage, InvalidRequest, ServerFailure, Stage
from littlebig_client._images import DEFAULT_MAX_BYTES, encoded


def test_classify_returns_label_name_confidence_stage_and_candidates(client, tmp_path):
    file = tmp_path / "shark.png"
    file.write_bytes(encoded_picture(2, 0.8))
    answer = client.classify(file, top_k=3)
    assert (answer.label, answer.name, answer.stage) == (2, "white shark, man-eater", Stage.LITTLE)
    assert answer.confidence == pytest.approx(0.8)
    assert [candidate.label for candidate in answer.top_k] == [2, 0, 1]
    assert answer.top_k[0] == Candidate(2, "white shark, man-eater", 0.8)
    assert client.classify(str(file), top_k=3) == answer


def test_class_name_may_contain_colons(client):
    assert client.classify(encoded_picture(3)).name == "file: a tool"


def test_class_without_name_is_named_by_its_index(server, client):
    server.names = ()
    assert client.classify(encoded_picture(4), top_k=2).top_k[:1] == (Candidate(4, "4", 0.901961),)


def test_encoded_file_is_sent_unchanged(server, client, tmp_path):
    data = encoded_picture(1, kind="JPEG")
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    for image in (file, data, bytearray(data), memoryview(data)):
        client.classify(image)
        assert server.seen[-1].model == "classify"
        assert server.seen[-1].content == data
        assert server.seen[-1].bytes_on_the_wire < len(data) + 300


def test_array_is_sent_unchanged_to_the_gate(server, client):
    array = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    array[0, 0] = colour(5)
    assert client.classify(array).label == 5
    assert server.seen[-1].model == "little_big"
    assert server.seen[-1].content == array.tobytes()


def test_non_contiguous_array_is_sent_in_its_logical_order(server, client):
    wide = np.zeros((SHAPE[0], SHAPE[1] * 2, 3), np.uint8)
    wide[0, 0] = colour(6)
    view = wide[:, ::2]
    assert client.classify(view).label == 6
    assert server.seen[-1].content == np.ascontiguousarray(view).tobytes()


def test_array_request_is_at_most_ten_percent_larger_than_its_pixels(server, client):
    server.shape = (260, 260, 3)
    client.classify(np.full(server.shape, 16, np.uint8), threshold=0.5, policy="cascade")
    assert server.seen[-1].bytes_on_the_wire <= 1.1 * 260 * 260 * 3


def test_pil_image_is_sent_without_loss_in_its_mode(server, client):
    noise = np.random.default_rng(1).integers(0, 256, (31, 17, 4), np.uint8)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = Image.fromarray(noise, "RGBA").convert(mode) if mode != "LA" else Image.fromarray(noise[..., :2], "LA")
        client.classify(image)
        assert server.seen[-1].model == "classify"
        with Image.open(io.BytesIO(server.seen[-1].content)) as arrived:
            assert arrived.mode == mode
            assert arrived.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_sixteen_bit_image_keeps_its_depth(server, client):
    deep = np.arange(0, 60000, 1000, np.uint16).reshape(6, 10)
    for image in (Image.fromarray(deep), Image.fromarray(deep.astype(np.int32))):
        client.classify(image)
        with Image.open(io.BytesIO(server.seen[-1].content)) as arrived:
            assert np.array_equal(np.asarray(arrived, np.int32), deep)


def test_cmyk_image_is_sent_as_rgb(server, client):
    image = picture(3).convert("CMYK")
    client.classify(image)
    with Image.open(io.BytesIO(server.seen[-1].content)) as arrived:
        assert arrived.mode == "RGB"
        assert arrived.tobytes() == image.convert("RGB").tobytes()


def test_pil_image_is_sent_upright(server, client, tmp_path):
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(2, size=(40, 20)).save(file, exif=exif)
    with Image.open(file) as image:
        client.classify(image)
    with Image.open(io.BytesIO(server.seen[-1].content)) as arrived:
        assert arrived.size == (20, 40)
        assert not arrived.getexif()


@pytest.mark.parametrize(
    ("confidence", "big_fails", "stage"),
    [(0.9, False, Stage.LITTLE), (0.3, False, Stage.BIG), (0.3, True, Stage.LITTLE_BIG_FAILED)],
)
def test_stage_names_the_model_that_answered(client, confidence, big_fails, stage):
    assert client.classify(encoded_picture(1, confidence, big_fails=big_fails)).stage is stage


def test_stage_equals_its_text():
    assert [str(stage) for stage in Stage] == ["little", "big", "little (big failed)", "little (big overloaded)"]
    assert Stage.BIG == "big"


def test_threshold_and_policy_become_request_parameters_only_when_given(server, client):
    image = encoded_picture(1, 0.7)
    assert client.classify(image).stage is Stage.LITTLE
    assert server.seen[-1].parameters == {}
    assert client.classify(image, threshold=0.75).stage is Stage.BIG
    assert server.seen[-1].parameters == {"threshold": 0.75}
    assert client.classify(image, threshold=1).stage is Stage.BIG
    assert isinstance(server.seen[-1].parameters["threshold"], float)
    assert client.classify(image, threshold=np.float32(0.5), policy="big").stage is Stage.BIG
    assert server.seen[-1].parameters == {"threshold": 0.5, "policy": "big"}


def test_within_becomes_a_timeout_in_microseconds_only_when_given(server, client):
    client.classify(encoded_picture(1), within=0.25)
    assert server.seen[-1].parameters == {"timeout": 250_000}
    client.classify(encoded_picture(1), within=1e-9)
    assert server.seen[-1].parameters == {"timeout": 1}  # 0 would be no limit
    assert [answer.label for answer in client.classify_many([encoded_picture(1)], within=2)] == [1]
    assert server.seen[-1].parameters == {"timeout": 2_000_000}


def test_request_asks_for_k_candidates_not_all_probabilities(server, client):
    assert len(client.classify(encoded_picture(1), top_k=2).top_k) == 2
    assert server.seen[-1].outputs == {"label": 0, "confidence": 0, "stage": 0, "probabilities": 2}
    assert len(client.classify(encoded_picture(1), top_k=99).top_k) == len(NAMES)


def test_picture_larger_than_grpcs_default_limit_is_answered(server, client):
    data = encoded_picture(2) + bytes(8_000_000)  # gRPC's own default limit is 4 MiB
    assert client.classify(data).label == 2


def test_served_shape_is_queried_once(server, client):
    for label in range(3):
        assert client.classify(canonical(label)).label == label
    assert server.metadata_requests == 1


def test_client_accepts_the_new_shape_when_the_server_changes_its_pair(server, client):
    client.classify(canonical(1))
    server.shape = (12, 12, 3)
    assert client.classify(np.full((12, 12, 3), 32, np.uint8)).label == 2


@pytest.mark.parametrize(
    ("array", "given"),
    [
        (np.zeros((10, 12, 3), np.uint8), "uint8 [10, 12, 3]"),
        (np.zeros(SHAPE, np.float32), "float32 [26, 24, 3]"),
        (np.zeros((1, *SHAPE), np.uint8), "uint8 [1, 26, 24, 3]"),
        (np.array(3, np.uint8), "uint8 []"),
    ],
)
def test_wrong_array_is_refused_with_the_expected_shape_and_the_remedy(server, client, array, given):
    with pytest.raises(InvalidImage) as refused:
        client.classify(array)
    assert str(refused.value) == (
        f"an array must be the canonical image, uint8 [26, 24, 3], not {given}: "
        "pass PIL.Image.fromarray(array) to have the server resize it"
    )
    assert server.seen == []


def test_unreadable_file_is_refused_by_name(client, tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for image, message in [
        (tmp_path / "missing.jpg", "no such file"),
        (tmp_path, "is a folder, not an image"),
        (empty, "is empty"),
        (empty / "inside.jpg", "cannot be read: Not a directory"),
    ]:
        with pytest.raises(InvalidImage) as refused:
            client.classify(image)
        assert str(refused.value) == f"{image}: {message}"
        assert refused.value.image == str(image)
    with pytest.raises(InvalidImage, match=r"^is empty$"):
        client.classify(b"")


def test_file_longer_than_the_servers_limit_is_refused_before_it_is_read(client, tmp_path):
    film = tmp_path / "film.mkv"
    with film.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(InvalidImage) as refused:
        client.classify(film)
    assert str(refused.value) == f"{film}: has 8589934592 bytes, more than the limit of 20971520 (parameter max_bytes)"


def test_clients_default_limit_is_that_of_the_reference_repository():
    config = (Path(__file__).parents[3] / "model_repository" / "preprocess" / "config.pbtxt").read_text()
    (limit,) = re.findall(r'key: "max_bytes"\s+value \{\s+string_value: "(\d+)"', config)
    assert int(limit) == DEFAULT_MAX_BYTES


def test_server_with_a_larger_limit_gets_longer_pictures():
    assert len(encoded(bytes(DEFAULT_MAX_BYTES + 1), DEFAULT_MAX_BYTES + 1)) == DEFAULT_MAX_BYTES + 1
    with pytest.raises(InvalidImage, match="more than the limit of 20971521 "):
        encoded(bytes(DEFAULT_MAX_BYTES + 2), DEFAULT_MAX_BYTES + 1)


def test_unsendable_pil_image_is_refused_with_the_reason(client, tmp_path):
    with pytest.raises(InvalidImage) as refused:
        client.classify(Image.new("F", (4, 4)))
    assert str(refused.value) == (
        "a PIL image of mode F cannot be sent without loss: "
        "scale it to 0-255 where that is needed and pass image.convert('RGB')"
    )
    torn = tmp_path / "torn.jpg"
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(torn)
    torn.write_bytes(torn.read_bytes()[:2000])
    with Image.open(torn) as image, pytest.raises(InvalidImage, match="this PIL image cannot be read: ") as refused:
        client.classify(image)
    assert refused.value.image == str(torn)


def test_other_type_is_refused(client):
    with pytest.raises(InvalidImage) as refused:
        client.classify([1, 2, 3])
    assert str(refused.value) == ("a list is not an image: pass a path, encoded bytes, a PIL image or a uint8 array")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be a number from 0 to 1, not nan"),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, not 1.5"),
        ({"threshold": -0.1}, "threshold must be a number from 0 to 1, not -0.1"),
        ({"threshold": "0.5"}, "threshold must be a number from 0 to 1, not '0.5'"),
        ({"within": 0}, "within must be a finite number of seconds above 0, not 0"),
        ({"within": float("inf")}, "within must be a finite number of seconds above 0, not inf"),
        ({"threshold": True}, "threshold must be a number from 0 to 1, not True"),
        ({"policy": "both"}, "policy must be one of cascade, little, big, not 'both'"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1, not 0"),
        ({"top_k": 2.5}, "top_k must be a whole number of at least 1, not 2.5"),
    ],
)
def test_invalid_option_is_refused_before_anything_is_sent(server, client, options, message):
    for ask in (client.classify, lambda image, **given: client.classify_many([image], **given)):
        with pytest.raises(InvalidRequest) as refused:
            ask(encoded_picture(1), **options)
        assert str(refused.value) == message
    assert server.seen == []


@pytest.mark.parametrize("code", [4, -1])
def test_unknown_stage_code_raises_server_failure(server, client, code):
    server.stage_code = code
    with pytest.raises(ServerFailure, match=rf"not that of a Little-Big model \(unknown stage {code}\)"):
        client.classify(encoded_picture(1))


def test_classification_is_immutable(client):
    answer = client.classify(encoded_picture(1))
    assert isinstance(answer, Classification)
    with pytest.raises(AttributeError):
        answer.label = 3
