"""A writer that waits the pause out begins nothing while it is held, and can still be stopped."""

import threading

from tests.chaos.write_pause import WritePause


def test_a_writer_waits_until_it_is_over() -> None:
    write_pause, stop = WritePause(), threading.Event()
    writer = threading.Thread(target=write_pause.wait_out, args=[stop], daemon=True)
    write_pause.wait_out(stop)
    with write_pause.held():
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
    writer.join(5)
    assert not writer.is_alive()
    ((began, ended),) = write_pause.intervals
    assert ended - began >= 0.3


def test_it_keeps_no_writer_from_ending() -> None:
    write_pause, stop = WritePause(), threading.Event()
    writer = threading.Thread(target=write_pause.wait_out, args=[stop], daemon=True)
    with write_pause.held():
        writer.start()
        stop.set()
        writer.join(5)
        assert not writer.is_alive()
