"""Every error that librdkafka knows, in its place: what it says about a message, a topic, a run.

Nothing that a broker says ends the relay: its endpoints go on, and a cluster that refuses this
relay is asked again, loudly. In case of doubt a message waits, since a dead letter has to be sent
again by hand. https://kafka.apache.org/protocol#protocol_error_codes
"""

from confluent_kafka import KafkaError

# The message can never go: it becomes a dead letter. Each is said of the message itself, or of the
# batch that it came in, and so believed only of one that was sent alone.
NEVER = frozenset(
    {
        # Above max.message.bytes, or above the size of a segment.
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        # What the broker's own check of records refuses: no key for a compacted topic.
        KafkaError.INVALID_RECORD,
    }
)

# The topic is not there, or not for this user: its channel waits alone until that changes.
MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        # It was deleted and made again, and the brokers do not agree on that yet.
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
    }
)

# The topic is there and takes nothing now: its channel waits alone. No message is to blame.
UNWRITABLE = MISSING | {
    # No broker leads the partition, or the leader is moving, or its disk fails.
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
    # Too few replicas are in sync for min.insync.replicas, or none answers in time.
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError._ISR_INSUFF,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    # A clock is off: the relay's, the broker's, or what the topic allows between them. When it is
    # right again, or message.timestamp.*.max.ms wide enough, the same message goes.
    KafkaError.INVALID_TIMESTAMP,
    # The checksum does not fit: damaged on its way. (librdkafka sends it again by itself.)
    KafkaError.INVALID_MSG,
    # The topic's own rules or format: an operator's to change.
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}

# What the relay itself threw away when it gave a run up.
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})

# Another message of its batch, or one before it, was refused: nothing is said of this one, which
# is sent again with a new producer.
BEHIND_A_REFUSAL = frozenset(
    {
        KafkaError._INVALID_DIFFERENT_RECORD,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._FATAL,
        KafkaError._STATE,
    }
)

# The producer is at its end: another owner has fenced it, or broker and producer no longer agree on
# what was sent. The run is given up as if the cluster were away, and the next one has a new
# producer.
PRODUCER_ENDS = frozenset(
    {
        KafkaError._FENCED,
        KafkaError._INCONSISTENT,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.TRANSACTION_ABORTABLE,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)

# The cluster is away, or refuses this relay: the run is given up, nothing is marked, and a new
# session tries again, at the latest after two seconds.
AWAY = frozenset(
    {
        # No broker is reached, or none answers.
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._NODE_UPDATE,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._QUEUE_FULL,
        KafkaError._RETRY,
        KafkaError._INTR,
        KafkaError._DESTROY,
        KafkaError._DESTROY_BROKER,
        KafkaError._FAIL,
        KafkaError._CRIT_SYS_RESOURCE,
        KafkaError._FS,
        KafkaError.UNKNOWN,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.STALE_BROKER_EPOCH,
        KafkaError.STALE_CTRL_EPOCH,
        KafkaError.NOT_CONTROLLER,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.REBOOTSTRAP_REQUIRED,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        # A group's or a transaction's coordinator is starting or moving, or still at work.
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        # Who the relay is, or what it may do beyond one topic: all its channels are concerned.
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.PRINCIPAL_DESERIALIZATION_FAILURE,
        # This client and this cluster do not fit together, in version or configuration.
        KafkaError._BAD_MSG,
        KafkaError._BAD_COMPRESSION,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError._UNKNOWN_PROTOCOL,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError._NOT_CONFIGURED,
        KafkaError._INVALID_ARG,
        KafkaError._INVALID_TYPE,
        KafkaError._UNDERFLOW,
        KafkaError._CONFLICT,
        KafkaError._READ_ONLY,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.INVALID_REQUEST,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        # What a transaction notes is too large for this cluster.
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.INVALID_COMMIT_OFFSET_SIZE,
    }
)

# Answers to what the relay never asks, or that are no errors. Should one come, the cluster counts
# as away: no message is to blame for it.
NOT_ASKED_FOR = frozenset(
    {
        KafkaError.NO_ERROR,
        KafkaError._NOOP,
        KafkaError._APPLICATION,
        KafkaError._PARTIAL,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        # Reading, and being a member of a group.
        KafkaError._PARTITION_EOF,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._LOG_TRUNCATION,
        KafkaError._OUTDATED,
        KafkaError._NO_OFFSET,
        KafkaError._NOENT,
        KafkaError._UNKNOWN_GROUP,
        KafkaError._EXISTING_SUBSCRIPTION,
        KafkaError._ASSIGN_PARTITIONS,
        KafkaError._REVOKE_PARTITIONS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.MEMBER_ID_REQUIRED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError.INVALID_REGULAR_EXPRESSION,
        KafkaError.STREAMS_INVALID_TOPOLOGY,
        KafkaError.STREAMS_INVALID_TOPOLOGY_EPOCH,
        KafkaError.STREAMS_TOPOLOGY_FENCED,
        KafkaError.INVALID_RECORD_STATE,
        KafkaError.SHARE_SESSION_NOT_FOUND,
        KafkaError.SHARE_SESSION_LIMIT_REACHED,
        KafkaError.INVALID_SHARE_SESSION_EPOCH,
        KafkaError.FENCED_STATE_EPOCH,
        # Serializers, which belong to another interface of the library.
        KafkaError._KEY_SERIALIZATION,
        KafkaError._VALUE_SERIALIZATION,
        KafkaError._KEY_DESERIALIZATION,
        KafkaError._VALUE_DESERIALIZATION,
        # Administering topics, groups, tokens, users, elections and voters.
        KafkaError.TOPIC_ALREADY_EXISTS,
        KafkaError.TOPIC_DELETION_DISABLED,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REPLICA_ASSIGNMENT,
        KafkaError.INVALID_CONFIG,
        KafkaError.OPERATION_NOT_ATTEMPTED,
        KafkaError.REASSIGNMENT_IN_PROGRESS,
        KafkaError.NO_REASSIGNMENT_IN_PROGRESS,
        KafkaError.ELECTION_NOT_NEEDED,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.LOG_DIR_NOT_FOUND,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.GROUP_SUBSCRIBED_TO_TOPIC,
        KafkaError.DELEGATION_TOKEN_AUTH_DISABLED,
        KafkaError.DELEGATION_TOKEN_NOT_FOUND,
        KafkaError.DELEGATION_TOKEN_OWNER_MISMATCH,
        KafkaError.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_EXPIRED,
        KafkaError.INVALID_PRINCIPAL_TYPE,
        KafkaError.UNACCEPTABLE_CREDENTIAL,
        KafkaError.RESOURCE_NOT_FOUND,
        KafkaError.DUPLICATE_RESOURCE,
        KafkaError.INVALID_UPDATE_VERSION,
        KafkaError.FEATURE_UPDATE_FAILED,
        KafkaError.INCONSISTENT_VOTER_SET,
        KafkaError.INVALID_VOTER_KEY,
        KafkaError.DUPLICATE_VOTER,
        KafkaError.VOTER_NOT_FOUND,
        KafkaError.INVALID_REGISTRATION,
        KafkaError.MISMATCHED_ENDPOINT_TYPE,
        KafkaError.UNSUPPORTED_ENDPOINT_TYPE,
        KafkaError.UNKNOWN_CONTROLLER_ID,
        # Telemetry of clients.
        KafkaError.UNKNOWN_SUBSCRIPTION_ID,
        KafkaError.TELEMETRY_TOO_LARGE,
    }
)
