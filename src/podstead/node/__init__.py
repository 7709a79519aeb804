"""The node agent: what a kubelet is."""
