"""Messages to a topic of Google Cloud Pub/Sub: requests go out, and an answer for each comes back.

It knows topics, messages and status codes, and nothing of cursors or rows.
"""
