"""What the Linux kernel offers and Python 3.11 does not: mounts, namespaces, pidfds, safe removal."""
