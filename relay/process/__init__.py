"""The process and its system: signals, memory, descriptors, and where its log goes."""
