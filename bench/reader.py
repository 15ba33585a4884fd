"""A consumer that notes when each message reaches it."""

import json
import sys
import time

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

# Longer than the writer writes; a reader whose parent is gone ends by it.
PATIENCE_SECONDS = 30


def main(bootstrap_servers: str, topic: str, count: str) -> None:
    """Prints a line when it is ready, then [n, nanoseconds] for each of `count` messages.

    Of a message that comes again only the first arrival counts.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_END) for partition in partitions])
    for partition in partitions:
        # Answered once the partition is being read.
        consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    consumer.poll(1.0)
    print("ready", flush=True)
    seen: dict[int, int] = {}
    while len(seen) < int(count):
        message = consumer.poll(PATIENCE_SECONDS)
        if message is None:
            raise RuntimeError(f"{len(seen)} of {count} messages came")
        if error := message.error():
            raise KafkaException(error)
        value = message.value()
        assert value is not None
        seen.setdefault(json.loads(value)["n"], time.time_ns())
    print(json.dumps(list(seen.items())))
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
