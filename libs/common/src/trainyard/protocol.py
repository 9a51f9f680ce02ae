"""``Protocol`` for what a cold start imports: the standard one for type checkers, and at run time next to nothing.

``typing`` takes 2 ms to import, and a protocol says nothing at run time that anybody here asks for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol as Protocol  # noqa: PLC0414 - what this module offers
else:

    class Protocol:
        """What a class that names it is for; never made."""
