"""A position in the log: the protocol by which a cursor is claimed, read on and checkpointed."""
