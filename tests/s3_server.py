"""An S3 endpoint on loopback, for tests of object stores: moto's server, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import fsspec
import pytest

from lrscope.storage.paths import Remote

SERVER = """
import logging, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(3600)
"""
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a running server with the bucket `tests`; the environment points to it."""
    before = dict(os.environ)
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        os.environ.update(KEYS, AWS_ENDPOINT_URL=endpoint, NO_PROXY="127.0.0.1,localhost")
        try:
            fsspec.filesystem("s3").mkdir("tests")
            yield endpoint
        finally:
            os.environ.clear()
            os.environ.update(before)
            server.kill()


@pytest.fixture
def s3(s3_endpoint: str) -> Remote:
    """A new prefix on it."""
    return Remote(f"s3://tests/{uuid4().hex}")
