from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.batching.recovery import Recovery


def run(count: int, culprits: set[int]) -> tuple[list[int], list[int], int]:
    """Run recovery over a pretended engine; return the guilty, the innocent and the runs."""
    recovery, guilty, innocent, runs = Recovery(), [], [], 0
    guilty += recovery.suspect(list(range(count)))
    while recovery.active:
        group = recovery.next_group()
        runs += 1
        if culprits & set(group):
            guilty += recovery.suspect(group)
        else:
            innocent += group
    return guilty, innocent, runs


@given(st.integers(1, 64), st.data())
def test_exactly_the_culprits_are_found(count: int, data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    guilty, innocent, _ = run(count, culprits)
    assert sorted(guilty) == sorted(culprits)
    assert sorted(innocent) == [key for key in range(count) if key not in culprits]


def test_one_culprit_among_64_costs_few_runs() -> None:
    _, _, runs = run(64, {17})
    assert runs == 2 * 6  # two halves on each of log2(64) levels


def test_withdrawn_requests_are_not_run_again() -> None:
    recovery = Recovery()
    recovery.suspect([1, 2, 3, 4])
    recovery.discard([1, 2])
    assert recovery.members() == {3, 4}
    assert recovery.next_group() == [3, 4]
    assert not recovery.active
