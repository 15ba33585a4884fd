"""The process and its system: arguments in any bytes, terminals, and where the log goes."""
