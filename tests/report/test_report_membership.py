"""The table of the membership test's statistics."""

from result_builder import LEAK, NO_LEAK, Case, build

from privaudit.report.membership import part_table


def test_every_statistic_has_its_rates_and_a_refused_rate_says_why():
    membership = build(LEAK).evidence.membership
    table = part_table(membership)
    assert [rate.split() for rate in table.rates] == [["1", "%"], ["0.1", "%"]]
    assert [row.name for row in table.rows] == ["row space of x", "kinks of x", "combined"]
    point = membership.operating_points[0]
    assert table.rows[-1].found[0].startswith(f"{point.members_found} ({point.tpr:.0%}; ")
    assert table.rows[-1].found[1] == "no rate"
    assert len(table.notes) == 1 and "1000 controls" in table.notes[0]
    assert part_table(build(NO_LEAK, n_controls=1000).evidence.membership).notes == ()


def test_where_nothing_was_measured_there_is_no_table():
    assert part_table(build(Case(membership_applicable=False)).evidence.membership) is None
