"""librdkafka's mock cluster, for faults of the protocol that no real broker makes on demand."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import confluent_kafka

PRODUCER = 0
PRODUCE_API_KEY = 0
ADD_PARTITIONS_API_KEY = 24
BROKERS = 3
# What the mock takes for a broker that closes the connection instead of an answer.
DISCONNECT = -195


def _librdkafka() -> ctypes.CDLL:
    """The library inside confluent-kafka's wheel, as the relay uses it."""
    libraries = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = libraries.glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_new.argtypes = [number, pointer, text, ctypes.c_size_t]
    library.rd_kafka_destroy.argtypes = [pointer]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, number]
    library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
    library.rd_kafka_mock_cluster_bootstraps.restype = text
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_set_controller_id.argtypes = [pointer, ctypes.c_int32]
    library.rd_kafka_mock_topic_create.argtypes = [pointer, text, number, number]
    library.rd_kafka_mock_broker_set_rtt.argtypes = [pointer, ctypes.c_int32, number]
    errors = ctypes.POINTER(number)
    library.rd_kafka_mock_push_request_errors_array.argtypes = [
        pointer,
        ctypes.c_int16,
        ctypes.c_size_t,
        errors,
    ]
    return library


class MockCluster:
    """Three brokers inside this process, on loopback; a context manager."""

    def __init__(self) -> None:
        self._library = _librdkafka()
        words = ctypes.create_string_buffer(512)
        self._client: Any = self._library.rd_kafka_new(PRODUCER, None, words, len(words))
        assert self._client, words.value
        self._cluster: Any = self._library.rd_kafka_mock_cluster_new(self._client, BROKERS)
        assert self._cluster
        # Without a controller no broker answers an admin client.
        self._library.rd_kafka_mock_set_controller_id(self._cluster, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    @property
    def bootstrap_servers(self) -> str:
        """host:port,host:port,host:port."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return found.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes a topic, replicated on all three."""
        create = self._library.rd_kafka_mock_topic_create
        error = create(self._cluster, name.encode(), partitions, BROKERS)
        assert error == 0, f"the mock cluster says {error}"

    def delay_answers(self, milliseconds: int) -> None:
        """Every broker answers so much later from now on, and takes requests meanwhile."""
        for broker in range(1, BROKERS + 1):
            self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds)

    def fail_produce_requests(self, errors: Sequence[int]) -> None:
        """The next Produce requests are answered with these errors, one each, and write nothing."""
        self.fail_requests(PRODUCE_API_KEY, errors)

    def fail_requests(self, api_key: int, errors: Sequence[int]) -> None:
        """The next requests of one kind are answered with these errors, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, api_key, len(errors), codes
        )
