"""Whether payloads fit schemas that SQL can't keep, told by a process that may be lost.

Who registers a schema and who publishes a payload may both be strangers, and there are pairs of
them that take for ever or all memory to check. So it is not done in the service's own process.
"""
