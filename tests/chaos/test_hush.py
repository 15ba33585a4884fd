"""Who heeds the hush does nothing while it is kept."""

import threading

from tests.chaos.hush import Hush


def test_whoever_heeds_it_waits_until_it_is_over() -> None:
    hush, stop = Hush(), threading.Event()
    writer = threading.Thread(target=hush.heed, args=[stop], daemon=True)
    hush.heed(stop)
    with hush.kept():
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
    writer.join(5)
    assert not writer.is_alive()
    ((began, ended),) = hush.times
    assert ended - began >= 0.3


def test_it_keeps_nobody_from_ending() -> None:
    hush, stop = Hush(), threading.Event()
    writer = threading.Thread(target=hush.heed, args=[stop], daemon=True)
    with hush.kept():
        writer.start()
        stop.set()
        writer.join(5)
        assert not writer.is_alive()
