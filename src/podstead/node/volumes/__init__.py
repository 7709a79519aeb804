"""Volumes of a pod on this node: one file a type."""
