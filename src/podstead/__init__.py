"""podstead: the Kubernetes API and real Linux containers on one machine, in one process."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "v1.37.0"
