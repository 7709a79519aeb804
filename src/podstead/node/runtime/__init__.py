"""The container runtime: base.py is the protocol in CRI's verbs, oci.py the embedded default."""
