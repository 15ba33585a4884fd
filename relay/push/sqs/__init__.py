"""Messages to a queue of Amazon SQS: batches go out, and an answer for each message comes back.

It knows queues, entries and codes, and nothing of cursors or rows.
"""
