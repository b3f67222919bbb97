"""The institutions of the mesh: each file one agency or system."""
