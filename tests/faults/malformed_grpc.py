"""Malformed gRPC requests from seeds: each must get an error of its own."""

from __future__ import annotations

import math
from random import Random

import grpc
from tritonclient.grpc import service_pb2 as pb

_SERVICE = "/inference.GRPCInferenceService/"
_SIDE = 32
_IMAGE_BYTES = _SIDE * _SIDE * 3
_DTYPES = ("BOOL", "INT8", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES", "UINT9", "")
# Stands in a message for text that protobuf would refuse to write.
_MARK = "UNPRINTABLE"


def image_request(model="little_big"):
    """A valid request of one canonical image."""
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[bytes(_IMAGE_BYTES)])
    request.inputs.add(name="image", datatype="UINT8", shape=[1, _SIDE, _SIDE, 3])
    return request


def picture_request(content=bytes(64)):
    """A well-formed request whose picture need not be one."""
    raw = len(content).to_bytes(4, "little") + content
    request = pb.ModelInferRequest(model_name="classify", raw_input_contents=[raw])
    request.inputs.add(name="encoded_image", datatype="BYTES", shape=[1, 1])
    return request


def _wrong_shape(random):
    request = image_request(random.choice(("little_big", "little", "big")))
    request.inputs[0].shape[:] = [random.randrange(1, 64) for _ in range(random.randrange(1, 7))]
    return request


def _claimed_batch(random):
    request = image_request(random.choice(("little_big", "little", "big")))
    request.inputs[0].shape[0] = random.choice((2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1))
    return request


def _claimed_typed_batch(random):
    request = image_request(random.choice(("little_big", "little", "big")))
    del request.raw_input_contents[:]
    request.inputs[0].contents.uint_contents.extend([0] * _IMAGE_BYTES)
    request.inputs[0].shape[0] = random.choice((2, 33, 2**31, 2**32, 2**40, 2**62))
    return request


def _batch_of_overflow(random):
    # The byte size overflows 64 bits: 2^32 images of 3072 x 2^22 ... make a small number again.
    request = image_request(random.choice(("little_big", "little", "big")))
    request.inputs[0].shape[:] = [2 ** random.choice((32, 48, 52, 62)), _SIDE, _SIDE, 3]
    request.raw_input_contents[0] = b""
    return request


def _negative_or_empty(random):
    request = image_request()
    request.inputs[0].shape[random.randrange(4)] = random.choice((0, -1, -(2**31), -(2**63)))
    return request


def _wrong_dtype(random):
    request = image_request()
    request.inputs[0].datatype = random.choice(_DTYPES)
    return request


def _missing_input(random):
    request = image_request(random.choice(("little_big", "classify", "preprocess")))
    del request.inputs[:]
    if random.random() < 0.5:
        del request.raw_input_contents[:]
    return request


def _additional_input(random):
    request = image_request()
    copies = random.randrange(1, 20)
    for number in range(copies):
        name = random.choice(("image", f"image{number}", "", "encoded_image"))
        request.inputs.add(name=name, datatype="UINT8", shape=[1, _SIDE, _SIDE, 3])
        request.raw_input_contents.append(bytes(_IMAGE_BYTES))
    return request


def _huge_text(random):
    request, text = image_request(), random.choice("aÄ\n\x1b") * random.randrange(10_000, 1_000_000)
    place = random.randrange(4)
    if place == 0:
        request.model_name = text
    elif place == 1:
        request.inputs[0].name = text
    elif place == 2:
        request.parameters[text].string_param = "1"
    else:
        request.parameters["policy"].string_param = text
    return request


def _unknown_parameter(random):
    request = image_request()
    request.parameters[random.choice(("temperature", "Threshold", "thresholds", "", "\x1b[2J"))].double_param = 1.0
    return request


def _parameter_of_wrong_type(random):
    request = image_request()
    value = request.parameters[random.choice(("threshold", "policy"))]
    field = random.choice(("bool_param", "int64_param", "string_param", "double_param"))
    values = {"bool_param": True, "int64_param": -(2**63), "string_param": "0.5\n\x1b[31m", "double_param": math.nan}
    setattr(value, field, values[field])
    return request


def _threshold_out_of_range(random):
    request = image_request()
    request.parameters["threshold"].double_param = random.choice((-1e-9, 1 + 1e-9, 1e308, math.inf, -math.inf))
    return request


def _truncated(random):
    data = image_request().SerializeToString()
    return data[: random.randrange(1, len(data))]


def _random_bytes(random):
    return b"\x0a" + random.randbytes(random.randrange(8, 4096))


def _flipped_header(random):
    # The bytes before the pixels: lengths, tags and names.
    data = bytearray(image_request().SerializeToString())
    place = random.randrange(0, 8)
    data[place] ^= 1 << random.randrange(8)
    return bytes(data)


def _oversized(random):
    request = image_request()
    request.raw_input_contents[0] = bytes(random.randrange(4, 17) << 20)
    return request


def _not_utf8(random):
    request = image_request()
    place = random.randrange(3)
    if place == 0:
        request.model_name = _MARK
    elif place == 1:
        request.inputs[0].name = _MARK
    else:
        request.parameters[_MARK].string_param = "1"
    bad = random.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80")) * len(_MARK)
    return request.SerializeToString().replace(_MARK.encode(), bad[: len(_MARK)])


def _raw_and_typed(random):
    request = image_request()
    request.inputs[0].contents.uint_contents.extend([0] * random.choice((1, _IMAGE_BYTES)))
    return request


def _typed_of_wrong_length(random):
    request = image_request()
    del request.raw_input_contents[:]
    contents = request.inputs[0].contents
    field = random.choice((contents.uint_contents, contents.int_contents, contents.fp32_contents))
    field.extend([0] * random.choice((0, 1, _IMAGE_BYTES - 1, _IMAGE_BYTES + 1)))
    return request


def _raw_of_wrong_length(random):
    request = image_request(random.choice(("little_big", "little", "big")))
    request.raw_input_contents[0] = bytes(random.choice((0, 1, _IMAGE_BYTES - 1, _IMAGE_BYTES + 1)))
    return request


def _text_of_wrong_length(random):
    request = picture_request()
    claimed = random.choice((0, 1, 63, 65, 2**31, 2**32 - 1))
    request.raw_input_contents[0] = claimed.to_bytes(4, "little") + bytes(random.choice((0, 64)))
    return request


def _no_picture(random):
    return picture_request(random.randbytes(random.randrange(0, 5000)))


def _pictures_of_wrong_count(random):
    request = picture_request()
    request.inputs[0].shape[:] = random.choice(([2, 1], [1, 2], [33, 1], [2**32, 1], [1], [1, 1, 1]))
    return request


def _unknown_output(random):
    request = image_request()
    for _ in range(random.randrange(1, 50)):
        request.outputs.add(name=random.choice(("labels", "", "image", "a" * 10_000)))
    return request


def _unknown_model(random):
    return image_request(random.choice(("", "..", "../little", "little_big/1", "%s%n", "little_big ")))


def _unknown_version(random):
    request = image_request()
    request.model_version = random.choice(("2", "-2", "abc", "9" * 400))
    return request


def _unknown_region(random):
    request = image_request()
    tensor = request.inputs[0] if random.random() < 0.5 else request.outputs.add(name="label")
    tensor.parameters["shared_memory_region"].string_param = random.choice(("", "littlebig_", "../../etc/passwd"))
    tensor.parameters["shared_memory_byte_size"].int64_param = random.choice((-1, 0, 4, _IMAGE_BYTES, 2**62))
    if tensor is request.inputs[0]:
        del request.raw_input_contents[:]
    return request


def _bad_classification(random):
    request = image_request()
    output = request.outputs.add(name="probabilities")
    output.parameters["classification"].string_param = random.choice(("", "5", "all"))
    return request


KINDS = {
    kind.__name__.strip("_").replace("_", " "): kind
    for kind in (
        *(
            _wrong_shape,
            _claimed_batch,
            _claimed_typed_batch,
            _batch_of_overflow,
            _negative_or_empty,
            _wrong_dtype,
            _missing_input,
        ),
        *(_additional_input, _huge_text, _unknown_parameter, _parameter_of_wrong_type, _threshold_out_of_range),
        *(_truncated, _random_bytes, _flipped_header, _oversized, _not_utf8, _raw_and_typed, _typed_of_wrong_length),
        *(_raw_of_wrong_length, _text_of_wrong_length, _no_picture, _pictures_of_wrong_count),
        *(_unknown_output, _unknown_model, _unknown_version, _unknown_region, _bad_classification),
    )
}


def requests(count, seed):
    """Names and serialised requests, every kind in turn.

    Args:
        count: how many.
        seed: of all of them.
    """
    kinds, random = list(KINDS.items()), Random(seed)  # noqa: S311  (not used for security)
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        request = make(random)
        yield name, request if isinstance(request, bytes) else request.SerializeToString()


def send(url, request, method="ModelInfer", timeout=30.0):
    """The answer to a serialised request: its gRPC status and message; OK and the response if it was accepted."""
    with grpc.insecure_channel(url, [("grpc.max_send_message_length", -1)]) as channel:
        try:
            answer = channel.unary_unary(_SERVICE + method)(request, timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
    return "OK", repr(answer[:200])
