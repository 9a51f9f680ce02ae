"""docs/doctor.md explains the checks that the code makes, no more and no fewer."""

import re
from pathlib import Path

from trainyard.config import SETTINGS
from trainyard.doctor import CHECKS

PAGE = (Path(__file__).parents[2] / "docs/doctor.md").read_text()


def test_the_table_is_that_of_the_code():
    """Every check is in the table with its title, in order."""
    rows = re.findall(r"^\| (I\d+) \| (.+?) \|", PAGE, re.MULTILINE)
    assert rows == [(ident, title) for ident, (title, _) in CHECKS.items()]


def test_every_check_has_a_section_that_says_how_to_mend():
    """One section for each, with the advice."""
    sections = dict(re.findall(r"^## (I\d+)\n\n(.+?)(?=\n## )", PAGE, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(CHECKS)
    assert all("**Mend:**" in text for text in sections.values())


def test_every_time_of_keeping_is_named_with_its_default():
    """The table of what is removed has every setting of that kind, and the days that it takes when nobody sets it."""
    named = {variable: days for days, variable in re.findall(r"\| (\d+) days? \| `(TRAINYARD_KEEP_\w+)` \|", PAGE)}
    assert named == {s.variable: s.default for s in SETTINGS if s.variable.startswith("TRAINYARD_KEEP_")}
