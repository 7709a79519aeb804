"""bindings and componentstatuses: what the core group has and nobody keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podstead.apiserver import query, writes
from podstead.apiserver.answers import Answer
from podstead.apiserver.call import Call
from podstead.apiserver.health import Check
from podstead.apiserver.render import Renderer
from podstead.apiserver.request import method_not_allowed
from podstead.objects.errors import bad_request, not_found, path_not_found
from podstead.objects.kinds import ResourceInfo
from podstead.objects.selectors import parse_label_selector
from podstead.registry.entry import Entry, unstored
from podstead.registry.registry import Registry

_DEPRECATED = "v1 ComponentStatus is deprecated in v1.19+"


class Computed:
    """Answers for both. `components` are checks of the control plane's parts, by Kubernetes' names for them."""

    def __init__(self, registry: Registry, components: Mapping[str, Check]) -> None:
        self._registry = registry
        self._components = components

    async def answer(self, call: Call, info: ResourceInfo) -> Answer:
        """Raises StatusError 400, 404, 405 and what a write raises."""
        asked = call.info
        if asked.subresource or bool(asked.namespace) is not info.namespaced:
            raise path_not_found()
        if asked.verb not in info.verbs or (asked.verb == "create" and asked.name):
            raise method_not_allowed()
        if info.kind == "Binding":
            return await self._bind(call, info)
        return self._statuses(call, info)

    async def _bind(self, call: Call, info: ResourceInfo) -> Answer:
        """POST a Binding to its namespace: the same as to the pod that it names."""
        obj, options = await writes.read_object(call, info, "CreateOptions")
        name = (obj.get("metadata") or {}).get("name") if isinstance(obj, dict) else ""
        if not isinstance(name, str) or not name:
            raise bad_request("Name parameter required.")
        pods = self._registry.resources["pods"]
        entry = await pods.create_subresource(call.context, call.info.namespace, name, "binding", obj, options)
        return Answer(entry.encoded, 201)

    def _statuses(self, call: Call, info: ResourceInfo) -> Answer:
        call.context.warnings.append(_DEPRECATED)
        many = call.info.verb == "list"
        renderer = Renderer.of(info, call.accept, call.info.query, many=many)
        if not many:
            check = self._components.get(call.info.name)
            if check is None:
                raise not_found(info.plural, call.info.name)
            return Answer(renderer.one(_status(call.info.name, check)))
        options = query.list_options(call.info.query, watch=False)
        try:
            selector = parse_label_selector(options.label_selector)
        except ValueError as error:
            raise bad_request(str(error)) from error
        found = self._components.items() if selector.matches({}) else ()
        return Answer(renderer.many([_status(name, check) for name, check in found], {}))


def _status(name: str, check: Check) -> Entry:
    condition: dict[str, Any] = {"type": "Healthy", "status": "True", "message": "ok"}
    if not check():
        condition |= {"status": "False", "message": "", "error": "it has failed; see the server's log"}
    status = {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}
    return unstored(status)
