"""What a report finds, in words: each finding with its grade, for readers who know a mean and a percentage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gaussflow.apps.tabular.report._beside import Shared
from gaussflow.apps.tabular.report._exposure import Exposure, Share
from gaussflow.apps.tabular.report._likeness import ColumnCheck, PairCheck, Told

if TYPE_CHECKING:
    from gaussflow.apps.tabular.report._table_report import TableReport

GOOD, UNKNOWN, LOOK, CONCERN = range(4)
WORDS = ("good", "cannot say", "look closer", "a concern")
NOTABLE, LARGE = 0.05, 0.15  # of a column: shares of rows that would have to change
NOTABLE_GAPS = 0.02
NOTABLE_PAIR = 0.15  # of associations from 0 to 1
MANY_PAIRS = 0.05  # share of the pairs that differ notably
HARDLY, LITTLE = 0.6, 0.7  # ROC areas of telling apart
LOST, LOST_MUCH = 0.02, 0.05  # ROC areas of learning
NEAR, TOO_NEAR = 0.55, 0.6  # shares and areas that are 0.5 where nothing is given away
UNSURE = 0.65  # where a share might be that high, it says nothing


@dataclass(frozen=True)
class Finding:
    """A sentence, and how grave it is: 0 good, 1 cannot be said, 2 look closer, 3 a concern."""

    grade: int
    text: str

    @property
    def word(self) -> str:
        """The grade in words."""
        return WORDS[self.grade]


def percent(share: float) -> str:
    """A share as percent: with a decimal below ten."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def of_hundred(share: float) -> str:
    """A share as so many times of a hundred."""
    return f"{100 * share:.0f} times of 100"


def is_odd(column: ColumnCheck) -> bool:
    """Whether a column differs by more than chance and by enough to matter."""
    return column.apart is not None and column.apart > max(1.3 * column.chance, NOTABLE)


def odd_gaps(column: ColumnCheck) -> bool:
    """Whether values are missing more or less often than in the real rows."""
    return abs(column.missing - column.missing_drawn) > max(column.missing_chance, NOTABLE_GAPS)


def is_odd_pair(pair: PairCheck) -> bool:
    """Whether a pair differs by more than chance and by enough to matter."""
    return pair.apart > max(1.5 * pair.chance, NOTABLE_PAIR)


def likeness_findings(report: TableReport) -> list[Finding]:
    """How like the tables are: columns, gaps, pairs, telling apart, learning."""
    return [
        _columns(report.columns),
        *_gaps(report.columns),
        _pairs(report.pairs),
        _told(report.boosted, report.fresh),
        _learnt(report),
    ]


def _names(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _columns(columns: list[ColumnCheck]) -> Finding:
    odd = sorted((c for c in columns if is_odd(c)), key=lambda c: -(c.apart or 0))
    outside = [c for c in columns if c.outside > 0]
    end = f" Values outside the range of the real rows come up in {_names([str(c.name) for c in outside])}." * bool(
        outside
    )
    if not odd:
        return Finding(
            LOOK if any(c.outside > NOTABLE for c in outside) else GOOD,
            f"Each column on its own is distributed as in the real table: none of {len(columns)} differs by more than "
            f"chance and by more than {percent(NOTABLE)} of its rows.{end}",
        )
    grade = CONCERN if (odd[0].apart or 0) > LARGE else LOOK
    return Finding(
        grade,
        f"{len(odd)} of {len(columns)} columns are distributed differently: {_names([str(c.name) for c in odd])}. In "
        f"{odd[0].name}, {percent(odd[0].apart or 0)} of the rows would have to change.{end}",
    )


def _gaps(columns: list[ColumnCheck]) -> list[Finding]:
    if not any(c.missing or c.missing_drawn for c in columns):
        return []
    odd = [c for c in columns if odd_gaps(c)]
    if not odd:
        return [Finding(GOOD, "Values are missing as often as in the real table, in every column.")]
    c = max(odd, key=lambda c: abs(c.missing - c.missing_drawn))
    return [
        Finding(
            LOOK if abs(c.missing - c.missing_drawn) < 0.1 else CONCERN,
            f"Values are missing more or less often than in the real table in {_names([str(c.name) for c in odd])}: in "
            f"{c.name}, {percent(c.missing)} of the real rows have none, and {percent(c.missing_drawn)} of the "
            "synthetic ones.",
        )
    ]


def _pairs(pairs: list[PairCheck]) -> Finding:
    if not pairs:
        return Finding(
            UNKNOWN, "There are too few rows or columns to say whether columns hang together as they should."
        )
    odd = sorted((p for p in pairs if is_odd_pair(p)), key=lambda p: -p.apart)
    if not odd:
        return Finding(GOOD, f"Columns hang together as in the real table: none of {len(pairs)} pairs differs notably.")
    first = odd[0]
    return Finding(
        CONCERN if len(odd) > MANY_PAIRS * len(pairs) + 1 else LOOK,
        f"{len(odd)} of {len(pairs)} pairs of columns hang together more or less than they should. The largest "
        f"difference: {first.first} with {first.second}, {first.real:.2f} in the real table and {first.drawn:.2f} in "
        "the synthetic one (0 is not at all, 1 entirely).",
    )


def _told(told: Told | None, fresh: Told | None) -> Finding:
    if told is None:
        return Finding(
            UNKNOWN, "There are fewer than 30 rows, too few to try whether a computer tells the tables apart."
        )
    text = (
        f"Shown one real and one synthetic row, a computer trained to tell them apart picks the synthetic one "
        f"{of_hundred(told.area)} (± {200 * told.error:.0f}); 50 is guessing"
    )
    if fresh is not None:
        text += f", and of real rows that it had not seen {100 * fresh.area:.0f}"
    grade = GOOD if told.area <= HARDLY else LOOK if told.area <= LITTLE else CONCERN
    if told.by and grade:
        text += f". It looks most at {_names([str(name) for name, _ in told.by], 3)}"
    return Finding(grade, text + ".")


def _learnt(report: TableReport) -> Finding:
    learnt = report.learnt
    if learnt is None:
        return Finding(UNKNOWN, "There are too few rows to try what a model learns from the synthetic table.")
    grade = _lost(learnt.gap, learnt.gap_error)
    text = (
        f"A model that learns from the synthetic rows to answer “{learnt.question}” puts a yes above a no "
        f"{of_hundred(learnt.drawn)}; one that learns from as many real rows {100 * learnt.real:.0f} (the difference "
        f"is sure to ± {200 * learnt.gap_error:.0f})."
    )
    return Finding(grade, text + (" There are too few rows to say more." if grade == UNKNOWN else ""))


def _lost(gap: float, error: float) -> int:
    if gap <= max(LOST, error):
        return GOOD if error <= LOST_MUCH else UNKNOWN
    if gap - 2 * error <= LOST and error > LOST / 2:
        return UNKNOWN
    return LOOK if gap <= LOST_MUCH else CONCERN


def privacy_findings(report: TableReport) -> list[Finding]:
    """What the rows give away: nearness, membership, copies, rare combinations."""
    found = report.exposure
    findings = [*_of_names(report.names), *_nearness(found), _copies(found), *_alone(found)]
    if report.rows_held_out is None:
        findings.insert(
            0,
            Finding(
                UNKNOWN,
                "No real rows were kept from the fit, so it cannot be told whether synthetic rows lie nearer to the "
                "patients that were fitted than to other patients. Keep a fifth of the rows back, and compare again.",
            ),
        )
    return findings


def _of_names(names: list[Shared]) -> list[Finding]:
    """Whether record numbers, names and the like come again, which would point to real patients."""
    found = []
    for each in names:
        if each.compared and not each.share:
            continue
        if not each.share:
            text = f"{each.name} names rows. None of its synthetic values is that of a real row"
        else:
            text = (
                f"{each.name} seems to name rows, and {percent(each.share)} of its synthetic values are those of real "
                "rows: who looks them up finds a real patient. Have new ones made, or leave the column out"
            )
        left = "." if each.compared else "; for the rest of this report it is left out."
        found.append(Finding(CONCERN if each.share else GOOD, text + left))
    return found


def _graded(share: Share) -> int:
    if share.value > NEAR and share.value - 2 * share.error > 0.5:
        return LOOK if share.value <= TOO_NEAR else CONCERN
    return GOOD if share.value + 2 * share.error <= UNSURE else UNKNOWN


def _nearer(share: Share, text: str) -> Finding:
    grade = _graded(share)
    return Finding(grade, text + " There are too few rows to say more." * (grade == UNKNOWN))


def _nearness(found: Exposure) -> list[Finding]:
    findings = []
    if found.nearer is not None:
        text = (
            f"{percent(found.nearer.value)} (± {200 * found.nearer.error:.0f}) of the synthetic rows lie nearer to "
            "a patient who was fitted than to one who was not; 50 % would give nothing away."
        )
        findings.append(_nearer(found.nearer, text))
    if found.member is not None:
        text = (
            "Somebody who holds the records of two patients, and asks which of them was fitted, is right "
            f"{of_hundred(found.member.value)} (± {200 * found.member.error:.0f}) by taking the one nearer to the "
            "synthetic rows; 50 is guessing."
        )
        findings.append(_nearer(found.member, text))
    if found.crowded is not None:
        grade = LOOK if found.crowded.value - 2 * found.crowded.error > TOO_NEAR else GOOD
        findings.append(
            Finding(
                grade,
                f"{percent(found.crowded.value)} of the synthetic rows lie nearer to a real row than half of the real "
                "rows lie to another real row; a good deal more than 50 % would mean that they crowd about patients.",
            )
        )
    return findings


def _copies(found: Exposure) -> Finding:
    share, chance = found.copies, found.copies_by_chance
    more = share.value - chance.value > 2 * (share.error**2 + chance.error**2) ** 0.5
    text = f"{percent(share.value)} of the synthetic rows are equal to a real row in every column"
    if share.value == 0:
        return Finding(GOOD, "No synthetic row is equal to a real row in every column.")
    text += f"; by chance, {percent(chance.value)} would be."
    return Finding(CONCERN if more else GOOD, text)


def _alone(found: Exposure) -> list[Finding]:
    if not found.alone:
        return []
    text = (
        f"{percent(found.alone)} of the real rows are alone with some combination of two or three values. Of these "
        f"combinations {percent(found.again)} come up among the synthetic rows"
    )
    if found.again_by_chance is None or found.again_excess is None:
        return [Finding(UNKNOWN, f"{text}; how many would by chance, rows held out would tell.")]
    excess = found.again_excess
    more = excess.value - 2 * excess.error > 0 and excess.value > 0.02
    grade = GOOD if not more else LOOK if excess.value < 0.1 else CONCERN
    return [
        Finding(grade, f"{text}, and {percent(found.again_by_chance)} among as many real rows that were not fitted.")
    ]
