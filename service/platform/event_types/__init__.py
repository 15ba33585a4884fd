"""The event catalogue: types of events, their versions, and what fits them.

To a key that is limited to channels there are no types but those whose channels are all its own.
"""
