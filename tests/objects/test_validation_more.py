"""Endpoints, webhook configurations and schedules, checked as the real server does."""

from __future__ import annotations

from typing import Any

import pytest

from podstead.objects.validation.kinds import cronjob, endpoints, ipaddress, servicecidr, webhookconfiguration


def _subset(**changes: Any) -> dict[str, Any]:
    return {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80, "protocol": "TCP"}], **changes}


@pytest.mark.parametrize(
    ("subset", "wrong"),
    [
        (_subset(), []),
        (_subset(addresses=[]), ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        (
            _subset(addresses=[{"ip": "127.0.0.1"}]),
            [
                'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": '
                "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            ],
        ),
        (
            _subset(addresses=[{"ip": "x"}]),
            [
                'subsets[0].addresses[0].ip: Invalid value: "x": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        (
            _subset(ports=[{"port": 0, "protocol": "TCP", "name": "a"}, {"port": 1, "protocol": "X"}]),
            [
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[0].ports[1].name: Required value",
                'subsets[0].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
    ],
)
def test_endpoints(subset: dict[str, Any], wrong: list[str]) -> None:
    assert [str(error) for error in endpoints.validate({"subsets": [subset]})] == wrong


def _webhook(**changes: Any) -> dict[str, Any]:
    webhook = {
        "name": "a.example.com",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://example.com/hook"},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    }
    return {**webhook, **changes}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        (
            {"name": "a.b"},
            'name: Invalid value: "a.b": should be a domain with at least three segments separated by dots',
        ),
        ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        (
            {"timeoutSeconds": 31},
            "timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        ({"clientConfig": {}}, "clientConfig: Required value: exactly one of url or service is required"),
        (
            {"clientConfig": {"url": "http://example.com"}},
            'clientConfig.url: Invalid value: "http": '
            "'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
        ({"admissionReviewVersions": []}, "admissionReviewVersions: Required value: must specify one of v1, v1beta1"),
        (
            {"admissionReviewVersions": ["v2"]},
            'admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1',
        ),
        ({"failurePolicy": "X"}, 'failurePolicy: Unsupported value: "X": supported values: "Fail", "Ignore"'),
    ],
)
def test_webhooks(changes: dict[str, Any], wrong: str) -> None:
    found = [str(error) for error in webhookconfiguration.validate({"webhooks": [_webhook(**changes)]})]
    assert found == ([f"webhooks[0].{wrong}"] if wrong else [])


def test_two_webhooks_of_one_name() -> None:
    found = [str(error) for error in webhookconfiguration.validate({"webhooks": [_webhook(), _webhook()]})]
    assert found == ['webhooks[1].name: Duplicate value: "a.example.com"']


@pytest.mark.parametrize("schedule", ["* * * * *", "*/5 0-6,22 1 JAN-mar mon", "0 0 ? * 6", "@daily", "5/15 * * * *"])
def test_schedules(schedule: str) -> None:
    assert list(cronjob._schedule(schedule)) == []


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("@often", "unrecognized descriptor: @often"),
        ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ],
)
def test_schedules_that_are_none(schedule: str, why: str) -> None:
    (error,) = cronjob._schedule(schedule)
    assert str(error) == f'spec.schedule: Invalid value: "{schedule}": {why}'


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        (["10.0.0.0/24"], ""),
        (["10.0.0.0/24", "2001:db8::/64"], ""),
        ([], "spec.cidrs: Required value: at least one CIDR required"),
        (["10.0.0.0"], 'spec.cidrs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value'),
        (["10.0.0.0/24", "10.1.0.0/24"], "may specify no more than one IP for each IP family"),
        (["a", "b", "c"], "may only hold up to 2 values"),
    ],
)
def test_service_ranges(ranges: list[str], why: str) -> None:
    found = list(map(str, servicecidr.validate({"spec": {"cidrs": ranges}})))
    assert len(found) == (1 if why else 0) and why in "".join(found)


def test_an_address_is_named_by_itself() -> None:
    assert ipaddress.name_problems("10.1.2.3") == ipaddress.name_problems("2001:db8::1") == []
    assert ipaddress.name_problems("2001:DB8:0::1") == ["must be a canonical format IP address"]
    assert ipaddress.name_problems("x") == ['ParseAddr("x"): unable to parse IP']
    assert list(map(str, ipaddress.validate({"spec": {}}))) == ["spec.parentRef: Required value"]
