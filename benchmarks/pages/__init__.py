"""The console's pages over a large database, each beside the limit of 150 ms.

A whole stack trains one real version; SQL then makes of it 100,000 runs, 1,000 versions, 10,000,000 rows in 10,000
batches and 1,000,000 predictions, so that every page has what it is about. The time is that of a signed-in client until
it has the whole HTML, through the router, with every question that the page asks the services. Beside it stands the
processor time that one look takes of all processes of the stack, less what they take anyway: it hardly changes when the
machine has other things to do as well.
"""

from benchmarks.pages.command import main, run

__all__ = ["main", "run"]
