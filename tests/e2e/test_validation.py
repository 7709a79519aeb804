"""What the real kubectl shows of a manifest that is wrong."""

from __future__ import annotations

import json

from support.instance import TestInstance, pod


def test_every_fault_of_a_manifest_is_told_in_the_api_servers_words(instance: TestInstance) -> None:
    manifest = pod(
        "wrong", {"image": "", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}, restartPolicy="Sometimes"
    )
    manifest["spec"]["containers"] = manifest["spec"]["containers"][:1]
    done = instance.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'The Pod "wrong" is invalid: ',
        "* spec.containers[0].image: Required value",
        '* spec.containers[0].volumeMounts[0].name: Not found: "x"',
        '* spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ]


def test_a_change_that_may_not_be_is_shown(instance: TestInstance) -> None:
    instance.create(pod("fixed"))
    done = instance.kubectl("patch", "pod", "fixed", "-p", '{"spec": {"hostname": "other"}}')
    instance.kubectl("delete", "pod", "fixed", "--now", check=True)
    assert done.returncode == 1
    assert "pod updates may not change fields other than `spec.containers[*].image`" in done.stderr
    assert '+ \thostname: "other",' in done.stderr
