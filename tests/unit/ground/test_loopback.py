"""Addresses of this machine, in every form that gRPC and URLs have for them."""

from __future__ import annotations

import pytest

from hub.loopback import is_loopback


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051", "127.0.0.1", "127.3.2.1:1", "localhost:50051", "LOCALHOST",
        "localhost.:1", "hub.localhost:1", "[::1]:50051", "::1", "[::ffff:127.0.0.1]:1",
        "0.0.0.0:1", "[::]:1",
        "unix:/run/hub.sock", "unix:///run/hub.sock", "unix-abstract:hub", "dns:///localhost:1",
        "dns:localhost:1", "dns://8.8.8.8/127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.2:1",
        "ipv6:[::1]:1", " 127.0.0.1:1 ",
    ],
)  # fmt: skip
def test_on_this_machine(target: str) -> None:
    assert is_loopback(target)


@pytest.mark.parametrize(
    "target",
    [
        "hub.example.com:50051", "10.0.0.1:50051", "128.0.0.1:1", "localhost.example.com:1",
        "notlocalhost:1", "[2001:db8::1]:1", "2001:db8::1", "dns:///hub:1", "127.0.0.1.example.com",
        "ipv4:127.0.0.1:1,10.0.0.1:1", "",
    ],
)  # fmt: skip
def test_elsewhere(target: str) -> None:
    assert not is_loopback(target)
