"""The tables of jobs and cron jobs."""

from __future__ import annotations

from datetime import datetime

from podstead.apiserver.tables.base import AGE, NAME, Cell, Column, Object, TableFormat, age, moment, name_of, since
from podstead.apiserver.tables.cells import (
    CONTAINERS,
    IMAGES,
    NONE,
    SELECTOR,
    UNSET,
    condition,
    containers,
    is_deleted,
    selector,
    spec_of,
    status_of,
    text,
)
from podstead.apiserver.tables.duration import human_duration


def _state(obj: Object) -> str:
    def holds(kind: str) -> bool:
        return condition(status_of(obj), kind).get("status") == "True"

    for kind in ("Complete", "Failed"):
        if holds(kind):
            return kind
    if is_deleted(obj):
        return "Terminating"
    if holds("Suspended"):
        return "Suspended"
    return "FailureTarget" if holds("FailureTarget") else "Running"


def _completions(obj: Object) -> str:
    spec, succeeded = spec_of(obj), status_of(obj).get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(obj: Object, now: datetime) -> str:
    started, completed = (moment(status_of(obj).get(field)) for field in ("startTime", "completionTime"))
    return human_duration(((completed or now) - started).total_seconds()) if started else ""


def _job(obj: Object, now: datetime) -> list[Cell]:
    spec = spec_of(obj)
    return [
        name_of(obj),
        _state(obj),
        _completions(obj),
        _duration(obj, now),
        age(obj, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


def _cron_job(obj: Object, now: datetime) -> list[Cell]:
    spec, status = spec_of(obj), status_of(obj)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    suspended, last = spec.get("suspend"), status.get("lastScheduleTime")
    return [
        name_of(obj),
        text(spec, "schedule"),
        text(spec, "timeZone", NONE),
        UNSET if suspended is None else str(bool(suspended)),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *containers(job.get("template")),
        selector(job.get("selector")),
    ]


TABLES = {
    "cronjobs": TableFormat(
        (
            NAME,
            Column("Schedule", "When jobs are made, as a line of cron."),
            Column("Timezone", "The time zone of the schedule."),
            Column("Suspend", "Whether no further jobs are made.", type="boolean"),
            Column("Active", "How many of its jobs run.", type="integer"),
            Column("Last Schedule", "How long ago a job was made last."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _cron_job,
    ),
    "jobs": TableFormat(
        (
            NAME,
            Column("Status", "How far the job is."),
            Column("Completions", "How many pods have succeeded, of how many must."),
            Column("Duration", "How long the job has taken."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _job,
    ),
}
