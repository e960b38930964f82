"""Tables are shown without what every row says, and with a winner only where an interval sets it apart."""

from dataclasses import replace

from xrcam_jax.report.read import Figure, ResultTable, Row
from xrcam_jax.report.tables import shown_table

NONE = (None, None, None)


def table(rows, columns=("IoU",), labels=("method", "network"), best="max"):
    rows = tuple(Row(names, tuple(Figure(*each) for each in figures)) for names, figures in rows.items())
    return ResultTable("t", "T", "%", best, 1, labels, columns, rows, "95 % confidence interval")


def test_columns_of_labels_that_never_change_are_said_once():
    shown = shown_table(table({("a", "net"): [(1, 0, 2)], ("b", "net"): [(9, 8, 10)]}))
    assert (shown.labels, shown.constant) == (("method",), "network: net")
    assert [labels for labels, _ in shown.rows] == [("a",), ("b",)]
    shown = shown_table(table({("a", "one"): [(1, 0, 2)], ("a", "two"): [(9, 8, 10)]}))
    assert (shown.labels, shown.constant) == (("network",), "method: a")
    shown = shown_table(table({("a", "one"): [(1, 0, 2)], ("b", "two"): [(9, 8, 10)]}))
    assert (shown.labels, shown.constant) == (("method", "network"), "")


def test_a_single_row_keeps_its_first_label():
    shown = shown_table(table({("a", "net"): [(1, 0, 2)]}))
    assert (shown.labels, shown.constant) == (("method",), "network: net")
    assert not shown.rows[0][1][0].best


def test_columns_without_figures_are_said_once():
    rows = {("a", "n"): [(1, 0, 2), NONE], ("b", "n"): [(5, 4, 6), (float("nan"), None, None)]}
    shown = shown_table(table(rows, ("layer1", "layer2")))
    assert shown.columns == ("Layer 1",)
    assert shown.constant == "network: n; no figures: Layer 2"
    assert [len(cells) for _, cells in shown.rows] == [1, 1]
    assert shown_table(table({("a", "n"): [NONE]})).columns == ("IoU",)
    assert shown_table(table({})).rows == ()


def best(rows, **settings):
    shown = shown_table(table({(name, "n"): [figure] for name, figure in rows.items()}), **settings)
    return [labels[0] for labels, (cell,) in shown.rows if cell.best], " ".join(shown.notes)


def test_the_best_is_apart_from_the_others():
    assert best({"a": (5, 4, 6), "b": (3.9, 3, 5)})[0] == ["a"]
    winners, notes = best({"a": (5, 4, 6), "b": (4.1, 3, 5)})
    assert winners == []
    assert "no figure is called the best: another one lies in its interval" in notes
    assert best({"a": (5, None, None), "b": (1, None, None)})[0] == []
    assert best({"(disc)": (9, 8, 10), "a": (5, 4, 6), "b": (1, 0, 2)})[0] == ["a"]
    winners, notes = best({"a": (5, 4, 6), "b": (1, 0, 2)}, too_few=True)
    assert winners == []
    assert "too few patients" in notes


def test_the_lowest_is_best_where_less_is_better():
    rows = {("a", "n"): [(5, 4, 6)], ("b", "n"): [(1, 0, 2)]}
    shown = shown_table(table(rows, best="min"))
    assert [cell.best for _, (cell,) in shown.rows] == [False, True]
    shown = shown_table(replace(table(rows), best=None))
    assert not any(cell.best for _, (cell,) in shown.rows)
    assert shown.notes == ("Small figures: 95 % confidence interval.",)
