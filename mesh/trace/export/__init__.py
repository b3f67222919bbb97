"""A trace in other people's formats: each module writes one, as pieces of bytes, while the trace is read."""
