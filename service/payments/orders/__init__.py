"""The orders API: made, read, and taken through its steps."""
