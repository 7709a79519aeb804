"""Validation of cron jobs (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podstead.objects import meta
from podstead.objects.errors import FieldError
from podstead.objects.validation.common import non_negative, one_of
from podstead.objects.validation.kinds.job import validate_job_spec

Object = Mapping[str, Any]
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_NAME_LENGTH = 52
"""The controller adds eleven characters to it for the name of a job, which is a label's value."""
_FIELDS = 5
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def validate(cron: Object) -> Iterator[FieldError]:
    name = (cron.get("metadata") or {}).get("name") or ""
    yield from _spec(cron.get("spec") or {})
    if len(name) > _NAME_LENGTH:
        yield meta.invalid("metadata.name", name, f"must be no more than {_NAME_LENGTH} characters")


def validate_update(new: Object, old: Object) -> Iterator[FieldError]:
    return _spec(new.get("spec") or {})


def _spec(spec: Object) -> Iterator[FieldError]:
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield meta.required("spec.schedule")
    else:
        yield from _schedule(schedule)
    yield from non_negative(
        spec, ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "spec"
    )
    yield from one_of(spec.get("concurrencyPolicy"), _CONCURRENCY, "spec.concurrencyPolicy")
    if spec.get("timeZone") == "":
        yield meta.invalid("spec.timeZone", "", "timeZone must be nil or non-empty string")
    template = spec.get("jobTemplate") or {}
    yield from validate_job_spec(template.get("spec") or {}, "spec.jobTemplate.spec")


def _schedule(schedule: str) -> Iterator[FieldError]:
    path, fields = "spec.schedule", schedule.split()
    if "TZ" in schedule:
        yield meta.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif schedule.startswith("@"):
        if schedule not in _MACROS and not schedule.startswith("@every "):
            yield meta.invalid(path, schedule, f"unrecognized descriptor: {schedule}")
    elif len(fields) != _FIELDS:
        found = " ".join(fields)
        yield meta.invalid(path, schedule, f"expected exactly {_FIELDS} fields, found {len(fields)}: [{found}]")
