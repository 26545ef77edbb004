"""A real server is killed and restarted on its port while a client classifies many images: none is lost."""

import os
import signal
import threading

import numpy as np
import pytest

from littlebig_client import Client
from littlebig_server import ServerSettings, TritonServer

IMAGES = list(np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3), np.uint8))


@pytest.mark.slow  # two starts of a server
def test_no_image_is_lost_while_a_killed_server_restarts(tiny_repository):
    with TritonServer(tiny_repository) as first, Client(first.grpc_url, timeout=120, retry_for=100) as client:
        port = int(first.grpc_url.rpartition(":")[2])
        expected = list(client.classify_many(IMAGES, concurrency=16))
        second = TritonServer(tiny_repository, ServerSettings(grpc_port=port))
        restarting = threading.Thread(target=lambda: (first.wait(60), second.start()))
        answers = []
        try:
            for answer in client.classify_many(IMAGES, concurrency=16):
                answers.append(answer)
                if len(answers) == 100:
                    os.kill(first.pid, signal.SIGKILL)
                    restarting.start()
        finally:
            restarting.join(120)
            second.stop()
    assert answers == expected
