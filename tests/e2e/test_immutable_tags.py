"""Immutable tags on the real server: two workers that race for one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests.e2e.pushing import (
    EMPTY,
    digest_of,
    make_manifest,
    one_to_each,
    pull_digest,
    push_blob,
    put_manifest,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Start

ROUNDS = 200
RULE = [{"repository": "prod/**", "tags": ["v*"]}]


def test_one_wins(start: Start) -> None:
    """Of two who push a new immutable tag by two workers at once exactly one does, and the other is told which."""
    server = start({"workers": 2, "tags.immutable": json.dumps(RULE)})
    with one_to_each(server) as wires, ThreadPoolExecutor(2) as racers:
        push_blob(wires[0], "prod/app", EMPTY)
        for number in range(ROUNDS):
            contents = [make_manifest(f"{number} {each}") for each in range(2)]
            order = [0, 1] if number % 2 else [1, 0]
            push = partial(put_manifest, repository="prod/app", reference=f"v{number}")
            pushes = [racers.submit(push, wires[each], content=contents[each]) for each in order]
            answers = dict(zip(order, [each.result(60) for each in pushes], strict=True))
            winner = next(each for each in order if answers[each].status == 201)
            refused = answers[1 - winner]
            assert refused.status == 403
            (error,) = json.loads(refused.body)["errors"]
            assert error["code"] == "DENIED"
            assert error["detail"] == {"tag": f"v{number}", "digest": digest_of(contents[winner])}
            for wire in wires:
                assert pull_digest(wire, "prod/app", f"v{number}") == digest_of(contents[winner])
                assert pull_digest(wire, "prod/app", digest_of(contents[1 - winner])) is None
