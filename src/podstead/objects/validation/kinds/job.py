"""Validation of jobs (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import non_negative, one_of
from podstead.objects.validation.kinds.workload import immutable, matching, spec_of
from podstead.objects.validation.pod import validate_template
from podstead.objects.validation.selectors import label_selector

Object = Mapping[str, Any]
_MODES = ("NonIndexed", "Indexed")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_RESTART = ("OnFailure", "Never")
_NUMBERS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_UID = "batch.kubernetes.io/controller-uid"
# The scheduling of a suspended job's pods may still be changed (KEP-2926).
_SCHEDULING = ("nodeSelector", "affinity", "tolerations", "schedulingGates")


def validate(job: Object) -> Iterator[FieldError]:
    spec, selector = spec_of(job), spec_of(job).get("selector")
    if selector is None:
        yield meta.required("spec.selector")
    else:
        yield from label_selector(selector, "spec.selector")
        yield from matching(selector, spec.get("template") or {})
    if not spec.get("manualSelector") and _UID not in ((selector or {}).get("matchLabels") or {}):
        yield meta.invalid("spec.selector", selector, "`selector` not auto-generated")
    yield from validate_job_spec(spec, "spec")


def validate_job_spec(spec: Object, path: str) -> Iterator[FieldError]:
    """A JobSpec, of a job or of a cron job's template."""
    yield from non_negative(spec, _NUMBERS, path)
    if spec.get("completionMode") is not None:
        yield from one_of(spec["completionMode"], _MODES, f"{path}.completionMode")
        if spec["completionMode"] == "Indexed" and spec.get("completions") is None:
            yield meta.required(f"{path}.completions", "when completion mode is Indexed")
    if spec.get("podReplacementPolicy") is not None:
        yield from one_of(spec["podReplacementPolicy"], _REPLACEMENT, f"{path}.podReplacementPolicy")
    template = spec.get("template") or {}
    yield from validate_template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy") or ""
    where = f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        yield meta.required(where, 'valid values: "OnFailure", "Never"')
    elif policy not in _RESTART:
        yield meta.unsupported(where, policy, _RESTART)


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    spec, before = spec_of(new), spec_of(old)
    yield from validate(new)
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if not elastic:
        yield from immutable(spec, before, "completions")
    yield from immutable(spec, before, "selector")
    if _fixed(spec, before) != _fixed(before, before):
        yield meta.invalid("spec.template", spec.get("template"), meta.IMMUTABLE)
    fields = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
    yield from immutable(spec, before, *fields)


def _fixed(spec: Object, before: Object) -> dict[str, Any]:
    """The template without what may change: scheduling directives, as long as the job is suspended."""
    template = dict(spec.get("template") or {})
    if before.get("suspend"):
        pod = template.get("spec") or {}
        template["spec"] = {name: value for name, value in pod.items() if name not in _SCHEDULING}
        metadata = template.get("metadata") or {}
        template["metadata"] = {k: v for k, v in metadata.items() if k not in ("labels", "annotations")}
    return template
