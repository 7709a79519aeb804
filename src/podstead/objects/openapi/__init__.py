"""The OpenAPI documents of what is served: 3.0, one a group version, and 2.0, one for all; as JSON and as protobuf.

v3_index, v3_document, v3_discovery_document   what /openapi/v3 and the paths below it answer
v2_document                                    what /openapi/v2 answers
encode_v3, encode_v2                           a document as gnostic's protobuf
digest                                         what stands for all that a document is made of

They follow what Kubernetes publishes (https://github.com/kubernetes/kubernetes/tree/master/api/openapi-spec) but for
what no client reads and generators stumble over: a default of {} for an object that has required fields or is a
reference, and request bodies of any media type.
"""

from podstead.objects.openapi.protobuf import encode_v2, encode_v3
from podstead.objects.openapi.sources import descriptions, digest
from podstead.objects.openapi.v2 import v2_document
from podstead.objects.openapi.v3 import v3_discovery_document, v3_document, v3_index

__all__ = [
    "descriptions",
    "digest",
    "encode_v2",
    "encode_v3",
    "v2_document",
    "v3_discovery_document",
    "v3_document",
    "v3_index",
]
