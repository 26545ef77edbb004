"""Malformed HTTP requests from seeds: each must get an error, or its connection closed.

Three that end Triton 24.10 (docs/known-issues.md) are left out: JSON nested 120,000 deep, a million chunks of one byte,
and JSON data whose shape claims a batch of 2^32.
"""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from random import Random

_SIDE = 32
_PATH = "/v2/models/little_big/infer"


def _valid(**changes):
    """The JSON of a request of one canonical image, with changes."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, _SIDE, _SIDE, 3], "data": [0] * (_SIDE * _SIDE * 3)}
    tensor.update(changes)
    return {"inputs": [tensor]}


def _post(body, *headers, path=_PATH, length=True):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _dump(content):
    return json.dumps(content).encode()


def _bad_json(random):
    text = _dump(_valid(data=[0] * 4))
    return _post(random.choice((b"", b"{", b"null", b"[]", b"\xff\xfe", b"{}", text[: random.randrange(1, len(text))])))


def _nested_json(random):
    opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
    depth = random.randrange(100, 2000)
    middle = "0" if random.random() < 0.5 else ""
    return _post((opening * depth + middle + closing * depth).encode())


def _wrong_types(random):
    body = random.choice(
        (
            {"inputs": 5},
            {"inputs": {}},
            {"inputs": [5]},
            {"inputs": [{}]},
            {"inputs": []},
            _valid(shape="1,32,32,3"),
            _valid(shape=[1, "32", 32, 3]),
            _valid(shape=[1.5, 32, 32, 3]),
            _valid(shape=[2**64, 32, 32, 3]),
            _valid(shape=[-1, 32, 32, 3]),
            _valid(datatype=None),
            _valid(datatype="BYTES"),
            _valid(data="0"),
            _valid(data={"0": 0}),
            _valid(name=None),
            {**_valid(), "parameters": {"threshold": [0.5]}},
            {**_valid(), "parameters": {"threshold": "high"}},
            {**_valid(), "outputs": "label"},
            {**_valid(), "outputs": [{"name": "labels"}]},
        )
    )
    return _post(_dump(body))


def _wrong_data(random):
    size = _SIDE * _SIDE * 3
    data = random.choice(
        ([0] * (size - 1), [0] * (size + 1), [], ["x"] * size, [None] * size, [-1] * size, [1e400] * size)
    )
    return _post(_dump(_valid(data=data)))


def _chunks(random):
    parts = (
        b'5\r\n{"inp\r\n',
        b"zz\r\n{}\r\n",
        b"-5\r\n{}\r\n",
        b"ffffffffffffffffff\r\n{}\r\n",
        b"2\r\n{}\r\n0\r\n\r\n",
    )
    body = random.choice(parts) * random.randrange(1, 50)
    return _post(body, "Transfer-Encoding: chunked", length=False)


def _wrong_length(random):
    length = random.choice(("5", "999999", "-1", "abc", "18446744073709551616", "1e3", ""))
    return _post(_dump(_valid())[:-2], f"Content-Length: {length}", length=False)


def _bad_compression(random):
    plain = random.choice((b"[" * 100, b" " * 10_000_000, random.randbytes(1000)))
    compressed = random.choice((gzip.compress(plain), gzip.compress(plain)[:-20], zlib.compress(plain), plain[:1000]))
    return _post(compressed, f"Content-Encoding: {random.choice(('gzip', 'deflate', 'br', 'gzip, gzip'))}")


def _wrong_binary_size(random):
    tensor = _valid()["inputs"][0]
    del tensor["data"]
    claimed = random.choice((0, 1, -1, 3071, 3073, 2**31, 2**63 - 1, "3072", 3072.5))
    tensor["parameters"] = {"binary_data_size": claimed}
    header = _dump({"inputs": [tensor]})
    length = random.choice((len(header), len(header) - 1, 0, -1, 10**9, "x"))
    return _post(header + bytes(3072), f"Inference-Header-Content-Length: {length}")


def _unknown_path(random):
    path = random.choice(
        (
            "/",
            "/v2/models/none/infer",
            "/v2/models/little_big/versions/9/infer",
            "/../../etc/passwd",
            "/v2/%00",
            "/" + "a" * 100_000,
        )
    )
    return _post(_dump(_valid()), path=path)


def _bad_start(random):
    line = random.choice(
        (
            b"GET",
            b"GET / HTTP/9.9",
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0",
            b"DELETE " + _PATH.encode() + b" HTTP/1.1",
            random.randbytes(200),
        )
    )
    return line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def _many_headers(random):
    headers = [f"X-{number}: {'a' * random.randrange(1000)}" for number in range(random.randrange(100, 2000))]
    return _post(b"{", *headers)


KINDS = {
    kind.__name__.strip("_").replace("_", " "): kind
    for kind in (
        *(_bad_json, _nested_json, _wrong_types, _wrong_data, _chunks, _wrong_length),
        *(_bad_compression, _wrong_binary_size, _unknown_path, _bad_start, _many_headers),
    )
}


def requests(count, seed):
    """Names and requests, every kind in turn.

    Args:
        count: how many.
        seed: of all of them.
    """
    kinds, random = list(KINDS.items()), Random(seed)  # noqa: S311  (not used for security)
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        yield name, make(random)


def send(url, request, timeout=30.0):
    """The status of the answer, such as "400", and its body; "closed" if the connection ended without an answer."""
    host, _, port = url.rpartition(":")
    received = b""
    try:
        with socket.create_connection((host, int(port)), timeout) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                received += data
    except TimeoutError:
        return "no answer", received[:200].decode(errors="replace")
    except OSError:  # closed while it was sent
        pass
    words = received.split(b" ", 2)
    body = received.partition(b"\r\n\r\n")[2][:300].decode(errors="replace")
    return (words[1].decode(errors="replace"), body) if len(words) > 1 else ("closed", "")
