"""An HTTP/1.1 client that only posts: small, strict, and distrustful of whom it talks to.

It knows endpoints, addresses and bytes, and nothing of messages, cursors or rows.
"""
