"""What the page of a report says whatever the tables are."""

from __future__ import annotations

COLUMNS = """
Mean ± standard deviation of numbers, in the unit of the column; the commonest category; the middle of dates.
<i>Would have to change</i> is the share of the synthetic rows that would need another value for the two to be
distributed alike; <i>by chance</i>, what two groups of patients from the same clinic differ by 19 times of
20.
<i>Alike</i> stands where a difference may be chance, or is too small to matter.
"""

PAIRS = """
How strongly two columns hang together, from 0, not at all, to 1, entirely; below 0 where one falls as the
other rises. A column with gaps has a second line, of whether its value is missing.
"""

TOLD = """
A computer is shown real and synthetic rows, with the answers, and then pairs of rows that it has not seen,
one of each. If it picks the synthetic one 50 times of 100, it guesses, and the rows are alike in all that it
looks at; at 100 times it always knows. <i>Boosted trees</i> see single values, digits and combinations; the
<i>straight line</i> (logistic regression) only whether values are high or low.
"""

FRESH = """
<i>Fresh real rows</i> are real rows told from other real rows: nothing can do better.
"""

NOT_FRESH = """
The real rows are those that were fitted, which is kind to a table of copies.
"""

NEAR = """
A synthetic table should be as close to the patients it was made from as to any others. Where it is closer to
its own, it remembers them. <i>Near</i> is measured over all columns, each in its own standard deviations.
"""

NONE_HELD = """
<p class="note"><b>No real rows were kept from the fit.</b> Whether a synthetic row lies close to a patient
because it copies that patient, or because such patients are common, can only be told beside patients from the
same clinic that the model never saw. What needs them is therefore missing below. Fit to four fifths of the
rows, and give the rest as rows held out.</p>
"""

RARE = """
If such a combination comes up in the synthetic table more often than among other real patients, it points at
somebody.
"""

FEW = """
There are fewer than 30 rows of one of the tables: too few to try.
"""

NOTHING_LEARNT = """
There are too few rows, or no column to learn: it cannot be said.
"""

LIMITS = """
<ul> <li>It is no proof of privacy. It tries a few known
attacks on this one table; others may find more. Only a model fitted under differential privacy gives a
guarantee.</li> <li>Rare categories, repeated numbers and the smallest and largest values may be those of real
patients. Look at them, and join or drop what points at somebody, before you share the table.</li> <li>It does
not know what the columns mean. A rule such as “the total is the sum of its parts” is looked at only as far as
pairs of columns show it.</li> <li>“Within chance” means that a difference cannot be told from the luck of the
draw with so many rows, not that there is none. More rows see smaller differences.</li></ul>
"""

WORDS = """
<dl> <dt>Rows held out</dt><dd>Real rows of the same source that the model never saw.
They show how alike real patients are to one another, which is what the synthetic ones are compared with.</dd>
<dt>By chance</dt><dd>What two groups of real patients of these sizes would differ by, 19 times of 20.</dd>
<dt>±</dt><dd>Twice the standard error: the range in which the number would come out 19 times of 20 if it were
taken again. After a mean, the standard deviation.</dd> <dt>50 times of 100</dt><dd>The area under the ROC
curve, times a hundred: how often the right one of two is picked. 50 is the toss of a coin, 100 is
always.</dd></dl>
"""
