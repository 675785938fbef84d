"""Name servers that are silent, networks that are cut: an ensemble forms, elects and heals in time."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("network.py")
# tickTime is 500 ms and syncLimit 10 ticks: so long may silence last before it counts.
SILENCE = 5.0
ELECTION = 5.0
DISCOVERY = 10.0  # initLimit: so long a server that wants to lead waits for the others
LOOKUP = 5.0  # the resolver asks the second name server after this long


def play(story):
    command = ["unshare", "--map-root-user", "--mount", "--net", sys.executable, PROGRAM, story]
    played = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert played.returncode == 0, f"{story}\n{played.stdout}\n{played.stderr}"
    return json.loads(played.stdout)


def test_a_silent_name_server_delays_an_ensemble_by_one_look_up_and_no_election():
    took = play("names")
    assert took["formed"] < 2 * LOOKUP + ELECTION, took
    assert took["elected"] < ELECTION, took


def test_a_name_that_appears_late_or_changes_its_address_is_followed():
    took = play("moved")
    assert took["joined"] < ELECTION, took
    assert took["back"] < ELECTION, took
    assert took["elected"] < ELECTION, took


def test_a_server_whose_name_the_others_do_not_know_keeps_them_from_nothing():
    took = play("unknown")
    assert took["formed"] < 2 * ELECTION, took
    assert took["joined"] < DISCOVERY + ELECTION, took


def test_an_ipv6_address_that_comes_first_and_is_silent_delays_little():
    took = play("ipv6_first")
    assert took["formed"] < ELECTION, took
    assert took["elected"] < ELECTION, took
    assert took["back"] < ELECTION, took


def test_an_ensemble_that_was_cut_apart_elects_at_once_when_the_network_is_back():
    took = play("cut")
    assert took["healed"] < ELECTION, took


def test_a_member_that_hears_nobody_is_replaced_and_comes_back():
    took = play("one_way")
    assert took["replaced"] < SILENCE + 2 * ELECTION, took
    assert took["healed"] < ELECTION + SILENCE, took
    assert took["survived"] < SILENCE + ELECTION, took
