"""Admission: one file a plugin; every writer passes them all."""
