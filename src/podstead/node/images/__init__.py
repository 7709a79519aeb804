"""Images on the node: the store, pulling and loading into it, and root file systems mounted from it."""
