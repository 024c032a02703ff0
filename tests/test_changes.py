"""What a change did to each architecture: verdicts, counts and figures of a review, without its pages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.common.files import write_json
from tools.common.changes import BETTER, SAME, WORSE, Comparison, changes, data_change, interval, percent
from tools.common.predictions import describe_difference
from tools.common.statistics import difference
from tools.review.digits import Digit, by_pair, newly_right

from .reviews import of_models, write_results


def change(before: list, after: list, p: float | None = None, several: int = 1) -> Comparison:
    """A change of predictions, of one seed or of several, for images whose label is 0."""
    base, head = (of_models(np.zeros(100, int), np.array(side), np.ones(100), "cnn") for side in (before, after))
    compared = None if before == after else difference(base.right, head.right)
    return Comparison("cnn", base, head, difference=replace(compared, p=p) if p else compared, several=several)


def wrong(count: int) -> list[int]:
    """Predictions of which the first `count` are wrong."""
    return [1] * count + [0] * (100 - count)


TWO, ONE = [wrong(3), wrong(5)], [wrong(1), wrong(1)]  # several seeds


@pytest.mark.parametrize(
    ("before", "after", "p", "expected"),
    [
        (wrong(3), wrong(2), 0.25, "97.00 % → 98.00 %, fixed 1, broke 0, no evidence of a change"),
        (wrong(9), wrong(2), 0.04999, "91.00 % → 98.00 %, fixed 7, broke 0, evidence of a change for the better"),
        (wrong(0), wrong(2), 0.0004, "100.00 % → 98.00 %, fixed 0, broke 2, evidence of a change for the worse"),
        (wrong(2), wrong(2), None, "98.00 %, same predictions"),
        ([2, *wrong(99)[1:]], wrong(99), 1.0, "1.00 % → 1.00 %, fixed 0, broke 0, no evidence of a change"),
        # by fractions: variance 97/330,000 and 47/123,750, degrees of freedom 18,818/1,089 and 2,209/2,025
        (TWO, ONE, 0.04, "96.00 % → 99.00 %, +3.00 ± 3.61 points (2 seeds), evidence of a change for the better"),
        (wrong(9), ONE, 0.3, "91.00 % → 99.00 %, +8.00 ± 20.38 points (one seed → 2 seeds), no evidence of a change"),
    ],
)  # fmt: skip
def test_a_change_is_summed_up_in_a_line(before: list, after: list, p: float | None, expected: str) -> None:
    assert change(before, after, p).summary(0.95) == f"cnn: {expected}"


SAME_COUNTS = "(all 200 predictions are the same, probabilities differ by {} at most)"


@pytest.mark.parametrize(
    ("probability", "agreement"),
    [
        (1.0, "same bytes"),
        (0.999, f"same within rounding {SAME_COUNTS.format(0.001)}"),
        (0.998, f"same predictions, other probabilities {SAME_COUNTS.format(0.002)}"),
    ],
)
def test_one_unit_of_the_last_decimal_is_the_same_within_rounding(probability: float, agreement: str) -> None:
    same = change(ONE, ONE)
    changed = np.ones((2, 100))
    changed[1, 7] = probability
    other = replace(same, head=replace(same.head, probability=changed), decimals=3)
    assert describe_difference(other.base, other.head, 3) == agreement
    assert other.changed == (probability < 1)
    assert other.summary(0.95) == f"cnn: 99.00 %, {agreement if other.changed else 'same predictions'}"


def test_predictions_that_differ_are_counted_and_others_are_not_compared() -> None:
    base = change(ONE, ONE).base
    after = change(ONE, [wrong(2), wrong(1)]).head
    assert describe_difference(base, after, 3) == "1 of 200 predictions differ"
    assert not Comparison("cnn", base, after).has_other_seeds
    after = replace(after, seeds=(10, 12))
    assert describe_difference(base, after, 3) == "other seeds: not compared"
    assert Comparison("cnn", base, after).has_other_seeds
    assert describe_difference(base, replace(after, label=base.label + 1), 3) == "other test images: not compared"


def test_p_has_two_digits_and_has_to_be_below_one_minus_the_confidence() -> None:
    for p, shown in (1.0, "1"), (0.2379, "0.24"), (0.0012, "0.0012"), (0.001, "0.001"), (0.0004, "< 0.001"):
        assert change(wrong(0), wrong(2), p).shown_p == shown
    assert change(wrong(9), wrong(2), 0.25).verdict(0.75) == SAME
    assert change(wrong(9), wrong(2), 0.25).verdict(0.74) == BETTER
    assert change([wrong(3), wrong(3)], [wrong(3), wrong(2)], 0.04).verdict(0.95) == BETTER, "by half a point"
    assert change([wrong(3), wrong(2)], [wrong(3), wrong(3)], 0.04).verdict(0.95) == WORSE


def test_formats_of_points_shares_and_intervals() -> None:
    one_image = [of_models(np.zeros(1, int), np.array([[side], [side]]), np.ones(1)) for side in (0, 1)]
    of_one_image = Comparison("net", *one_image, difference=difference(one_image[0].right, one_image[1].right))
    items = [change(wrong(3), wrong(2)), change(wrong(2), [2, *wrong(2)[1:]]), change(ONE, ONE), of_one_image]
    assert [item.shown_points(0.95) for item in items] == ["+1.00", "0", "0", "-100.00"], "no margins"
    assert (percent(0.98765), percent(float("nan"))) == ("98.77 %", "–")
    one = of_models(np.zeros(1, int), np.array([[0], [1]]), np.ones(1))
    assert interval(one, 0.95) == "no interval"
    assert interval(of_models(np.zeros(10, int), np.zeros(10, int), np.ones(10)), 0.95) == "[72.25, 100.00]"
    assert interval(of_models(np.zeros(10, int), np.arange(10) // 9, np.ones(10)), 0.95) == "[59.59, 98.21]", "Wilson's"


def test_an_image_is_fixed_or_broken_if_more_than_half_of_the_seeds_change() -> None:
    label = np.zeros(5, int)
    base = of_models(label, np.array([[1, 1, 0, 0, 0], [1, 1, 0, 1, 0]]), np.ones(5))
    head = of_models(label, np.array([[0, 1, 1, 0, 1], [0, 0, 1, 1, 0]]), np.ones(5))
    item = Comparison("net", base, head, difference=difference(base.right, head.right))
    assert (item.fixed.tolist(), item.broke.tolist()) == ([0], [2])
    assert item.gained.tolist() == [1, 0.5, -1, 0, -0.5]
    assert item.confusion_difference().loc[0, [0, 1]].tolist() == [0, 0]
    assert (item.shown_p, item.of_models) == (f"{item.difference.p:.2g}", False)


@pytest.mark.parametrize(
    ("seeds", "expected"), [((1, 3), "1 of 1 → 1 of 3"), ((2, 2), "2 → 0"), ((3, 1), "3 of 3 → 0 of 1")]
)
def test_a_digit_counts_its_wrong_seeds_of_those_that_each_side_has(seeds: tuple[int, int], expected: str) -> None:
    label, errors = np.array([0, 1, 1, 0]), np.array([1, 1, 1, 0])
    after = [errors if seeds == (1, 3) else label, *[label] * (seeds[1] - 1)]
    base, head = (of_models(label, np.stack(side), np.ones(4)) for side in ([errors] * seeds[0], after))
    (digit,) = newly_right(Comparison("net", base, head, difference=difference(base.right, head.right)))
    assert (digit.index, digit.label, digit.old, digit.new, digit.wrong) == (0, 0, 1, 0, 1)
    assert (digit.probability, digit.seeds_wrong) == (1, expected)


def test_the_most_frequent_pair_is_first_then_by_label() -> None:
    digits = [Digit(*numbers, 0.5, "") for numbers in ((9, 2, 2, 1), (8, 1, 1, 2), (3, 5, 6, 5), (4, 5, 5, 6))]
    assert by_pair(digits, "abcdefg") == [("f as g", "3, 4"), ("b as c", "8"), ("c as b", "9")]


def test_each_class_has_its_recall_and_precision_on_both_sides() -> None:
    label = np.array([0, 0, 1, 1])
    base = of_models(label, np.array([[0, 0, 1, 0]] * 3), np.ones(4), classes=2)
    head = of_models(label, np.array([[0, 2, 1, 1]] * 2), np.ones(4), classes=3)
    table = Comparison("cnn", base, head).classes()
    assert table.columns.tolist() == [
        *("class", "images", "errors_base", "recall_base", "precision_base"),
        *("errors_head", "recall_head", "precision_head", "fixed", "broke"),
    ]
    np.testing.assert_equal(
        table.to_numpy().tolist(),
        [
            [0, 2, 0, 1, 0.666667, 1, 0.5, 1, 0, 1],
            [1, 2, 1, 0.5, 1, 0, 1, 1, 1, 0],
            [2, 0, 0, np.nan, np.nan, 0, np.nan, 0, 0, 0],  # 0 of 0
        ],
    )


def models(name: str, errors: int, images: int = 100, seeds: int = 1):
    return of_models(np.zeros(images, int), np.array([wrong(errors)[:images]] * seeds), np.ones(images), name)


def test_architectures_of_both_sides_are_compared_by_name(tmp_path: Path) -> None:
    names = ("a", "b", "gone", "images", "same", "unread")
    base = write_results(tmp_path / "base", *(models(name, 20) for name in names))
    heads = {"a": 2, "b": 10, "images": 20, "new": 1, "same": 20, "unread": 0}
    head = write_results(tmp_path / "head", *(models(name, n, 100 - (name == "images")) for name, n in heads.items()))
    (tmp_path / "head/metrics/predictions/unread.json").write_text("{}")
    (tmp_path / "base/metrics/predictions/b.json").unlink()
    params = base.params() | {"evaluate": {"batch_size": 5, "decimals": 3}}
    write_json(tmp_path / "base/params.yaml", params)
    compared = {item.name: item for item in changes(base, head)}
    verdicts = {name: item.verdict(0.95) for name, item in compared.items()}
    assert verdicts.pop("unread").startswith("not compared: metrics/predictions/unread.json in a folder: ")
    assert verdicts == {
        "a": "evidence of a change for the better",
        "b": "not compared: no predictions (metrics/predictions/b.json) in a folder",
        "gone": "removed",
        "images": "not compared: other test images (base 100, now 99)",
        "new": "new",
        "same": "same predictions",
    }
    assert [name for name, item in compared.items() if item.broken] == ["unread"]
    assert [name for name, item in compared.items() if not item.changed] == ["same"]
    assert {(item.several, item.decimals) for item in (compared["a"], compared["same"])} == {(1, 3)}
    assert compared["gone"].summary(0.95) == "gone: removed, it had 80.00 %"
    assert compared["new"].summary(0.95) == "new: 99.00 %, new"


def test_p_is_adjusted_for_the_architectures_that_differ(tmp_path: Path) -> None:
    base = write_results(tmp_path / "base", *(models(name, 20) for name in "abc"))
    head = write_results(tmp_path / "head", models("a", 13), models("b", 18), models("c", 20))
    a, b, c = changes(base, head)
    assert (a.difference.p, b.difference.p, c.difference) == (2 * 2 / 2**7, 0.5, None)  # of seven, of two
    assert [item.several for item in (a, b, c)] == [2, 2, 2]
    assert a.decimals == 6
    other = head.read_json("data/raw/mnist.json") | {"sha256": "1" * 64, "dataset": "x" * 101}
    write_json(tmp_path / "head/data/raw/mnist.json", other)
    assert data_change(base, head) == f"tiny digits (digest 000000000000…) → {'x' * 100} (digest 111111111111…)"
    assert {item.note for item in changes(base, head)} == {"not compared: another data set"}
    (tmp_path / "head/params.yaml").write_text("[")
    assert [item.name for item in changes(base, head)] == ["a", "b", "c"]
    (tmp_path / "head/data/raw/mnist.json").unlink()
    assert data_change(base, head) == ""
