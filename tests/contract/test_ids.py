"""Ids of predictions are given once, whatever gives them, and whenever."""

from __future__ import annotations

import subprocess
import sys

from serving.ids import new_ids

MANY = """
from serving.ids import new_ids
print(*new_ids(5_000, 1_795_454_608.97), *(new_ids(1, 1_795_454_608.97)[0] for _ in range(5_000)))
"""


def test_ids_of_one_moment_in_four_processes_are_all_different():
    command = [sys.executable, "-c", MANY]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ids = [id_ for it in running for id_ in it.communicate(timeout=120)[0].split()]
    assert len(set(ids)) == len(ids) == 40_000
    assert {len(id_) for id_ in ids} == {32}
    assert {id_[:12] for id_ in ids} == {f"{1_795_454_608_970:012x}"}


def test_ids_sort_by_the_time_of_their_request():
    times = [0.0, 1.0, 1_795_454_608.97, 1_795_454_608.971, 4e9]
    ids = [new_ids(2, now) for now in times]
    assert [it[0] for it in ids] == sorted(it[0] for it in ids)
