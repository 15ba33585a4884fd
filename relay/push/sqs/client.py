"""One queue's client: botocore's, which blocks, and what it raises as Answers.

botocore comes with the extra `sqs`, and is imported when a client is made.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from relay.push.away import Away
from relay.push.http.answer import Answer, unanswered
from relay.push.policy.settings import Queue
from relay.push.sqs import codes
from relay.push.sqs.entry import MAX_BYTES, Entry
from relay.push.sqs.permission import demand
from relay.settings import Settings
from relay.settings.credentials import CredentialError

# So many requests to one queue at once. botocore's client is safe for threads.
THREADS = 8
CONNECT_SECONDS = 5.0
# What a role's session is called in CloudTrail.
ROLE_SESSION = "outbox-relay"

NEEDS_EXTRA = "kind sqs needs botocore, which this relay lacks: install outbox-relay[sqs]"
NO_IDENTITY = "the connector names no credentials, and this relay has none of its own"

# With a credential that is named botocore looks for no other, nor for a profile or a file.
NOWHERE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, "", None),
    "credentials_file": (None, None, "", None),
}

# Each client would load the service's model by itself, and the loader is not safe for threads.
_making = threading.Lock()
_loader: Any = None


class Client:
    """Opened once, and then used by many threads."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        """Raises Away where the queue is not allowed or its credential can't be had."""
        demand(queue, settings)
        self._queue = queue
        self._boto = _made(queue, settings)

    def attributes(self) -> dict[str, str]:
        """All of the queue's. (One that is of FIFO queues alone is refused by others.)

        Raises whatever `fault` takes.
        """
        said = self.call("get_queue_attributes", AttributeNames=["All"])
        found: dict[str, str] = said.get("Attributes", {})
        return found

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Of botocore's client, for this queue. Raises whatever `fault` takes."""
        said: dict[str, Any] = getattr(self._boto, action)(
            QueueUrl=self._queue.queue_url, **parameters
        )
        return said

    def most_bytes(self) -> int:
        """What the queue takes, as it says itself. Raises Away where it takes nothing of ours.

        Who may send but not read attributes sends by the limit of all queues.
        """
        began_at = time.monotonic()
        try:
            found = self.attributes()
        except Exception as wrong:
            answer = fault(wrong, time.monotonic() - began_at, alone=True)
            if answer.error == codes.DENIED:
                return MAX_BYTES
            raise Away(f"{answer.error}: {answer.detail}") from None
        return self.most_bytes_of(found)

    def most_bytes_of(self, found: Mapping[str, str]) -> int:
        """What a queue with these attributes takes; raises Away where it is of the other kind."""
        is_fifo = found.get("FifoQueue") == "true"
        if is_fifo != self._queue.is_fifo:
            raise Away(f"{codes.REFUSED}: {_kind(is_fifo)}, and by its name {_kind(not is_fifo)}")
        said = found.get("MaximumMessageSize", "")
        return min(int(said), MAX_BYTES) if said.isascii() and said.isdigit() else MAX_BYTES

    def send(self, entries: Sequence[Entry], before: float) -> list[Answer]:
        """An answer for each, in their order. No request is begun at or after `before`.

        A request that is refused for what one entry holds is made again with each alone.
        """
        began_at = time.monotonic()
        if began_at >= before:
            late = unanswered("lease_over", "the time to send was over before it was sent", 0.0)
            return [late] * len(entries)
        alone = len(entries) == 1
        numbered = [{"Id": str(place), **one.fields} for place, one in enumerate(entries)]
        try:
            said = self._boto.send_message_batch(QueueUrl=self._queue.queue_url, Entries=numbered)
        except Exception as wrong:
            answer = fault(wrong, time.monotonic() - began_at, alone=alone)
            if answer.error in codes.OF_ONE and not alone:
                return [answer for one in entries for answer in self.send([one], before)]
            return [answer] * len(entries)
        return _answers(said, len(entries), time.monotonic() - began_at)

    def close(self) -> None:
        """Its idle connections, and each other one with its answer."""
        self._boto.close()


def _kind(is_fifo: bool) -> str:
    return "it is a FIFO queue" if is_fifo else "it is a standard one"


def _answers(said: dict[str, Any], entries: int, seconds: float) -> list[Answer]:
    """Of an entry that the queue says nothing about, and of one that it says both of: failed."""
    missing = unanswered("protocol", "the queue's answer does not name this entry", seconds)
    found = dict.fromkeys(map(str, range(entries)), missing)
    taken = codes.acknowledged(seconds)
    for one in said.get("Successful", ()):
        if one.get("Id") in found:
            found[one["Id"]] = taken
    for one in said.get("Failed", ()):
        if one.get("Id") in found:
            found[one["Id"]] = codes.of_entry(
                str(one.get("Code", "")),
                str(one.get("Message", "")),
                seconds,
                sender_fault=one.get("SenderFault") is True,
            )
    return list(found.values())


def fault(wrong: Exception, seconds: float, *, alone: bool) -> Answer:
    """What a call raised. botocore's own words are left out where they hold the URL."""
    from botocore import exceptions

    match wrong:
        case exceptions.ClientError():
            said, status = wrong.response.get("Error", {}), _status(wrong.response)
            code, text = str(said.get("Code", "")), str(said.get("Message", ""))
            return codes.of_request(code, text, status, seconds, alone=alone)
        case exceptions.ReadTimeoutError():
            return unanswered("timeout", "no answer in time", seconds)
        case exceptions.SSLError():
            return unanswered("tls", "the handshake failed", seconds)
        case exceptions.ConnectTimeoutError() | exceptions.EndpointConnectionError():
            return unanswered("connect", "no connection could be made", seconds)
        case exceptions.ProxyConnectionError():
            return unanswered("connect", "the proxy makes no connection", seconds)
        case exceptions.HTTPClientError():
            return unanswered("disconnected", "the connection ended before an answer", seconds)
        case (
            exceptions.NoCredentialsError()
            | exceptions.PartialCredentialsError()
            | exceptions.CredentialRetrievalError()
            | exceptions.MetadataRetrievalError()
            | exceptions.TokenRetrievalError()
            | exceptions.SSOError()
        ):
            return unanswered(codes.DENIED, "no credentials could be had", seconds)
        case _:
            text = f"what came is no answer of SQS: {type(wrong).__name__}"
            return unanswered("protocol", text, seconds)


def _status(response: Any) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _made(queue: Queue, settings: Settings) -> Any:
    """botocore's client. Raises Away."""
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError:
        raise Away(NEEDS_EXTRA) from None
    parts = urlsplit(queue.queue_url)
    region = queue.region or parts.netloc.split(".")[1]
    proxy = settings.proxy
    proxies = {} if proxy is None else dict.fromkeys(("http", "https"), proxy.geturl())
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=queue.timeout_seconds,
        # The run decides what is tried again, and when.
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
        max_pool_connections=THREADS,
        tcp_keepalive=True,
        proxies=proxies,
        # Where requests go is the connector's to say, and the operator's to allow.
        ignore_configured_endpoint_urls=True,
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
    )
    session, keys = _session(Session, queue, settings)
    make = partial(_create, session, region_name=region, config=config)
    if queue.role_arn is not None:
        session._credentials, keys = _of_role(make, queue.role_arn, session, keys), {}
    endpoint = f"{parts.scheme}://{parts.netloc}"
    return make("sqs", endpoint_url=endpoint, **keys)


def _create(session: Any, service: str, **given: Any) -> Any:
    global _loader
    with _making:
        if _loader is None:
            _loader = session.get_component("data_loader")
        session.register_component("data_loader", _loader)
        return session.create_client(service, **given)


def _session(new: Any, queue: Queue, settings: Settings) -> tuple[Any, dict[str, str]]:
    """botocore's, and the keys of the credential that is named; none: the relay's own identity."""
    if queue.credentials is None:
        session = new()
        # Not while others wait: it may ask the cloud.
        if session.get_credentials() is None:
            raise Away(NO_IDENTITY)
        return session, {}
    try:
        found = settings.credential(queue.credentials, "username", "password")
    except CredentialError as wrong:
        raise Away(str(wrong)) from None
    keys = {
        key: found[part]
        for key, part in (
            ("aws_access_key_id", "username"),
            ("aws_secret_access_key", "password"),
            ("aws_session_token", "session_token"),
        )
        if part in found
    }
    return new(session_vars=NOWHERE), keys


def _of_role(make: Any, role_arn: str, session: Any, keys: dict[str, str]) -> Any:
    """The role's credentials, which are had anew before they expire."""
    from botocore.credentials import (
        AssumeRoleCredentialFetcher,
        Credentials,
        DeferredRefreshableCredentials,
    )

    source = Credentials(*keys.values()) if keys else session.get_credentials()
    fetcher = AssumeRoleCredentialFetcher(
        make, source, role_arn, extra_args={"RoleSessionName": ROLE_SESSION}
    )
    return DeferredRefreshableCredentials(
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
