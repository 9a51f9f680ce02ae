"""The main road, end to end over the embedded stack: rows in, request, model, promotion, prediction, feedback."""

from roads import whole_loop


def test_the_whole_loop(stack, shoppers):
    """The threshold trains by itself, a useful model is promoted, a useless one is not, and labels come back."""
    whole_loop(stack, shoppers)
