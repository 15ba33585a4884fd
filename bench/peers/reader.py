"""A consumer that notes when each message reaches it first, for as long as it is told to wait."""

import json
import sys
import time

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from bench.peers.topic import NUMBER

TIMEOUT_SECONDS = 10


def main(bootstrap_servers: str, topic: str, count: str, seconds: str) -> None:
    """Prints a line when it is ready, in the end [n, nanoseconds] for each message that came.

    It ends when the messages 0 to `count` - 1 have come, or after `seconds`.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,
        }
    )
    described = consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    places = [TopicPartition(topic, each, OFFSET_END) for each in described.partitions]
    consumer.assign(places)
    for place in places:
        # Answered once the partition is being read.
        consumer.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
    consumer.poll(1.0)
    print("ready", flush=True)
    deadline = time.monotonic() + float(seconds)
    seen: dict[int, int] = {}
    while len(seen) < int(count) and time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is None:
            continue
        at = time.time_ns()
        if error := message.error():
            raise KafkaException(error)
        if found := NUMBER.search(message.value() or b""):
            seen.setdefault(int(found[1]), at)
    print(json.dumps(list(seen.items())))
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
